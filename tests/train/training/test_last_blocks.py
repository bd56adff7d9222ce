"""Readouts whose encoders learn along: what changes, what stays, and what the set then reads."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from encoders import Binder, Predicate, PredicateBank
from encoders.model_sets.calibration import FILE as CALIBRATION
from encoders.model_sets.files import ModelSet, read_tensors, save_model_set, verify
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.readouts import CALIBRATION as READOUT_CALIBRATION
from encoders.model_sets.readouts import FILE, describe_readouts, load_readouts
from encoders.model_sets.sources import load_encoders
from encoders.model_sets.towers import TowerEncoder
from encoders.preprocess import config_to_dict
from encoders.text.minilm import text_tower
from encoders.vision.vit import VisionTower, tie
from tests.readouts import copy_with_readouts, some_calibration
from tests.train.conftest import draw
from tests.train.runs import losses, recipe_file, run
from train.bags.find import find_bags
from train.phrasings import Phrasings
from train.training.checkpoint import CHECKPOINT
from train.training.last_blocks import LastBlocks, check_block_count, entering, leaving
from train.training.readout_tokens import TokenData, _key, load_tokens, trainable_encoders
from train.training.recipe import load_recipe
from train.training.trained_set import RELEASED

pytestmark = pytest.mark.usefixtures('one_thread')

TRAINED = ('image', 'infrared')
LEARNED = ('encoder.layers.1.', 'post_layernorm.')
NAMES = ('open(top drawer)', 'hot(stove)')
SENTENCES = Phrasings.load('trained').sentences(NAMES[0])
OPEN = Predicate(NAMES[0], SENTENCES.positive, SENTENCES.negative)
Train = Callable[..., Path]


@pytest.fixture(scope='module')
def shared_set(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated set with a trunk that all encoders share, updates in infrared, and readouts."""
    folder = tmp_path_factory.mktemp('shared')
    space = text_tower('minilm-l6-v2').space
    manifest = load_recipe(recipe_file).manifest(space=space, provenance={'seed': 0})
    specs = {name: replace(s, source={'file': name}) for name, s in manifest.modalities.items()}
    low_rank = replace(specs['infrared'].vision, lora_rank=4, lora_alpha=8.0)
    specs['infrared'] = replace(specs['infrared'], vision=low_rank)
    torch.manual_seed(0)
    towers = {name: VisionTower(spec.vision) for name, spec in specs.items()}
    for name, parameter in towers['infrared'].named_parameters():
        if '.lora_B' in name:
            torch.nn.init.normal_(parameter, std=0.05)
    tie(towers)
    save_model_set(folder / 'plain', ModelSet(replace(manifest, modalities=specs), towers))
    calibrated = copy_with_readouts(
        folder / 'plain', folder / 'shared', modalities=['image', 'depth']
    )
    calibration = some_calibration(Binder.load(calibrated), NAMES, modalities=list(specs))
    calibration.save(calibrated)
    calibration.save(calibrated, file=READOUT_CALIBRATION)
    (calibrated / 'LICENCE').write_text('free')
    (calibrated / RELEASED).mkdir()
    (calibrated / RELEASED / 'pytorch_model.bin').write_text('of the start')
    return calibrated


