"""Series are bound to language like every other sensor."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import Binder, Series
from encoders.decode.series import WRENCH
from encoders.model_sets.manifest import read_manifest
from encoders.preprocess import is_series, mini_config, to_stored
from tests.encoders.decode.series_messages import forces
from tests.train.runs import run
from tests.train.series_bags import RECIPE, SeriesBag, random_facts
from train.training.augment import augmented_inputs, varied_series
from train.training.recipe import load_recipe

QUICK = ('--workers', '1', '--threads', '1')
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training on four bags, and two held-out ones."""
    folder = tmp_path_factory.mktemp('felt')
    writer = SeriesBag()
    for index in range(6):
        kind = 'train' if index < 4 else 'new'
        writer.write(folder / kind / f'b{index}', random_facts(24, seed=index), seed=index)
    (folder / 'felt.yaml').write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        words = ('--data', folder / 'train', '--cache', folder / 'cache', *QUICK)
        options = ('--config', folder / 'felt.yaml', '--out', folder / 'run')
        assert run(patch, 'train', 'bind', *options, *words) == 0
    return folder


def test_each_sensor_feels_on_new_bags_what_it_can_feel(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ('--data', trained / 'new', '--report', trained / 'report.json', *QUICK)
    assert run(monkeypatch, 'eval', '--model', trained / 'run' / 'felt', *words) == 0
    report = json.loads((trained / 'report.json').read_text())
    found = {
        (result['name'], result['modality']): result['auroc']
        for result in report['results']['trained']
    }
    assert found['contact(tool, table)', 'wrench'] > 0.95
    assert found['holding(something)', 'joints'] > 0.95
    assert found['slipping(cup)', 'imu'] > 0.95
    assert found['slipping(cup)', 'joints'] < 0.8


def test_the_set_holds_the_statistics_and_embeds_series(trained: Path) -> None:
    folder = trained / 'run' / 'felt'
    specs = read_manifest(folder).manifest.modalities
    for spec in specs.values():
        assert is_series(spec.preprocess)
        assert len(spec.preprocess.scale) == len(spec.preprocess.channels)
        assert spec.vision.stem == 'series'
    binder = Binder.load(folder)
    times_s = np.arange(0, 1, 0.004)
    series = Series(forces(times_s), times_s, WRENCH)
    vectors = binder.embed(wrench=[series, series])['wrench']
    assert vectors.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_augmented_series_keep_their_holes_and_stay_finite() -> None:
    config = mini_config('wrench', {})
    assert is_series(config)
    times_s = np.arange(-2, 0, 0.01)
    values = forces(times_s)
    values[:, 4] = np.nan
    stored = torch.from_numpy(to_stored(Series(values, times_s, WRENCH), config)).expand(
        64, -1, -1
    )
    draw = torch.Generator().manual_seed(0)
    varied = varied_series(stored, config, draw)
    assert varied[..., 4].isnan().all()
    dead = varied.isnan().all(1).float().mean(0)
    assert 0 < dead[[0, 1, 2, 3, 5]].mean() < 0.2
    moved = (varied - stored)[:, 1:, :4].nanmean(1)
    floor = torch.tensor(config.floor)
    assert (moved.abs().nanmean(0) > 0.1 * floor[:4]).all()
    regions = torch.zeros(64, 64, 64, dtype=torch.uint8)
    inputs, _ = augmented_inputs(stored, config, draw, regions=regions)
    assert inputs.isfinite().all()
    assert inputs.shape == (64, 6, 25, 34)


def test_the_shipped_recipe_trains_series_on_the_trunk_of_lb_mini() -> None:
    recipe = load_recipe(REPOSITORY / 'config' / 'recipes' / 'lb-mini-contact.yaml')
    manifest = recipe.manifest(space='', provenance={})
    assert set(manifest.modalities) == {'wrench', 'joints', 'imu'}
    shared = read_manifest(REPOSITORY / 'encoders' / 'models' / 'lb-mini').manifest
    trunk = replace(shared.modalities['image'].vision, lora_rank=0)
    for spec in manifest.modalities.values():
        for key in ('width', 'layers', 'heads', 'mlp_width', 'projection'):
            assert getattr(spec.vision, key) == getattr(trunk, key)
