"""What comes out of the contrastive recipe, and which recipes are usable."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from encoders import Binder
from encoders.vision.vit import LOGIT_SCALE_MAX
from tests.train.runs import losses, recipe_file, run
from train.pairs.record import decode
from train.pairs.shards import open_pair_set
from train.training.contrast import learning_rate
from train.training.contrast_recipe import load_contrast_recipe
from train.training.languagebind import Lora
from train.training.recipe import RecipeError, load_recipe
from train.training.tower import open_towers

pytestmark = pytest.mark.usefixtures('one_thread')

REPOSITORY = Path(__file__).resolve().parents[3]
RECIPES = sorted((REPOSITORY / 'config' / 'recipes').glob('*.yaml'))
CONTRAST = [p for p in RECIPES if 'tuning' in yaml.safe_load(p.read_text())]


# --- what comes out ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('tuning', 'targets', 'learns'),
    [
        ('lora', ['q_proj', 'v_proj'], 'lora_'),
        ('full', ['q_proj'], 'self_attn'),
        ('probe', ['q_proj'], 'visual_projection'),
    ],
)
def test_each_tuning_learns_and_its_manifest_records_what(
    tiny_checkpoints: dict[str, str], recipe_values: dict[str, Any], pair_folder: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tuning: str, targets: list[str], learns: str,
) -> None:  # fmt: skip
    lora = {'rank': 4, 'alpha': 16, 'targets': targets}
    recipe = recipe_file(
        tmp_path / 'tiny.yaml', recipe_values, tuning=tuning, lora=lora, max_steps=30
    )
    out = tmp_path / 'out'
    arguments = ['train', 'contrast', '--config', recipe, '--data', pair_folder, '--out', out]
    assert run(monkeypatch, *arguments) == 0
    announced = capsys.readouterr().out.splitlines()
    names = [n for n, _ in open_towers(
        tiny_checkpoints, ['depth'], tuning=tuning, lora=replace(Lora(4), targets=tuple(targets))
    ).towers['depth'].named_learning()]  # fmt: skip
    assert any(learns in name for name in names)
    if tuning == 'probe':
        assert set(names) == {'visual_projection.weight', 'logit_scale'}
    assert announced[0].startswith('tiny: training ')
    assert [line.split(':')[0].strip() for line in announced[1:3]] == ['depth', 'infrared']
    found = losses(out)
    assert np.mean(found[-4:]) < np.mean(found[:4])
    binder = Binder.load(out / 'tiny')
    assert binder.modalities == ('depth', 'infrared')
    before = Binder.load({k: tiny_checkpoints[k] for k in binder.modalities})
    assert binder.space == before.space
    pair = open_pair_set(pair_folder).read(0)
    sample = decode('depth', pair.files)
    own = Binder.load({'depth': out / 'tiny' / 'released' / 'depth'})
    vector = binder.embed(depth=sample)['depth']
    np.testing.assert_allclose(own.embed(depth=sample)['depth'], vector, atol=1e-5)
    assert np.abs(before.embed(depth=sample)['depth'] - vector).max() > 1e-3
    # The result is a start itself.
    again = recipe_file(tmp_path / 'again.yaml', recipe_values, start=str(out / 'tiny'),
                        tuning=tuning, lora=lora, max_steps=1)  # fmt: skip
    assert run(monkeypatch, 'train', 'contrast', '--config', again, '--data', pair_folder,
               '--out', tmp_path / 'again') == 0  # fmt: skip


def test_a_small_set_learns_all_its_sensors_together_straight_from_bags(
    recipe_values: dict[str, Any], train_bags: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sensors = ['depth', 'audio']
    recipe = recipe_file(
        tmp_path / 'tiny.yaml', recipe_values, start='lb-mini', modalities=sensors,
        patch_dropout={'depth': 0.5, 'audio': 0.2}, temperature=None, batch=8, micro_batch=8,
        max_steps=2, pairs={'window_s': 1.0},
    )  # fmt: skip
    out = tmp_path / 'out'
    arguments = ['train', 'contrast', '--config', recipe, '--out', out]
    assert run(monkeypatch, *arguments, '--data', train_bags / 'bag0', train_bags / 'bag1') == 0
    binder, before = Binder.load(out / 'tiny'), Binder.load('lb-mini')
    assert binder.modalities == ('depth', 'audio')
    assert binder.space == before.space
    page = (out / 'report.html').read_text()
    for word in ('Loss', 'Temperature', 'depth -&gt; text', 'Confusion', 'Examples', '<svg'):
        assert word in page


def test_tensorboard_is_an_extra(
    recipe_values: dict[str, Any], pair_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    recipe = recipe_file(tmp_path / 'tiny.yaml', recipe_values)
    arguments = ['train', 'contrast', '--config', recipe, '--data', pair_folder]
    assert run(monkeypatch, *arguments, '--out', tmp_path / 'out', '--tensorboard') == 2
    assert "pip install 'lb_ros[tensorboard]'" in capsys.readouterr().err


def test_a_recipe_of_the_other_command_is_named() -> None:
    folder = REPOSITORY / 'config' / 'recipes'
    with pytest.raises(RecipeError, match="'tuning'; a recipe of lb-ros train contrast"):
        load_recipe(folder / 'lora.yaml')
    with pytest.raises(RecipeError, match="'trainable'; a recipe of lb-ros train bind"):
        load_contrast_recipe(folder / 'touch.yaml')


# --- recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', CONTRAST, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_says_its_command(path: Path) -> None:
    recipe = load_contrast_recipe(path)
    head = path.read_text().split('\nname:')[0]
    assert all(line.startswith('#') for line in head.splitlines())
    assert f'lb-ros train contrast --config config/recipes/{path.name} --data' in head
    assert recipe.name == path.stem


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'tuning': 'magic'}, 'tuning must be one of lora, full, probe'),
        ({'speed': 1}, "unknown key 'speed'"),
        ({'patch_dropout': {'depth': 0.5}}, 'patch_dropout must name every modality'),
        ({'modalities': ['smell']}, "unknown modality 'smell'"),
        ({'precision': 'int4'}, 'precision must be one of auto, fp32, bf16, fp16'),
        ({'temperature': 0.001}, 'temperature must be in'),
        ({'pairs': {'window': 1}}, 'window'),
    ],
)
def test_an_unusable_recipe_is_named(
    recipe_values: dict[str, Any], tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    path = recipe_file(tmp_path / 'odd.yaml', recipe_values, **changes)
    with pytest.raises(RecipeError, match=says) as error:
        load_contrast_recipe(path)
    assert str(path) in str(error.value)


def test_the_rate_warms_up_and_falls_to_nothing(
    recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    path = recipe_file(tmp_path / 'r.yaml', recipe_values, warmup_steps=4, learning_rate=1.0)
    recipe = load_contrast_recipe(path)
    rates = [learning_rate(recipe, step, 12) for step in range(12)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_the_temperature_stays_in_its_bounds(tiny_checkpoints: dict[str, str]) -> None:
    tower = open_towers(
        tiny_checkpoints, ['depth'], tuning='lora', lora=Lora(2), temperature=0.07
    ).towers['depth']
    assert tower.temperature == pytest.approx(0.07, rel=1e-5)
    with torch.no_grad():
        tower.logit_scale.fill_(99.0)
    tower.clamp_temperature()
    assert float(tower.logit_scale.detach()) == pytest.approx(LOGIT_SCALE_MAX)
