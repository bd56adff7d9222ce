"""Answers of models by content hash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from train.views.kept import Kept, key_of


def test_only_what_is_missing_is_asked(tmp_path: Path) -> None:
    kept = Kept(tmp_path / 'new' / 'views.sqlite')
    asked: list[list[int]] = []

    def ask(at: list[int]) -> list[bytes]:
        asked.append(at)
        return [b'answer %d' % k for k in at]

    assert kept.answers(['a', 'b', 'a'], ask) == [b'answer 2', b'answer 1', b'answer 2']
    assert kept.answers(['b', 'c'], ask) == [b'answer 1', b'answer 1']
    assert Kept(kept.path).answers(['c'], ask) == [b'answer 1']  # of a later process
    assert asked == [[2, 1], [1]]


def test_a_failure_keeps_what_was_answered(tmp_path: Path) -> None:
    kept = Kept(tmp_path / 'views.sqlite')
    kept.answers(['a'], lambda at: [b'x'])

    def fail(at: list[int]) -> list[bytes]:
        raise RuntimeError('killed')

    with pytest.raises(RuntimeError, match='killed'):
        kept.answers(['a', 'b'], fail)
    assert kept.answers(['a'], fail) == [b'x']


def test_many_keys_at_once(tmp_path: Path) -> None:
    keys = [str(k) for k in range(3000)]
    kept = Kept(tmp_path / 'views.sqlite')
    first = kept.answers(keys, lambda at: [str(k).encode() for k in at])
    assert kept.answers(keys, lambda at: []) == first


def test_another_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / 'views.sqlite'
    path.write_text('not a database, but long enough to look like a file of something else')
    with pytest.raises(ValueError, match=r'views\.sqlite: .*delete the file'):
        Kept(path).answers(['a'], lambda at: [b''])


ARRAYS = arrays.arrays(
    st.sampled_from([np.uint8, np.uint16, np.float32]), arrays.array_shapes(max_dims=3)
)


@given(ARRAYS, ARRAYS)
def test_keys_differ_if_arrays_differ(left: np.ndarray, right: np.ndarray) -> None:
    same = left.dtype == right.dtype and left.shape == right.shape
    same = same and left.tobytes() == right.tobytes()
    assert (key_of('x', left) == key_of('x', right)) == same


def test_parts_of_a_key_do_not_run_together() -> None:
    assert key_of('ab', 'c') != key_of('a', 'bc')
