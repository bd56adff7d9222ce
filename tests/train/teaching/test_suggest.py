"""`lb-ros teach --suggest`: uncertain moments that are unlike each other, with pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.predicates.lessons import Press
from lb_ros.cli import main
from train.teaching.suggestions import APART_S, Candidate, suggest

MOMENTS = [{'open(top drawer)': i % 6 > 2} for i in range(24)]


def candidate(number: int, *, probability: float, towards: int, bag: str = 'one') -> Candidate:
    vector = np.zeros(8, np.float32)
    vector[towards] = 1.0
    time_s = number * APART_S
    stamp_ns = round(time_s * 1e9)
    return Candidate(Path(bag), stamp_ns, time_s, time_s, probability, True, {'depth': vector})


def press(towards: int) -> Press:
    return Press(True, 0, 1, dict(candidate(0, probability=0.5, towards=towards).vectors))


def test_the_most_uncertain_comes_first() -> None:
    several = [candidate(n, probability=p, towards=n) for n, p in enumerate((0.9, 0.55, 0.2))]
    chosen = suggest(several, count=3)
    assert [each.moment.probability for each in chosen] == [0.55, 0.2, 0.9]
    assert all(0 <= each.gain <= 1 for each in chosen)


def test_moments_that_look_alike_are_suggested_once_before_others() -> None:
    alike = [candidate(n, probability=0.5, towards=0) for n in range(5)]
    other = candidate(9, probability=0.8, towards=1)
    assert suggest([*alike, other], count=2)[1].moment == other


def test_what_was_pressed_is_not_suggested_before_what_was_not() -> None:
    known, new = (candidate(n, probability=0.5, towards=n) for n in (0, 1))
    assert suggest([known, new], [press(0)], count=1)[0].moment == new


def test_moments_of_a_bag_are_apart_in_time() -> None:
    several = [candidate(n, probability=0.5, towards=n % 8) for n in range(8)]
    near = [Candidate(c.bag, c.stamp_ns // 4, c.time_s / 4, 0.0, 0.5, True, c.vectors)
            for c in several]  # fmt: skip
    times_s = sorted(each.moment.time_s for each in suggest(near, count=20))
    assert min(np.diff(times_s)) >= APART_S
    elsewhere = [candidate(0, probability=0.5, towards=0, bag=bag) for bag in ('one', 'two')]
    assert len(suggest(elsewhere, count=20)) == 2


def test_no_moments_give_no_suggestions() -> None:
    assert suggest([], count=20) == []


@pytest.fixture(scope='module')
def bags(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('bags')
    for number, name in enumerate(('one', 'two')):
        drawn.write(folder / name, MOMENTS, seed=number)
    return folder


def test_the_command_lists_moments_and_writes_a_page(
    bags: Path, tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / 'page'
    words = ['teach', 'the <top> drawer is open', '--suggest', str(bags), '--count', '4']
    words += ['--model', str(tiny_model_set), '--precision', 'fp32', '--page', str(page)]
    assert main([*words, '--json']) == 0
    told = json.loads(capsys.readouterr().out)
    moments = told['moments']
    assert len(moments) == 4
    assert {Path(each['bag']).name for each in moments} == {'one', 'two'}
    for each in moments:
        assert each['command'].startswith('lb-ros dashboard ')
        assert 'depth' in each['pictures']
        assert all(
            (page / name).read_bytes()[:2] == b'\xff\xd8' for name in each['pictures'].values()
        )
    html = (page / 'index.html').read_text()
    assert '&lt;top&gt;' in html and moments[0]['pictures']['depth'] in html
    assert main(words) == 0
    assert '  1. ' in capsys.readouterr().out


def test_it_needs_a_sentence(bags: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['teach', '--suggest', str(bags)]) == 2
    assert 'needs a statement' in capsys.readouterr().err
