"""What sentences are read along: the contrasts of the nearest facts that a calibration knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoders import Binder, Predicate, PredicateBank
from encoders.model_sets.anchors import (
    ANCHOR_FROM,
    ANCHOR_FULL,
    ANCHOR_SHARE,
    Facts,
    anchored,
    anchors_of,
    sparse_shares,
)
from encoders.predicates.texts import text_vectors

Floats = NDArray[np.float32]


def units(seed: int, count: int, *, dimensions: int = 48) -> Floats:
    rows = np.random.default_rng(seed).normal(size=(count, dimensions))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def some_facts(seed: int, count: int) -> Facts:
    return Facts.of(units(seed, count), units(seed + 1, count), units(seed + 2, count))


def beside(vector: Floats, similarity: float) -> Floats:
    """A unit vector of that cosine to another."""
    other = units(99, 1)[0]
    other -= (other @ vector) * vector
    other /= np.linalg.norm(other)
    return np.asarray(similarity * vector + (1 - similarity**2) ** 0.5 * other, np.float32)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 20))
def test_smoothed_contrasts_have_unit_length(seed: int, count: int, known: int) -> None:
    facts = some_facts(seed, known)
    found = anchored(units(seed + 3, count), units(seed + 4, count), facts)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize('similarity', [0.0, 0.3, ANCHOR_FROM])
def test_unfamiliar_text_keeps_its_own_contrast(similarity: float) -> None:
    known, contrast = units(0, 1), units(7, 1)
    facts = Facts.of(known, -known, units(2, 1))  # what is beside one is away from the other
    said = beside(known[0], similarity)[None]
    np.testing.assert_allclose(anchored(said, contrast, facts), contrast, atol=1e-5)


def test_nearer_wordings_are_smoothed_more() -> None:
    facts, contrast = some_facts(0, 1), units(7, 1)
    shares = []
    for similarity in np.linspace(ANCHOR_FROM, ANCHOR_FULL, 5):
        anchors = anchors_of(beside(facts.said[0], similarity)[None], contrast, facts)
        shares.append(float(anchors.share.sum() / (anchors.own[0] + anchors.share.sum())))
    assert (np.diff(shares) > 0).all()
    assert shares[0] == pytest.approx(0, abs=1e-5)
    assert shares[-1] == pytest.approx(ANCHOR_SHARE, abs=0.01)


def test_the_opposite_of_a_fact_has_the_opposite_contrast() -> None:
    facts = some_facts(0, 1)
    contrast = units(7, 1)
    fact, opposite = (anchored(facts.said[k][None], contrast, facts)[0] for k in (0, 1))
    assert fact @ facts.contrasts[0] > 0.5
    assert opposite @ facts.contrasts[0] < -0.5


@pytest.mark.parametrize('few', [0, 5])
def test_sparse_weights_equal_those_of_each_text(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('encoders.model_sets.anchors.FEW_TEXTS', few)
    said, contrasts, facts = units(5, 5), units(6, 5), some_facts(0, 12)
    anchors = [
        anchors_of(one[None], contrast[None], facts)
        for one, contrast in zip(said, contrasts, strict=True)
    ]
    own = np.concatenate([one.own for one in anchors])
    used, weighted = sparse_shares(anchors)
    found = own[:, None] * contrasts + weighted(facts.contrasts[used].T).T
    np.testing.assert_allclose(found, anchored(said, contrasts, facts), atol=1e-5)


@pytest.fixture(scope='module')
def binder() -> Binder:
    return Binder.load('lb-mini', modalities=['depth'])


def test_a_bank_scores_with_smoothed_contrasts_and_keeps_its_prompts(binder: Binder) -> None:
    asked = [
        Predicate.from_sentence('the top drawer is wide open'),
        Predicate.from_sentence('the stove is on'),
        Predicate.from_sentence('a violin is out of tune'),
    ]
    calibration = binder.calibration
    assert calibration is not None
    vector = units(3, 1, dimensions=calibration.contrasts.shape[1])[0]
    for score, predicate in zip(PredicateBank(asked, binder).score({'depth': vector}), asked,
                                strict=True):  # fmt: skip
        said, contrast = text_vectors(binder, predicate)
        assert score.similarity['depth'] == pytest.approx(float(contrast @ vector), abs=1e-5)
        fit = calibration.fit_for(said, contrast)
        if fit is not None:
            read = calibration.anchored(said[None], contrast[None])[0]
            odds = fit.slope['depth'] * float(read @ vector) + fit.offset['depth']
            odds = min(max(odds, -12.0), 12.0)
            assert score.probability['depth'] == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)


def test_open_and_closed_get_different_answers(binder: Binder) -> None:
    bank = PredicateBank(
        [
            Predicate.from_sentence('the top drawer is open'),
            Predicate.from_sentence('the top drawer is closed'),
        ],
        binder,
    )
    for vector in units(4, 20, dimensions=384):
        one, other = (score.probability['depth'] for score in bank.score({'depth': vector}))
        assert one == pytest.approx(1 - other, abs=0.15)


def test_without_sentences_a_calibration_compares_contrasts(binder: Binder) -> None:
    calibration = binder.calibration
    assert calibration is not None
    older = replace(calibration, positives=None, negatives=None)
    contrast, said = calibration.contrasts[3], units(5, 1, dimensions=384)[0]
    fit = older.fit_for(said, contrast)
    assert fit is not None
    assert fit.similarity == pytest.approx(1.0, abs=1e-3)
    opposite = older.fit_for(said, -contrast)
    assert opposite is not None
    assert opposite.offset == pytest.approx({m: -v for m, v in fit.offset.items()}, abs=1e-5)
