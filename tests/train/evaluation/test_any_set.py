"""Calibrating and evaluating a set of LanguageBind's family, released or converted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders import Binder
from encoders.languagebind.configuration import read_config
from encoders.model_sets.calibration import Calibration
from encoders.model_sets.convert import convert
from encoders.model_sets.sources import load_encoders
from encoders.text.clip import VOCABULARY, text_shapes
from train.bags.find import find_bags
from train.calibration.readouts import read_tokens
from train.cli import main
from train.evaluation.evaluate import embed_bags
from train.evaluation.reading import read_bags
from train.phrasings import Phrasings

ORACLE = Path(__file__).resolve().parents[2] / 'data' / 'oracle'


@pytest.fixture(scope='module')
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny depth and audio encoders with a random text tower of CLIP's vocabulary."""
    generator = torch.Generator().manual_seed(0)
    folders, text = {}, None
    for name in ('depth', 'audio'):
        folder = folders[name] = tmp_path_factory.mktemp(name)
        config = json.loads((ORACLE / name / 'config.json').read_text())
        config['text_config']['vocab_size'] = VOCABULARY
        (folder / 'config.json').write_text(json.dumps(config))
        if text is None:
            shapes = text_shapes(read_config(folder).text)
            text = {k: torch.randn(s, generator=generator) * 0.05 for k, s in shapes.items()}
        tensors = torch.load(ORACLE / name / 'pytorch_model.bin', weights_only=True)
        torch.save({**tensors, **text}, folder / 'pytorch_model.bin')
    return folders


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, 'argv', ['lb-ros', *map(str, words), '--threads', '1'])
    return main()


def test_a_converted_set_is_calibrated_and_evaluated_and_a_released_one_as_well(
    released: dict[str, Path],
    train_bags: Path,
    held_out_bags: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = convert(released, tmp_path / 'set', name='a set')
    bags, new = sorted(train_bags.iterdir())[:2], sorted(held_out_bags.iterdir())[0]
    report = tmp_path / 'report.json'

    def evaluated(model: str | Path) -> dict[str, Any]:
        words = ('eval', '--model', model, '--data', new, '--report', report)
        assert run(monkeypatch, *words) == 0
        read: dict[str, Any] = json.loads(report.read_text())
        return read

    names = ','.join(f'{name}={path}' for name, path in released.items())
    converted, plain = evaluated(folder), evaluated(names)
    assert (converted['model'], converted['moments']) == ('a set', 40)
    assert converted['results'] == plain['results']
    assert run(monkeypatch, 'calibrate', '--model', folder, '--data', *bags) == 0
    fitted = Calibration.load_if_present(folder)
    assert fitted is not None and fitted.modalities == ('depth', 'audio')
    assert fitted.space == Binder.load(folder).space
    calibrated = evaluated(folder)
    assert calibrated['space'] == plain['space'] == fitted.space
    modalities = {r['modality'] for r in calibrated['results']['trained']}
    assert modalities == {'depth', 'audio', 'fused'}  # only a calibration says how to fuse


def test_vectors_of_bags_are_those_of_the_binder(
    released: dict[str, Path], held_out_bags: Path
) -> None:
    encoders = load_encoders({'depth': released['depth']})
    vectors, samples, _ = embed_bags(encoders.encoders, find_bags([held_out_bags])[:1])
    assert vectors['depth'].shape == (40, 32)
    open_ = samples.truth[:, samples.predicates.index('open(top drawer)')] == 1
    near, far = (vectors['depth'][rows].mean(axis=0) for rows in (open_, ~open_))
    spread = vectors['depth'][open_].std(axis=0).max()
    assert np.abs(near - far).max() > 3 * spread  # the network sees what was drawn


def test_sensors_that_no_bag_has_are_left_out_with_and_without_readouts(
    held_out_bags: Path,
) -> None:
    bags = find_bags([held_out_bags])[:1]
    phrasings = Phrasings.load('trained')
    encoders = load_encoders('lb-mini', modalities=['depth', 'wrench'])
    vectors, samples, _ = embed_bags(encoders.encoders, bags)
    assert set(vectors) == set(samples.inputs) == {'depth'}
    binder, embed = Binder(encoders), encoders.text.embed
    vectors, odds, _, _ = read_tokens(binder, bags, embed=embed, phrasings=phrasings)
    assert set(vectors) == set(odds) == {'depth'}
    read = read_bags(binder, bags, wordings={'trained': phrasings})
    assert set(read.samples.inputs) == {'depth'}
    assert all('wrench' not in each.scores for each in read.readings.values())


def test_an_unknown_modality_is_named(
    tmp_path: Path,
    held_out_bags: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, 'eval', '--model', 'smell=x', '--data', held_out_bags) == 2
    assert "'smell=x' must be MODALITY=FOLDER" in capsys.readouterr().err
