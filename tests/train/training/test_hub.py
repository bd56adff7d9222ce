"""Sensors bound to the frozen images of the same moments instead of to sentences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from encoders import Binder
from encoders.model_sets.sources import load_encoders
from tests.train.runs import break_off, losses, recipe_file, run, run_twofold
from train.bags.find import find_bags
from train.bags.load import load_samples
from train.pairs.data import PairData, open_pair_data
from train.pairs.options import PairOptions
from train.pairs.record import Text, decode
from train.pairs.shards import open_pair_set, write_shards
from train.training.batch import PairBatch, draw_batch
from train.training.cached import backpropagate, matches
from train.training.contrast import open_hub, open_trained
from train.training.contrast_recipe import ContrastRecipe, load_contrast_recipe
from train.training.hub import Hub, image_encoder, image_vectors, inputs_to_read
from train.training.ranks import Ranks
from train.training.recipe import Recipe, RecipeError, load_recipe
from train.training.tower import Tower
from train.validated import plain

pytestmark = pytest.mark.usefixtures('one_thread')

ALONE = Ranks(0, 1, torch.device('cpu'))


@pytest.fixture
def recipe(recipe_values: dict[str, Any], tmp_path: Path) -> Path:
    """The small contrastive recipe with images as hub."""
    return recipe_file(tmp_path / 'tiny.yaml', recipe_values, hub='image')


def arguments(recipe: Path, data: Path, out: Path) -> list[str]:
    common = ['train', 'contrast', '--config', recipe, '--data', data, '--out', out]
    return [*map(str, common), '--threads', '1', '--cache', str(out.parent / 'cache')]


def loaded(recipe: Path) -> ContrastRecipe:
    return load_contrast_recipe(recipe)


def depth_batch(data: PairData, tower: Tower, hub: Hub) -> PairBatch:
    return draw_batch(data, tower, hub, step=0, batch=12, patch_dropout=0.0, seed=0, ranks=ALONE)


def copied(pairs: Path, folder: Path, **changes: Any) -> Path:
    """The same pairs with some fields replaced."""
    stored = open_pair_set(pairs)
    described = {k: v for k, v in stored.manifest.items() if k not in ('format', 'shards')}
    changed = [replace(stored.read(k), **changes) for k in range(len(stored))]
    write_shards(folder, changed, described=described)
    return folder


# --- the hub is frozen, and the only thing a sensor is bound to ----------------------------------


def test_targets_are_what_the_start_makes_of_the_images(recipe: Path, pair_folder: Path) -> None:
    data = open_pair_data([pair_folder], PairOptions())
    chosen = loaded(recipe)
    trained = open_trained(chosen)
    hub = open_hub(chosen, trained, data, ranks=ALONE)
    batch = depth_batch(data, trained.towers['depth'], hub)
    numbers = data.order('depth', 0, batch=12, seed=0, hub='image')
    images = [data.source.read(int(k)).files['image.jpg'] for k in numbers]
    raw = [decode('image', {'image.jpg': image}) for image in images]
    wanted = Binder.load(chosen.start).embed(image=raw)['image']
    np.testing.assert_allclose(batch.targets.numpy(), wanted, atol=2e-3)  # stored as float16
    assert matches(batch, ALONE).equal(torch.eye(12, dtype=torch.bool))


def test_no_gradient_reaches_the_image_encoder(recipe: Path, pair_folder: Path) -> None:
    """Not even with full tuning of a sensor that shares its trunk with the image encoder."""
    data = open_pair_data([pair_folder], PairOptions())
    chosen = replace(
        loaded(recipe), start='lb-mini', modalities=('depth',), patch_dropout={'depth': 0.0},
        tuning='full',
    )  # fmt: skip
    trained = open_trained(chosen)
    before = image_encoder(chosen.start).tower.state_dict()
    hub = open_hub(chosen, trained, data, ranks=ALONE)
    tower = trained.towers['depth']
    batch = depth_batch(data, tower, hub)
    kept = batch.targets.clone()
    assert not batch.targets.requires_grad
    updates = torch.optim.SGD(tower.learning(), lr=0.1)
    backpropagate(tower, batch, micro_batch=12, ranks=ALONE)
    updates.step()
    again = open_hub(chosen, trained, data, ranks=ALONE)
    torch.testing.assert_close(depth_batch(data, tower, again).targets, kept, rtol=0, atol=0)
    for name, tensor in image_encoder(chosen.start).tower.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_the_sentences_of_a_pair_have_no_influence(
    recipe: Path, pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copied(pair_folder, tmp_path / 'other', texts=(Text('anything else', 'note'),))
    found = {}
    for hub in ('image', 'language'):
        for name, data in (('as they are', pair_folder), ('others', other)):
            out = tmp_path / hub / name
            assert run(monkeypatch, *arguments(recipe, data, out), '--hub', hub) == 0
            found[hub, name] = losses(out)
    assert found['image', 'as they are'] == found['image', 'others']
    assert found['language', 'as they are'] != found['language', 'others']
    assert found['image', 'as they are'] != found['language', 'as they are']


def test_equal_images_are_positives_of_each_other(
    recipe: Path, pair_folder: Path, tmp_path: Path
) -> None:
    stored = open_pair_set(pair_folder)
    image = {'image.jpg': stored.read(0).files['image.jpg']}
    pairs = [stored.read(k) for k in range(12)]
    same = [replace(p, files={**p.files, **image}) if k < 2 else p for k, p in enumerate(pairs)]
    write_shards(tmp_path / 'same', same, described={})
    data = open_pair_data([tmp_path / 'same'], PairOptions())
    chosen = loaded(recipe)
    trained = open_trained(chosen)
    hub = open_hub(chosen, trained, data, ranks=ALONE)
    batch = depth_batch(data, trained.towers['depth'], hub)
    assert matches(batch, ALONE).sum() == 12 + 2


def test_a_sensor_learns_the_images_of_its_moments(
    recipe: Path, pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    assert run(monkeypatch, *arguments(recipe, pair_folder, out), '--max-steps', '40') == 0
    found = losses(out)
    assert np.mean(found[-5:]) < np.mean(found[:5])
    assert (out / 'report.html').read_text().count('depth -&gt; text')  # evaluated by text
    provenance = json.loads((out / 'tiny' / 'manifest.json').read_text())['provenance']
    assert provenance['recipe']['hub'] == 'image'


# --- resuming, several processes, the cache ------------------------------------------------------


def test_a_run_that_broke_off_goes_on_with_the_losses_of_one_that_did_not(
    recipe: Path, pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    broken, whole = tmp_path / 'a' / 'broken', tmp_path / 'b' / 'whole'
    break_off(monkeypatch, *arguments(recipe, pair_folder, broken), after=3)
    call = [*arguments(recipe, pair_folder, broken), '--resume']
    assert run(monkeypatch, *call, '--hub', 'language') == 1
    assert 'recipe hub = "image", not "language"' in capsys.readouterr().err
    assert run(monkeypatch, *call) == 0
    assert run(monkeypatch, *arguments(recipe, pair_folder, whole)) == 0
    assert losses(broken) == losses(whole)


def test_the_checkpoint_of_an_earlier_version_resumes_with_language_only(
    recipe: Path, pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / 'out'
    language = [*arguments(recipe, pair_folder, out), '--hub', 'language']
    assert run(monkeypatch, *language, '--max-steps', '2') == 0
    state = torch.load(out / 'checkpoint.pt', weights_only=True)
    del state['recipe']['hub']
    torch.save(state, out / 'checkpoint.pt')
    resumed = [*arguments(recipe, pair_folder, out), '--resume']
    assert run(monkeypatch, *resumed) == 1
    assert 'hub' in capsys.readouterr().err
    assert run(monkeypatch, *resumed, '--hub', 'language') == 0


@pytest.mark.slow
def test_two_processes_train_like_one(
    recipe: Path, pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / 'a' / 'one', tmp_path / 'b' / 'two'
    assert run(monkeypatch, *arguments(recipe, pair_folder, one)) == 0
    run_twofold(*arguments(recipe, pair_folder, two), limit_s=180)
    np.testing.assert_allclose(losses(two), losses(one), atol=1e-5)


def test_vectors_come_from_the_cache_and_follow_the_encoder(
    recipe: Path, pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_pair_data([pair_folder], PairOptions())
    chosen = loaded(recipe)
    trained = open_trained(chosen)
    cache = tmp_path / 'cache'
    first = open_hub(chosen, trained, data, ranks=ALONE, cache=cache)
    (file,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(
            'encoders.model_sets.towers.TowerEncoder.encode',
            lambda *_: pytest.fail('embedded again'),
        )
        second = open_hub(chosen, trained, data, ranks=ALONE, cache=cache)
    torch.testing.assert_close(first.vectors, second.vectors, rtol=0, atol=0)
    file.write_bytes(b'damaged')
    third = open_hub(chosen, trained, data, ranks=ALONE, cache=cache)
    torch.testing.assert_close(first.vectors, third.vectors, rtol=0, atol=0)
    other = replace(chosen, start={**chosen.start, 'image': chosen.start['infrared']})
    open_hub(other, trained, data, ranks=ALONE, cache=cache)
    assert len(list(cache.iterdir())) == 2


# --- errors --------------------------------------------------------------------------------------


def test_a_start_without_an_image_encoder_is_named(
    recipe_values: dict[str, Any], pair_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    start = {k: v for k, v in recipe_values['start'].items() if k != 'image'}
    path = recipe_file(tmp_path / 'tiny.yaml', recipe_values, start=start, hub='image')
    assert run(monkeypatch, *arguments(path, pair_folder, tmp_path / 'out')) == 2
    said = capsys.readouterr().err
    assert "no encoder for 'image'" in said
    assert '--hub language' in said
    assert not (tmp_path / 'out' / 'checkpoint.pt').exists()


def test_pairs_without_images_are_named(
    recipe: Path, pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stored = open_pair_set(pair_folder)
    pairs = [stored.read(k) for k in range(24)]
    blind = [
        replace(p, files={n: d for n, d in p.files.items() if not n.startswith('image')})
        for p in pairs
    ]
    write_shards(tmp_path / 'blind', blind, described={})
    assert run(monkeypatch, *arguments(recipe, tmp_path / 'blind', tmp_path / 'out')) == 2
    said = capsys.readouterr().err
    assert '0 pairs have depth and an image of the same moment' in said
    assert '--modalities image depth' in said


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'hub': 'smell'}, 'hub must be one of language, image'),
        (
            {'modalities': ['depth', 'image'], 'patch_dropout': {'depth': 0.0, 'image': 0.0}},
            'hub must not be among the modalities',
        ),
    ],
)
def test_an_unusable_hub_is_named(
    recipe_values: dict[str, Any], tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    path = recipe_file(tmp_path / 'odd.yaml', recipe_values | {'hub': 'image'}, **changes)
    with pytest.raises(RecipeError, match=says):
        load_contrast_recipe(path)


# --- bags: cut with their images, and `train bind` -----------------------------------------------


def test_bags_are_cut_with_the_images_that_are_the_hub(
    recipe: Path, train_bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = arguments(recipe, train_bags / 'bag0', tmp_path / 'out')
    assert run(monkeypatch, *call, '--max-steps', '1') == 0
    assert Binder.load(str(tmp_path / 'out' / 'tiny')).modalities == ('depth', 'infrared')


@pytest.fixture
def bound(recipe_file: Path, small_set: Path) -> Recipe:
    """The small recipe of `train bind` for depth and audio, with images as hub."""
    whole = load_recipe(recipe_file, max_steps=6)
    kept = ('depth', 'audio')
    return replace(
        whole,
        start=str(small_set),
        modalities={name: whole.modalities[name] for name in kept},
        batch=dict.fromkeys(kept, 8),
        relations={name: {'open': 1.0} for name in kept},
        hub='image',
    )


def bind_file(recipe: Recipe, path: Path, **changes: Any) -> Path:
    values = plain(replace(recipe, **changes))
    values['modalities'] = {'depth': {'size': 32}, 'audio': {'mel_bins': 32, 'frames': 48}}
    path.write_text(yaml.safe_dump(values))
    return path


def bind_arguments(recipe: Path, bags: Path, out: Path) -> list[str]:
    common = ['train', 'bind', '--config', recipe, '--data', bags, '--out', out]
    quick = ['--workers', '1', '--threads', '1', '--cache', out.parent / 'cache']
    return [*map(str, (*common, *quick))]


def bind_losses(out: Path) -> list[float]:
    return [json.loads(line)['loss'] for line in (out / 'log.jsonl').read_text().splitlines()]


def test_bind_trains_towards_the_images_and_resumes(
    bound: Recipe, train_bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = bind_file(bound, tmp_path / 'drawn.yaml')
    other = bind_file(bound, tmp_path / 'other.yaml', relations={'depth': {}, 'audio': {}})
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    assert run(monkeypatch, *bind_arguments(path, train_bags, whole)) == 0
    assert run(monkeypatch, *bind_arguments(other, train_bags, tmp_path / 'deaf')) == 0
    assert bind_losses(tmp_path / 'deaf') == bind_losses(whole)  # no fact has an influence
    stopped = bind_file(bound, tmp_path / 'often.yaml', validate_every_minutes=0.0)
    break_off(monkeypatch, *bind_arguments(stopped, train_bags, broken), after=3)
    resumed = [*bind_arguments(stopped, train_bags, broken), '--resume']
    assert run(monkeypatch, *resumed, '--hub', 'language') == 1
    assert 'recipe hub = "image", not "language"' in capsys.readouterr().err
    assert run(monkeypatch, *resumed) == 0
    assert bind_losses(broken) == bind_losses(whole)
    assert Binder.load(str(whole / 'drawn')).modalities == ('audio', 'depth')


def test_images_of_bind_are_those_of_the_start(bound: Recipe, train_bags: Path) -> None:
    configs = inputs_to_read(bound)
    assert set(configs) == {'depth', 'audio', 'image'}
    samples, _ = load_samples(find_bags([train_bags / 'bag0']), configs)
    encoder = load_encoders(bound.start or '', modalities=('image',)).encoders['image']
    assert encoder.config == configs['image']
    blind = samples.inputs['image'].copy()
    blind[3] = 0
    found = image_vectors(bound, replace(samples, inputs={**samples.inputs, 'image': blind}))
    wanted = np.where(np.arange(len(samples)) == 3, 0.0, 1.0)
    np.testing.assert_allclose(found.norm(dim=1), wanted, atol=1e-3)
    with pytest.raises(ValueError, match='no moment has depth and an image'):
        image_vectors(bound, replace(samples, inputs={**samples.inputs, 'image': blind * 0}))


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'start': None}, 'hub: image needs a start'),
        ({'region_weight': {'depth': 1.0}}, 'hub: image needs region_weight'),
    ],
)
def test_an_unusable_hub_of_bind_is_named(
    bound: Recipe, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    path = bind_file(replace(bound, hub='language', patch_dropout=0.0), tmp_path / 'odd.yaml')
    values = yaml.safe_load(path.read_text()) | {'hub': 'image'} | changes
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(RecipeError, match=says):
        load_recipe(path)