@pytest.fixture(scope='module')
def train_set(
    shared_set: Path,
    readout_values: dict[str, Any],
    train_bags: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Train:
    """Train a copy of `shared_set` with changes of the recipe; return the folder of the run."""
    cache = tmp_path_factory.mktemp('cache')

    def train(**changes: Any) -> Path:
        out = tmp_path_factory.mktemp('run')
        values = readout_values | {'start': str(shared_set), 'max_steps': 40}
        values |= {'unfreeze_blocks': 1, 'blocks_learning_rate': 3e-3} | changes
        recipe = recipe_file_of(out, values)
        command = ['train', 'readout', '--config', recipe, '--data', train_bags, '--cache', cache]
        with pytest.MonkeyPatch.context() as patch:
            assert run(patch, *command, '--workers', '1', '--threads', '1', '--out', out) == 0
        return out

    return train


def recipe_file_of(folder: Path, values: dict[str, Any]) -> Path:
    return recipe_file(folder / 'recipe.yaml', values)


@pytest.fixture(scope='module')
def trained(train_set: Train) -> Path:
    """The run of a set whose last block learned along."""
    return train_set()


def images(count: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(7)
    return [draw({'open(top drawer)': bool(k % 2)}, rng)[0] for k in range(count)]


def inputs_of(encoder: TowerEncoder, count: int = 6) -> Tensor:
    return torch.stack([encoder.preprocess(image)[0] for image in images(count)])


def image_encoder(folder: Path) -> TowerEncoder:
    encoder = load_encoders(folder, modalities=('image',)).encoders['image']
    assert isinstance(encoder, TowerEncoder)
    return encoder


@torch.inference_mode()
def kept_cosines(start: Path, changed: Path) -> Tensor:
    """Cosines of the vectors of two sets, for images on which neither was trained."""
    before, after = image_encoder(start), image_encoder(changed)
    inputs = inputs_of(before, 20)
    return F.cosine_similarity(before.encode(inputs), after.encode(inputs))


def test_only_the_last_blocks_of_the_trained_encoders_change(
    trained: Path, shared_set: Path
) -> None:
    before, after = (read_tensors(folder) for folder in (shared_set, trained / 'asked'))
    for modality, tensors in before[1].items():
        for name, tensor in tensors.items():
            learns = modality in TRAINED and name.startswith(LEARNED)
            same = torch.equal(after[1][modality][name], tensor)
            # The bias of keys has no gradient: it shifts all scores of a query alike.
            assert same != learns or name.endswith('k_proj.bias'), (modality, name)
            assert after[1][modality][name].dtype == tensor.dtype
    # Each has a copy of its own, and equal tensors within it were not tied.
    own = [after[1][modality]['encoder.layers.1.mlp.fc1.weight'] for modality in TRAINED]
    assert not torch.equal(*own)
    first, second = (after[1]['image'][f'encoder.layers.1.layer_norm{k}.weight'] for k in (1, 2))
    assert not torch.equal(first, second)


def test_the_set_has_another_identity_and_no_calibration(trained: Path, shared_set: Path) -> None:
    folder = trained / 'asked'
    before, after = read_manifest(shared_set), read_manifest(folder)
    assert after.sha256 != before.sha256
    assert after.manifest.name == 'asked'
    assert after.manifest.space == before.manifest.space
    assert after.manifest.provenance['start']['sha256'] == before.sha256
    assert after.manifest.provenance['modalities'] == list(TRAINED)
    sources = {name: spec.source for name, spec in after.manifest.modalities.items()}
    kept = {name: {'file': name} for name in ('depth', 'audio')}
    assert sources == {'image': {}, 'infrared': {}, **kept}
    verify(folder)
    assert {path.name for path in folder.iterdir()} == {
        'manifest.json', 'weights.safetensors', FILE, 'LICENCE'
    }  # fmt: skip
    described = describe_readouts(folder)
    assert described is not None
    assert described.weights_sha256 == after.sha256
    # The encoder of depth is the same, and so is its readout.
    found, wanted = (load_readouts(path)['depth'] for path in (folder, shared_set))
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
    for path, is_calibrated in ((shared_set, True), (folder, False)):
        binder = Binder.load(path)
        [score] = PredicateBank([OPEN], binder).score(binder.observe(image=images(1)[0]))
        assert score.calibrated == is_calibrated
        assert ('not calibrated' in score.reasons) != is_calibrated


def test_vectors_stay_near_those_of_the_frozen_encoder(
    trained: Path, train_set: Train, shared_set: Path
) -> None:
    kept = kept_cosines(shared_set, trained / 'asked')
    left = kept_cosines(shared_set, train_set(keep_weight=1e-6) / 'asked')
    assert float(kept.min()) > 0.99
    assert float(1 - left.mean()) > 3 * float(1 - kept.mean())


def test_the_written_set_computes_what_was_trained(trained: Path, shared_set: Path) -> None:
    state = torch.load(trained / CHECKPOINT, weights_only=True)['average_blocks']
    frozen, written = image_encoder(shared_set), image_encoder(trained / 'asked')
    learned = LastBlocks(frozen.tower.config, frozen.tower.state_dict(), count=1)
    own = {name.removeprefix('image.'): t for name, t in state.items() if name.startswith('image')}
    learned.load_state_dict({name: t.half().float() for name, t in own.items()})
    inputs = inputs_of(frozen)
    with torch.inference_mode():
        tokens = learned(entering(frozen.tower, inputs, count=1))
        vectors = learned.vectors(tokens)
        torch.testing.assert_close(written.tower.tokens(inputs), tokens, rtol=0, atol=1e-5)
    binder = Binder.load(trained / 'asked')
    found = binder.observe(image=images(6))['image']
    assert isinstance(found, list)
    reduced = binder.readouts['image'].reduce(tokens)
    for row, evidence in enumerate(found):
        assert evidence.tokens is not None
        np.testing.assert_allclose(evidence.vector, vectors[row].numpy(), rtol=0, atol=1e-5)
        np.testing.assert_array_less(
            np.abs(evidence.tokens - reduced[row].numpy()), 2e-3 * (1 + np.abs(evidence.tokens))
        )
    [score] = PredicateBank([OPEN], binder).score({'image': found[0]})
    assert 0 < score.fused < 1


def test_without_learning_blocks_their_keys_have_no_effect(
    train_set: Train, readout_values: dict[str, Any]
) -> None:
    keys = ('unfreeze_blocks', 'blocks_learning_rate', 'keep_weight')
    assert all(key in readout_values for key in keys)
    plain, other = train_set(unfreeze_blocks=0, max_steps=4), train_set(
        unfreeze_blocks=0, max_steps=4, keep_weight=0.0, blocks_learning_rate=1.0
    )  # fmt: skip
    assert losses(plain) == losses(other)
    found, wanted = (load_file(out / 'asked' / FILE) for out in (plain, other))
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    assert (plain / 'asked' / CALIBRATION).exists()


def tokens_of(folder: Path, bags: Path, count: int, cache: Path | None = None) -> TokenData:
    encoders = load_encoders(folder)
    data, _ = load_tokens(
        trainable_encoders(encoders, TRAINED, unfreeze_blocks=count),
        find_bags([bags / 'bag0']),
        weights_sha256=read_manifest(folder).sha256,
        unfreeze_blocks=count,
        cache=cache,
    )
    return data


def test_the_cache_keeps_states_and_vectors_in_files_of_their_own(
    shared_set: Path, train_bags: Path, tmp_path: Path
) -> None:
    plain = tokens_of(shared_set, train_bags, 0, tmp_path)
    files = set((tmp_path / 'tokens').iterdir())
    states = tokens_of(shared_set, train_bags, 1, tmp_path)
    assert len(set((tmp_path / 'tokens').iterdir())) == 2 * len(files)
    rows = torch.arange(20)
    encoder = load_encoders(shared_set).encoders['infrared']
    assert isinstance(encoder, TowerEncoder)
    blocks = LastBlocks(encoder.tower.config, encoder.tower.state_dict(), count=1)
    with torch.inference_mode():
        tokens = blocks(states.tokens('infrared', rows, 0 * rows).float())
        wanted = plain.tokens('infrared', rows, 0 * rows).float()
        torch.testing.assert_close(tokens, wanted, rtol=5e-3, atol=5e-3)
        vectors = states.vectors('infrared', rows, 0 * rows).float()
        torch.testing.assert_close(blocks.vectors(tokens), vectors, rtol=0, atol=2e-3)
    assert all(bag.vectors is None for bag in plain.bags['infrared'])


def test_without_learning_blocks_the_cache_and_the_tokens_are_those_of_earlier_versions(
    shared_set: Path,
) -> None:
    encoder = image_encoder(shared_set)
    tower, inputs = encoder.tower, inputs_of(encoder)
    with torch.inference_mode():
        assert torch.equal(entering(tower, inputs, count=0), tower.tokens(inputs))
        for count in (1, 2):
            states = entering(tower, inputs, count=count)
            blocks = LastBlocks(tower.config, tower.state_dict(), count=count)
            assert torch.equal(blocks(states), tower.tokens(inputs))
            assert torch.equal(leaving(tower, states, count=count), tower(inputs))
            assert torch.equal(blocks.vectors(blocks(states)), tower(inputs))
    before = {'rules': 1, 'bag': 'b', 'config': config_to_dict(encoder.config), 'weights': 'w'}
    text = json.dumps(before | {'augmentations': 2}, sort_keys=True).encode()
    keys = [
        _key('b', encoder.config, weights_sha256='w', augmentations=2, unfreeze_blocks=count)
        for count in (0, 1, 2)
    ]
    assert keys[0] == hashlib.sha256(text).hexdigest()[:12]
    assert len(set(keys)) == 3


def test_blocks_that_cannot_learn_are_named(
    shared_set: Path,
    readout_values: dict[str, Any],
    train_bags: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipe_file_of(tmp_path, readout_values | {'unfreeze_blocks': 3})
    command = ['train', 'readout', '--config', recipe, '--data', train_bags]
    assert run(monkeypatch, *command, '--out', tmp_path / 'out') == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        'lb-ros train readout: unfreeze_blocks: 3, but the image encoder of the start has only 2 '
        'blocks; set unfreeze_blocks to 2 or less, or leave image out of the modalities'
    )
    clip = replace(image_encoder(shared_set).tower.config, frames=8)
    with pytest.raises(ValueError, match='reads clips of 8 frames; set unfreeze_blocks to 0'):
        check_block_count('video', clip, count=1)
    check_block_count('video', clip, count=0)


def test_an_overwritten_run_loses_the_calibration_of_other_vectors(
    trained: Path, small_set: Path, readout_values: dict[str, Any], train_bags: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`small_set` has no calibration that would replace that of the overwritten set."""
    out = tmp_path / 'out'
    shutil.copytree(trained, out)
    binder = Binder.load(out / 'asked')
    some_calibration(binder, NAMES, modalities=TRAINED).save(out / 'asked')
    recipe = recipe_file_of(tmp_path, readout_values | {'max_steps': 1})
    command = ['train', 'readout', '--config', recipe, '--data', train_bags, '--overwrite']
    assert run(monkeypatch, *command, '--workers', '1', '--threads', '1', '--out', out) == 0
    assert read_manifest(out / 'asked').sha256 == read_manifest(small_set).sha256
    assert not (out / 'asked' / CALIBRATION).exists()
