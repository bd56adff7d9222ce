"""What a model set reads of bags: as the predicate bank does, in several ways of asking."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from encoders import Binder, Evidence, Predicate, PredicateBank
from encoders.model_sets.readouts import CALIBRATION
from lb_ros.cli import main
from tests.readouts import copy_with_readouts, some_calibration
from train.bags.find import find_bags
from train.bags.load import load_samples
from train.evaluation.cli import wordings_of
from train.evaluation.printing import print_evaluation
from train.evaluation.reading import WAYS, Asked, ReadBags, observe_stored, read_bags
from train.evaluation.report import evaluate_model_set
from train.phrasings import Phrasings

NAMES = ('dropped(something)', 'hot(stove)', 'open(top drawer)')
WORDINGS = {name: Phrasings.load(name) for name in ('trained', 'unseen')}
READ = ('depth', 'image')


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Binder:
    """A calibrated model set whose depth and image are read from tokens."""
    folder = tmp_path_factory.mktemp('set') / 'with_readouts'
    copy_with_readouts(tiny_model_set, folder, modalities=READ)
    plain = Binder.load(folder)
    some_calibration(plain, NAMES, modalities=('infrared', 'audio')).save(folder)
    some_calibration(plain, NAMES, modalities=READ).save(folder, file=CALIBRATION)
    return Binder.load(folder)


@pytest.fixture(scope='module')
def bags(held_out_bags: Path, tmp_path_factory: pytest.TempPathFactory, drawn: Any) -> list[Path]:
    """Two whole bags, and one without infrared."""
    moments = [dict.fromkeys(NAMES, index % 2 == 0) for index in range(6)]
    folder = tmp_path_factory.mktemp('bags')
    partial = drawn.write(folder / 'partial', moments, skip=('/infrared/image',))
    return [*find_bags([held_out_bags]), partial]


@pytest.fixture(scope='module')
def read(binder: Binder, bags: list[Path]) -> ReadBags:
    return read_bags(binder, bags, wordings=WORDINGS)


@pytest.fixture(scope='module')
def evidence(binder: Binder, bags: list[Path]) -> dict[str, list[Evidence]]:
    samples, _ = load_samples(bags, binder.preprocessing)
    return {m: observe_stored(binder, m, stored) for m, stored in samples.inputs.items()}


def test_scores_are_those_of_the_bank(
    binder: Binder, read: ReadBags, evidence: dict[str, list[Evidence]]
) -> None:
    assert read.samples.predicates == NAMES
    assert set(read.readings) == {Asked(w, way) for w in WORDINGS for way in WAYS}
    sentences = WORDINGS['unseen'].sentences('open(top drawer)')
    bank = PredicateBank([Predicate('open', sentences.positive, sentences.negative)], binder)
    readings = read.readings[Asked('unseen', 'sides')]
    for row in (0, 7, 50):
        now = {m: rows[row] for m, rows in evidence.items()}
        (score,) = bank.score(now)
        assert score.calibrated == bool(readings.calibrated[2])
        fused = expit(readings.scores['fused'][row, 2])
        assert fused == pytest.approx(score.fused, abs=1e-5)
        for modality, each in now.items():
            expected = bank.read(modality, each)[0][1, 0]
            assert readings.scores[modality][row, 2] == pytest.approx(expected, abs=1e-5)


def test_a_sensor_that_is_silent_is_not_read(read: ReadBags) -> None:
    partial = read.samples.bag == 2
    assert partial.sum() == 6
    for readings in read.readings.values():
        silent = np.isnan(readings.scores['infrared']).all(axis=1)
        np.testing.assert_array_equal(silent, partial)
        assert not np.isnan(readings.scores['fused']).any()


def test_what_is_read_from_tokens_is_negated_by_exchanging_the_sides(read: ReadBags) -> None:
    for wording in WORDINGS:
        one, other = (read.readings[Asked(wording, way)].scores for way in WAYS[:2])
        for modality in READ:
            np.testing.assert_array_equal(one[modality], -other[modality])
            assert np.abs(one[modality]).max() > 0


def test_the_report_has_every_way_of_asking(
    binder: Binder, read: ReadBags, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate_model_set(binder, read)
    described = asdict(found)
    assert described['read_from'] == {
        'image': 'tokens', 'depth': 'tokens', 'infrared': 'vector', 'audio': 'vector',
    }  # fmt: skip
    for wording in WORDINGS:
        asked = found.asked[wording]
        assert set(asked) == set(WAYS[1:])
        assert found.groups[wording].keys() >= {'sensor scale', 'open'}
        assert found.exclusive[wording].predicates + found.exclusive[wording].not_calibrated == 3
    print_evaluation(found)
    assert 'asked by the denial of one sentence' in capsys.readouterr().out


def test_a_wording_without_sentences_for_a_relation_leaves_it_out(
    binder: Binder, bags: list[Path], tmp_path: Path
) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text(
        'relations:\n  open: {positive: ["the {x} is ajar"], negative: ["the {x} is shut"]}\n'
    )
    found = read_bags(
        binder,
        bags[2:],
        wordings={'trained': Phrasings.load('trained'), 'own': Phrasings.load(own)},
    )
    scores = found.readings[Asked('own', 'sides')].scores
    assert np.isnan(scores['fused'][:, :2]).all()
    assert not np.isnan(scores['fused'][:, 2]).any()
    report = evaluate_model_set(binder, found)
    assert {r.name for r in report.results['own']} <= {'open(top drawer)'}


def test_further_wordings_are_asked_next_to_the_usual_ones(
    tmp_path: Path, held_out_bags: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(wordings_of([])) == ['trained', 'unseen']
    assert list(wordings_of(['check'])) == ['trained', 'unseen', 'check']
    missing = tmp_path / 'mine.yaml'
    assert main(['eval', '--data', str(held_out_bags), '--phrasings', str(missing)]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lb-ros eval: ') and 'mine.yaml' in error
    assert len(error.splitlines()) == 1
