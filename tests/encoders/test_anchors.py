"""What sentences are read along: the nearest contrasts that a calibration knows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoders import Binder, Predicate, PredicateBank
from encoders.bank import text_contrast
from encoders.calibration import ANCHOR_FROM, ANCHOR_FULL, anchored, anchors_of, sparse_shares

Floats = NDArray[np.float32]


def units(seed: int, count: int, *, dimensions: int = 48) -> Floats:
    rows = np.random.default_rng(seed).normal(size=(count, dimensions))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def beside(contrast: Floats, similarity: float) -> Floats:
    """A unit vector of that cosine to a contrast."""
    other = units(99, 1)[0]
    other -= (other @ contrast) * contrast
    other /= np.linalg.norm(other)
    return np.asarray(similarity * contrast + (1 - similarity**2) ** 0.5 * other, np.float32)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 20))
def test_anchored_contrasts_have_unit_length_and_come_no_less_near(
    seed: int, count: int, known: int
) -> None:
    contrasts, fitted = units(seed, count), units(seed + 1, known)
    found = anchored(contrasts, fitted)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    # Alone among many a fitted one draws fully; of several near ones each gets a share.
    assert ((found @ fitted.T).max(1) >= (contrasts @ fitted.T).max(1) - 0.3).all()


def test_a_fitted_contrast_alone_stays_as_it_is() -> None:
    fitted = units(0, 1)
    np.testing.assert_allclose(anchored(fitted, fitted), fitted, atol=1e-6)


@pytest.mark.parametrize('similarity', [0.0, 0.3, ANCHOR_FROM])
def test_what_is_far_from_all_that_is_known_is_read_as_it_was_said(similarity: float) -> None:
    fitted = units(0, 1)
    contrast = beside(fitted[0], similarity)[None]
    np.testing.assert_allclose(anchored(contrast, fitted), contrast, atol=1e-5)


def test_another_wording_is_drawn_the_more_the_nearer_it_is() -> None:
    fitted = units(0, 1)
    said = np.linspace(ANCHOR_FROM, ANCHOR_FULL, 5)
    contrasts = np.stack([beside(fitted[0], s) for s in said])
    read = (anchored(contrasts, fitted) @ fitted[0]).astype(float)
    gained = (read - said) / (1 - said)  # share of the way that is left
    assert (np.diff(gained) > 0).all()
    assert read[-1] > 0.97


def test_the_sparse_shares_are_those_of_each() -> None:
    contrasts, fitted = units(0, 5), units(1, 12)
    anchors = [anchors_of(row[None], fitted) for row in contrasts]
    own = np.concatenate([one.own for one in anchors])
    shares = sparse_shares(anchors, fitted=len(fitted))
    found = own[:, None] * contrasts + shares @ fitted
    np.testing.assert_allclose(found, anchored(contrasts, fitted), atol=1e-5)


def test_a_bank_answers_by_what_is_read_and_shows_what_was_said() -> None:
    binder = Binder.load('lb-mini', modalities=['depth'])
    asked = [
        Predicate.from_sentence('the top drawer gapes'),
        Predicate.from_sentence('the stove is on'),
        Predicate.from_sentence('a violin is out of tune'),
    ]
    calibration = binder.calibration
    assert calibration is not None
    vector = units(3, 1, dimensions=calibration.contrasts.shape[1])[0]
    said = np.stack([text_contrast(binder, predicate) for predicate in asked])
    read = anchored(said, calibration.contrasts)
    scores = PredicateBank(asked, binder).score({'depth': vector})
    for score, own, drawn in zip(scores, said, read, strict=True):
        assert score.similarity['depth'] == pytest.approx(float(own @ vector), abs=1e-5)
        fit = calibration.fit_for(own)
        if fit is not None:
            odds = fit.slope['depth'] * float(drawn @ vector) + fit.offset['depth']
            odds = min(max(odds, -12.0), 12.0)
            assert score.probability['depth'] == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)
    assert (said[1] @ read[1]) < 0.999
