"""The calibration of a readout: one lookup for a pair of sides, in either order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoders.model_sets.calibration import MIN_SIMILARITY, Calibration

MODALITIES = ('image', 'depth')
SIZE = 32


def units(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    rows = rng.normal(size=(count, SIZE))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def calibration(seed: int, count: int) -> Calibration:
    rng = np.random.default_rng(seed)
    # As in a text tower, both sides of a fact are close to each other.
    positives, noise = units(rng, count), units(rng, count)
    negatives = positives + 0.5 * noise
    negatives /= np.linalg.norm(negatives, axis=1, keepdims=True)
    contrasts = positives - negatives
    contrasts /= np.linalg.norm(contrasts, axis=1, keepdims=True)
    slopes, offsets, weights = rng.normal(size=(3, count, len(MODALITIES))).astype(np.float32)
    names = tuple(map(str, range(count)))
    return Calibration(
        'space', names, MODALITIES, contrasts, slopes, offsets, weights, positives, negatives
    )


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 40),
    near=st.floats(0, 1),
    has_sentences=st.booleans(),
)
def test_exchanged_sides_negate_only_the_offset(
    seed: int, count: int, near: float, has_sentences: bool
) -> None:
    found = calibration(seed, count)
    rng = np.random.default_rng(seed + 1)
    assert found.positives is not None and found.negatives is not None
    one = found.positives[0] + near * units(rng, 1)[0]
    other = found.negatives[0] + near * units(rng, 1)[0]
    if not has_sentences:
        found = replace(found, positives=None, negatives=None)
    forth, back = found.fit_for_sides(one, other), found.fit_for_sides(other, one)
    if forth is None or back is None:
        assert forth is back is None
        return
    assert forth.slope == back.slope and forth.weight == back.weight
    assert forth.offset == {name: -value for name, value in back.offset.items()}
    assert forth.similarity == back.similarity >= MIN_SIMILARITY


def test_a_known_fact_gets_its_own_values_in_either_order() -> None:
    found = calibration(3, 12)
    assert found.positives is not None and found.negatives is not None
    for row in range(12):
        forth = found.fit_for_sides(3 * found.positives[row], found.negatives[row])
        back = found.fit_for_sides(found.negatives[row], found.positives[row])
        assert forth is not None and back is not None
        for column, name in enumerate(MODALITIES):
            assert forth.slope[name] == pytest.approx(found.slopes[row, column], abs=1e-3)
            assert forth.offset[name] == pytest.approx(found.offsets[row, column], abs=1e-3)
            assert back.offset[name] == pytest.approx(-found.offsets[row, column], abs=1e-3)


def test_sides_unlike_every_fact_have_no_calibration() -> None:
    found = calibration(4, 5)
    far = -np.asarray(found.positives)[0] - np.asarray(found.positives)[1]
    assert found.fit_for_sides(far, far) is None


def test_it_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    found = calibration(5, 4)
    found.save(tmp_path, file='readout_calibration.safetensors')
    assert Calibration.load_if_present(tmp_path) is None
    again = Calibration.load_if_present(tmp_path, file='readout_calibration.safetensors')
    assert again is not None
    np.testing.assert_array_equal(again.slopes, found.slopes)
