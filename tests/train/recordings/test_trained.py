"""Recordings are trained on, evaluated and made into pairs as bags are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from encoders import Series
from tests.train.recordings import recorded
from tests.train.runs import run
from tests.train.series_bags import RECIPE, SeriesBag, random_facts
from train.pairs.data import open_pair_data
from train.pairs.make import plan_pairs, stream_pairs
from train.pairs.options import PairOptions, PairsReport
from train.pairs.record import decode
from train.phrasings import Phrasings

WORDINGS = {
    'own': {
        'positive': ['the probe presses on the plate', 'the plate is under load'],
        'negative': ['the probe is clear of the plate', 'the plate carries no load'],
    },
    'other': {
        'positive': ['there is a push against the surface'],
        'negative': ['there is no push against the surface'],
    },
}
FACT = 'loaded(plate)'
CHANNELS = {
    'force.z': {'sentence': 'force along the probe, newtons'},
    'torque.x': {'sentence': 'torque that bends the probe, newton metres', 'floor': 0.01},
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mapping, one for evaluation, their wordings, and a recipe."""
    made = tmp_path_factory.mktemp('recordings')
    path = recorded.as_ragged(made, recorded.runs(90))
    for name, sides in WORDINGS.items():
        (made / f'{name}.yaml').write_text(yaml.safe_dump({'relations': {'loaded': sides}}))
    values = yaml.safe_load(path.read_text())
    values |= {
        'facts': {FACT: recorded.LABEL[recorded.FACT]},
        'phrasings': 'own.yaml',
        'without': {'part': 'part2'},
    }
    path.write_text(yaml.safe_dump(values))
    (made / 'eval.yaml').write_text(
        'like: recordings.yaml\nonly: {part: part2}\nwithout: {}\nsplit: evaluation\n'
    )
    recipe = yaml.safe_load(RECIPE) | {
        'modalities': {'wrench': {'described': str(made / 'channels.yaml'), 'window_s': 0.48}},
        'batch': {'wrench': 32},
        'relations': {'wrench': {'loaded': 1.0}},
        'max_steps': 60,
    }
    (made / 'channels.yaml').write_text(yaml.safe_dump(CHANNELS))
    (made / 'recipe.yaml').write_text(yaml.safe_dump(recipe))
    return made


def test_sentences_never_trained_on_are_read_of_parts_never_trained_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bind = ('train', 'bind', '--config', folder / 'recipe.yaml', '--out', folder / 'run')
    evaluation = ('--data', folder / 'eval.yaml')
    assert run(monkeypatch, *bind, *evaluation) == 2  # kept for evaluation
    assert 'kept for evaluation' in capsys.readouterr().err
    quick = ('--workers', '1', '--threads', '1')
    assert run(monkeypatch, *bind, '--data', folder / 'recordings.yaml', *quick) == 0
    model = ('--model', folder / 'run' / 'felt')
    calibrate = ('calibrate', *model, '--data', folder / 'recordings.yaml', *quick)
    assert run(monkeypatch, *calibrate) == 0
    report = ('--report', folder / 'report.json', '--phrasings', folder / 'other.yaml')
    assert run(monkeypatch, 'eval', *model, *evaluation, *report, *quick) == 0
    results = json.loads((folder / 'report.json').read_text())['results']
    for wording in ('own', 'other'):
        areas = {r['modality']: r['auroc'] for r in results[wording] if r['name'] == FACT}
        assert areas['wrench'] > 0.95
        assert areas['fused'] > 0.95


def test_pairs_hold_the_series_and_what_is_true_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'pairs'
    command = ('train', 'pairs', '--data', folder / 'recordings.yaml', '--out', out)
    assert run(monkeypatch, *command, '--window', '0.48') == 0
    data = open_pair_data([out], PairOptions())
    rows = [row for row in recorded.runs(90) if row[2] != 'part2']
    assert len(data.source) == len(rows)
    for index, (values, hit, _) in enumerate(rows):
        pair = data.source.read(index)
        assert pair.facts == {FACT: hit}
        sides = WORDINGS['own']['positive' if hit else 'negative']
        assert {text.text for text in pair.texts} <= set(sides)
        series = decode('wrench', pair.files)
        assert isinstance(series, Series)
        assert series.channels == ('force.z', 'torque.x')
        np.testing.assert_allclose(series.values[-24:], values[-24:], atol=1e-6)


def test_a_task_of_an_episode_is_a_sentence(tmp_path: Path) -> None:
    path = recorded.as_lerobot_2(tmp_path, recorded.runs(3))
    report = PairsReport()
    pairs = list(stream_pairs(plan_pairs([path], PairOptions(), report=report), report=report))
    assert [{t.text for t in pair.texts if t.source == 'task'} for pair in pairs] == [
        {'part0'}, {'part1'}, {'part2'}
    ]  # fmt: skip
    known = Phrasings.load('trained').sentences(recorded.FACT)
    assert {t.text for t in pairs[1].texts} & set(known.positive)


def test_pairs_of_bags_hold_series(tmp_path: Path) -> None:
    moments = random_facts(5, seed=1)
    bag = SeriesBag().write(tmp_path / 'bag', moments, seed=1, skip=['imu'])
    options = PairOptions(modalities=('wrench', 'joints', 'imu'), window_s=1.0)
    report = PairsReport()
    pairs = list(stream_pairs(plan_pairs([bag], options, report=report), report=report))
    assert len(pairs) == len(moments)
    assert report.dropped['windows without imu'] == len(moments)
    for pair, truth in zip(pairs, moments, strict=True):
        series = decode('wrench', pair.files)
        force = series.values[series.stamps_s > -1.0, 2]
        assert (force.mean() - series.baseline[2] < -4) == truth['contact(tool, table)']
        joints = decode('joints', pair.files)
        assert 'finger_joint.effort' in joints.channels
