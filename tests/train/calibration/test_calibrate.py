"""Fitting probabilities and fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from encoders.model_sets.calibration import Calibration
from encoders.predicates.fusion import fuse
from encoders.predicates.metrics import auroc
from encoders.predicates.parameters import Column, Table
from train.bags.samples import Samples
from train.calibration.calibrate import (
    MIN_COUNT,
    calibrate,
    fit_fusion,
    fit_logistic,
)
from train.calibration.cli import kept_sensors, with_kept
from train.phrasings import Phrasings

PHRASINGS = Phrasings.load('trained')
COUNT = 600


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Any vector will do, as long as a sentence always has the same."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=64) for text in texts]
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def drawn_cosines(truth: NDArray[np.bool_], gap: float, *, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return 0.05 * (gap * (truth - 0.5) + rng.normal(size=len(truth))) + 0.1


def some_truth(share: float = 0.5) -> NDArray[np.bool_]:
    return np.random.default_rng(0).random(COUNT) < share


def even(truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(truth, 0.5 / truth.mean(), 0.5 / (1 - truth.mean()))


def test_the_fit_finds_the_middle_and_is_not_overconfident() -> None:
    truth = some_truth()
    cosines = drawn_cosines(truth, 2.0, seed=1)
    slope, offset = fit_logistic(cosines, truth, even(truth))
    # Two Gaussians of equal spread have the log-odds gap * (x - middle) / spread.
    assert 0.5 * 2.0 / 0.05 < slope < 1.1 * 2.0 / 0.05
    assert -offset / slope == pytest.approx(0.1, abs=0.01)


def test_rare_truths_do_not_move_the_middle() -> None:
    truth = some_truth(0.1)
    cosines = drawn_cosines(truth, 3.0, seed=1)
    slope, offset = fit_logistic(cosines, truth, even(truth))
    assert -offset / slope == pytest.approx(0.1, abs=0.02)


def test_a_reversed_predicate_is_never_turned_around() -> None:
    truth = some_truth()
    slope, _ = fit_logistic(drawn_cosines(truth, -2.0, seed=1), truth, even(truth))
    assert slope == 0.0


def test_fusion_leaves_out_what_is_not_useful() -> None:
    truth = some_truth()
    odds = np.stack([drawn_cosines(truth, 2.0, seed=s) for s in (1, 2)], axis=1)
    weights = fit_fusion(odds, truth, even(truth), np.array([True, False]))
    assert weights[0] > 0
    assert weights[1] == 0.0
    assert not fit_fusion(odds, truth, even(truth), np.array([False, False])).any()


def labelled(truth: dict[str, NDArray[np.bool_]]) -> Samples:
    return Samples(
        inputs={},
        truth=np.stack(list(truth.values()), 1).astype(np.int8),
        predicates=tuple(truth),
        bag=np.zeros(COUNT, np.int64),
        times_s=np.arange(COUNT, dtype=float),
        bags=('one',),
        regions=np.zeros((COUNT, 64, 64), np.uint8),
        region_names=(),
    )


def fused(scores: Mapping[str, NDArray[np.float64]], fitted: Calibration) -> NDArray[np.float32]:
    """Fused log-odds `[N]` of the only predicate of a calibration."""

    def column(index: int) -> Column:
        rows = (fitted.slopes, fitted.offsets, fitted.weights)
        yes, no = np.ones(1, bool), np.zeros(1, bool)
        return Column(yes, yes, *(row[0, index, None] for row in rows), no, yes)

    table = Table(
        names=fitted.names,
        notes=('',),
        calibrated=np.ones(1, bool),
        limits_ms=np.ones(1),
        limit_of=np.zeros(1, np.intp),
        columns={name: column(index) for index, name in enumerate(fitted.modalities)},
    )
    cosines = {m: found.astype(np.float32) for m, found in scores.items()}
    found = [
        fuse(table, {m: np.tile(rows[n], (1, 2, 1)) for m, rows in cosines.items()}).log_odds
        for n in range(COUNT)
    ]
    return np.concatenate(found)


def test_a_sensor_that_only_notices_what_is_absent_does_not_vote() -> None:
    present = np.arange(COUNT) < COUNT // 2
    truth = some_truth() & present
    samples = replace(
        labelled({'rough(surface)': truth, 'inserted(peg)': ~present & some_truth(0.3)}),
        bag=(~present).astype(np.int64),
        bags=('stroked', 'inserted'),
        scenes=('rubbing', 'insertion'),
    )
    own = drawn_cosines(truth, 3.0, seed=1)
    task = drawn_cosines(present, 3.0, seed=2)
    scores = {'wrench': np.stack([own, own], 1), 'joints': np.stack([task, task], 1)}
    found = {}
    for name, given in (('known', samples), ('unknown', replace(samples, scenes=()))):
        fitted = calibrate(scores, given, space='s', embed=embed, phrasings=PHRASINGS)
        found[name] = fitted.weights[fitted.names.index('rough(surface)')]
    assert found['known'][0] > 0 and found['known'][1] == 0
    assert found['unknown'][1] > 0


def test_fused_is_as_good_as_the_best_modality_on_new_moments() -> None:
    name = 'open(top drawer)'
    truth, new_truth = some_truth(), ~some_truth()
    gaps = {'image': 0.0, 'depth': 2.0, 'infrared': -0.5, 'audio': 0.2}
    old = {m: drawn_cosines(truth, g, seed=i)[:, None] for i, (m, g) in enumerate(gaps.items())}
    new = {
        m: drawn_cosines(new_truth, g, seed=9 + i)[:, None]
        for i, (m, g) in enumerate(gaps.items())
    }
    fitted = calibrate(old, labelled({name: truth}), space='s', embed=embed, phrasings=PHRASINGS)
    weights = dict(zip(fitted.modalities, fitted.weights[0], strict=True))
    assert weights['depth'] > 0
    assert weights['image'] == weights['infrared'] == weights['audio'] == 0
    area = auroc(new_truth, fused(new, fitted))
    best = max(auroc(new_truth, table[:, 0]) or 0.0 for table in new.values())
    assert area is not None
    assert area >= best - 0.02


def test_two_modalities_are_better_than_one() -> None:
    name = 'open(top drawer)'
    truth = some_truth()
    scores = {
        m: drawn_cosines(truth, 1.5, seed=i)[:, None] for i, m in enumerate(('image', 'depth'))
    }
    fitted = calibrate(
        scores, labelled({name: truth}), space='s', embed=embed, phrasings=PHRASINGS
    )
    area = auroc(truth, fused(scores, fitted))
    assert area is not None
    assert area > max(auroc(truth, table[:, 0]) or 0.0 for table in scores.values()) + 0.02


def test_a_predicate_with_few_samples_takes_the_fit_of_its_relation() -> None:
    rare = np.zeros(COUNT, bool)
    rare[: MIN_COUNT - 1] = True
    truth = {
        'open(top drawer)': some_truth(),
        'open(microwave)': rare,
        'open(oven)': np.zeros(COUNT, bool),
    }
    gaps = {'depth': 2.0, 'audio': 0.0}
    scores = {
        m: np.stack([drawn_cosines(t, gap, seed=1) for t in truth.values()], 1)
        for m, gap in gaps.items()
    }
    fitted = calibrate(scores, labelled(truth), space='s', embed=embed, phrasings=PHRASINGS)
    assert fitted.names == ('open(top drawer)', 'open(microwave)')
    assert fitted.slopes[1, 0] > 0
    np.testing.assert_array_equal(fitted.weights[1], fitted.weights[0])
    assert fitted.weights[1].tolist() == [pytest.approx(fitted.weights[0, 0]), 0.0]


def test_relations_with_few_samples_are_not_fitted() -> None:
    rare = np.zeros(COUNT, bool)
    rare[: MIN_COUNT - 1] = True
    truth = {'open(top drawer)': some_truth(), 'hot(stove)': rare}
    scores = {'depth': np.stack([drawn_cosines(t, 2.0, seed=1) for t in truth.values()], 1)}
    fitted = calibrate(scores, labelled(truth), space='s', embed=embed, phrasings=PHRASINGS)
    assert fitted.names == ('open(top drawer)',)
    assert fitted.space == 's'
    with pytest.raises(ValueError, match='both truths'):
        calibrate(
            {'depth': scores['depth'][:, 1:]},
            labelled({'hot(stove)': rare}),
            space='s',
            embed=embed,
            phrasings=PHRASINGS,
        )


def test_sensors_that_the_data_lack_keep_their_calibration() -> None:
    vector = np.eye(3, dtype=np.float32)
    before = Calibration(
        's',
        ('a', 'b', 'c'),
        ('image', 'wrench'),
        vector,
        *np.arange(18.0, dtype=np.float32).reshape(3, 3, 2),
        vector,
        -vector,
    )
    new = Calibration(
        's', ('a',), ('image',), vector[:1], *np.ones((3, 1, 1)), vector[:1], -vector[:1]
    )
    assert kept_sensors(new, before) == ['wrench']
    found = with_kept(new, before)
    assert found.part_of('image') != found.part_of('wrench')
    image, wrench = found.parts
    assert image.names == ('a',) and image.modalities == ('image',)
    np.testing.assert_array_equal(image.slopes, new.slopes)
    assert wrench.names == before.names and wrench.modalities == ('wrench',)
    np.testing.assert_array_equal(wrench.offsets, before.offsets[:, 1:])
    # Nothing is kept of another language space, of the same sensors, or without a calibration.
    assert with_kept(new, replace(before, space='other')) is new
    assert with_kept(new, new) is new and with_kept(new, None) is new
