from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders import Binder, ModelSetError, SpaceError
from encoders.model_set import (
    MANIFEST,
    WEIGHTS,
    ModelSet,
    load_model_set,
    read_manifest,
    save_model_set,
    sha256_of,
)


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


def test_low_rank_updates_equal_merged_weights(tiny_model_set: Path) -> None:
    model_set = load_model_set(tiny_model_set)
    adapter, trunk = model_set.adapters['depth'], model_set.trunk
    inputs = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        unmerged = trunk(inputs, adapter)
        for block, lora in zip(trunk.blocks, adapter.lora, strict=True):
            for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
                up, down = (lora.get_parameter(f'{name}_{side}') for side in 'ba')
                block.attention.get_submodule(name).weight += lora.scale * up @ down
        adapter.lora = torch.nn.ModuleList()
        merged = trunk(inputs, adapter)
    torch.testing.assert_close(unmerged, merged, atol=1e-5, rtol=1e-5)


def test_patch_dropout_is_only_for_those_who_ask(tiny_model_set: Path) -> None:
    model_set = load_model_set(tiny_model_set)
    inputs = torch.randn(1, 3, 64, 64)
    plain = model_set.trunk(inputs, model_set.adapters['image'])
    torch.testing.assert_close(plain, model_set.trunk(inputs, model_set.adapters['image']))
    dropped = model_set.trunk(inputs, model_set.adapters['image'], patch_dropout=0.5)
    assert (plain - dropped).abs().max() > 1e-4


def test_an_input_of_another_size_is_refused(tiny_model_set: Path) -> None:
    model_set = load_model_set(tiny_model_set)
    with pytest.raises(ValueError, match='gives 36 patches, but the position table holds 16'):
        model_set.trunk(torch.zeros(1, 3, 96, 96), model_set.adapters['image'])


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
    elsewhere = replace(loaded.manifest, space='minilm-l6-v2:0000000000000000')
    save_model_set(tmp_path / 'other', ModelSet(elsewhere, loaded.trunk, loaded.adapters))
    with pytest.raises(SpaceError, match='0000000000000000'):
        Binder.load(tmp_path / 'other')


def change_weights(folder: Path, change) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    described = json.loads((folder / MANIFEST).read_text())
    described['sha256'] = sha256_of(folder / WEIGHTS)
    (folder / MANIFEST).write_text(json.dumps(described))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda t: t.pop('trunk.pre_layernorm.bias'),
            r'missing tensor trunk\.pre_layernorm\.bias',
        ),
        (lambda t: t.update(extra=torch.zeros(1)), 'unexpected tensor extra'),
        (
            lambda t: t.update({'adapters.image.class_embedding': torch.zeros(7)}),
            r'adapters\.image\.class_embedding has shape \[7\], expected \[48\]',
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
    assert after.manifest == before.manifest == read_manifest(tiny_model_set)[0]
    for one, other in zip(before.trunk.parameters(), after.trunk.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_text_vectors_are_unit_and_repeatable(binder: Binder) -> None:
    texts = ['the drawer is open', 'a cat', 'the drawer is open']
    found = binder.embed_text(texts)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found[0], found[2])
    assert found[0] @ found[1] < 0.6
    with pytest.raises(ValueError, match='text 1 is empty'):
        binder.embed_text(['a cat', '  '])
