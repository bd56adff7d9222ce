from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders import Binder, ModelSetError, SpaceError
from encoders.model_sets.files import load_model_set, save_model_set, verify
from encoders.model_sets.manifest import read_manifest, sha256_of
from encoders.model_sets.places import MANIFEST, WEIGHTS


def samples(rng: np.random.Generator) -> dict[str, object]:
    return {
        'image': rng.integers(0, 255, (48, 60, 3), dtype=np.uint8),
        'depth': rng.integers(300, 2500, (48, 60), dtype=np.uint16),
        'infrared': rng.integers(29000, 43000, (30, 40), dtype=np.uint16),
        'audio': (rng.integers(-3000, 3000, 20_000, dtype=np.int16), 16_000),
    }


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


def test_embeddings_are_unit_vectors_of_the_text_size(binder: Binder) -> None:
    found = binder.embed(**samples(np.random.default_rng(0)))
    assert set(found) == {'image', 'depth', 'infrared', 'audio'}
    for vectors in found.values():
        assert vectors.shape == (1, 384)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_a_batch_equals_its_samples(binder: Binder) -> None:
    rng = np.random.default_rng(1)
    several = [samples(rng) for _ in range(3)]
    for name in binder.modalities:
        batch = binder.embed(**{name: [s[name] for s in several]})[name]
        single = np.concatenate([binder.embed(**{name: s[name]})[name] for s in several])
        np.testing.assert_allclose(batch, single, atol=1e-5)


def test_the_adapter_makes_the_difference(binder: Binder) -> None:
    inputs = torch.randn(1, 3, 64, 64)
    found = binder.encode({'image': inputs, 'depth': inputs})
    assert np.abs(found['image'] - found['depth']).max() > 1e-3


def test_an_input_of_another_size_is_refused(tiny_model_set: Path) -> None:
    tower = load_model_set(tiny_model_set).towers['image']
    with pytest.raises(ValueError, match=r'does not fit, expected \[B, 3, 64, 64\]'):
        tower(torch.zeros(1, 3, 96, 96))


def test_an_unknown_modality_is_named(binder: Binder, tiny_model_set: Path) -> None:
    with pytest.raises(KeyError, match="no encoder for 'touch', only for image"):
        binder.embed(touch=np.zeros((4, 4)))
    with pytest.raises(KeyError, match='no encoder for'):
        Binder.load(tiny_model_set, modalities=['video'])


def test_a_chosen_modality_is_all_that_is_loaded(tiny_model_set: Path) -> None:
    binder = Binder.load(tiny_model_set, modalities=['depth'])
    assert binder.modalities == ('depth',)
    with pytest.raises(KeyError, match='image'):
        binder.embed(image=np.zeros((4, 4, 3), np.uint8))


def test_an_unknown_set_lists_the_shipped_ones() -> None:
    with pytest.raises(ModelSetError, match=r"no model set 'nowhere'.*lb-mini"):
        Binder.load('nowhere')


def copy_of(folder: Path, target: Path) -> Path:
    save_model_set(target, load_model_set(folder), dtype=torch.float32)
    return target


def test_another_space_is_an_error(tiny_model_set: Path, tmp_path: Path) -> None:
    loaded = load_model_set(tiny_model_set)
    save_model_set(tmp_path / 'other', loaded)
    change_manifest(tmp_path / 'other', space='minilm-l6-v2:0000000000000000')
    with pytest.raises(SpaceError, match='0000000000000000'):
        Binder.load(tmp_path / 'other')


def change_manifest(folder: Path, **values: object) -> None:
    described = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**described, **values}))


def change_weights(folder: Path, change) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    change_manifest(folder, sha256=sha256_of(folder / WEIGHTS))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda t: t.pop('image/pre_layrnorm.bias'),
            r'missing tensor image/pre_layrnorm\.bias',
        ),
        (lambda t: t.update(extra=torch.zeros(1)), 'unexpected tensor extra'),
        (
            lambda t: t.update({'image/embeddings.class_embedding': torch.zeros(7)}),
            r'image/embeddings\.class_embedding has shape \[7\], expected \[48\]',
        ),
    ],
)
def test_loading_is_strict(tiny_model_set: Path, tmp_path: Path, change, message: str) -> None:
    folder = copy_of(tiny_model_set, tmp_path / 'changed')
    change_weights(folder, change)
    with pytest.raises(ModelSetError, match=message):
        load_model_set(folder)


def test_damaged_weights_are_noticed(tiny_model_set: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_model_set, tmp_path / 'damaged')
    raw = bytearray((folder / WEIGHTS).read_bytes())
    raw[-1] ^= 1
    (folder / WEIGHTS).write_bytes(raw)
    with pytest.raises(ModelSetError, match='sha256'):
        load_model_set(folder)


def test_saving_and_loading_keeps_everything(tiny_model_set: Path, tmp_path: Path) -> None:
    before = load_model_set(tiny_model_set)
    after = load_model_set(copy_of(tiny_model_set, tmp_path / 'copy'))
    assert after.manifest == before.manifest == read_manifest(tiny_model_set).manifest
    for name, tower in before.towers.items():
        torch.testing.assert_close(after.towers[name].state_dict(), tower.state_dict())


def test_the_trunk_is_stored_and_held_once(tiny_model_set: Path) -> None:
    stored = load_file(tiny_model_set / WEIGHTS)
    assert 'image/encoder.layers.0.mlp.fc1.weight' in stored
    own = {name.partition('/')[2] for name in stored if name.startswith('infrared/')}
    assert own and not [name for name in own if name.startswith('encoder.')]
    towers = load_model_set(tiny_model_set).towers
    shared = {tower.encoder.layers[1].mlp.fc2.weight for tower in towers.values()}
    assert len(shared) == 1


def test_a_set_is_verified_by_hash_and_golden_vectors(
    tiny_model_set: Path, tmp_path: Path
) -> None:
    assert max(verify(tiny_model_set).values()) < 1e-5
    assert set(verify(tiny_model_set)) == {'image', 'depth', 'infrared', 'audio', 'text'}
    folder = copy_of(tiny_model_set, tmp_path / 'changed')
    change_weights(
        folder, lambda t: t.update({'depth/visual_projection.weight': torch.ones(384, 48)})
    )
    with pytest.raises(ModelSetError, match='golden vector of depth is off'):
        verify(folder)


def test_other_preprocessing_than_in_training_is_refused(tiny_model_set: Path) -> None:
    with pytest.raises(ModelSetError, match='preprocessing of depth is fixed'):
        Binder.load(tiny_model_set, options={'depth': {'max_depth_m': 5.0}})


def test_text_vectors_are_unit_and_repeatable(binder: Binder) -> None:
    texts = ['the drawer is open', 'a cat', 'the drawer is open']
    found = binder.embed_text(texts)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found[0], found[2])
    assert found[0] @ found[1] < 0.6
    with pytest.raises(ValueError, match='text 1 is empty'):
        binder.embed_text(['a cat', '  '])
