"""The file of readouts of a model set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from encoders import ModelSetError, SpaceError
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.readouts import (
    FILE,
    KEY,
    config_for,
    describe_readouts,
    load_readouts,
    save_readouts,
)
from tests.readouts import copy_with_readouts, random_readout


@pytest.fixture(scope='module')
def with_readouts(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp('readouts') / 'set'
    return copy_with_readouts(tiny_model_set, target, modalities=['depth', 'image'])


@pytest.fixture
def own(with_readouts: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(with_readouts, tmp_path / 'own'))


def rewrite(folder: Path, **changes: Any) -> None:
    """Change the metadata of the file of readouts."""
    with safe_open(folder / FILE, 'pt') as file:
        values = json.loads(file.metadata()[KEY])
    tensors = load_file(folder / FILE)
    save_file(tensors, folder / FILE, metadata={KEY: json.dumps(values | changes)})


def test_what_is_loaded_is_what_was_saved_as_float16(with_readouts: Path) -> None:
    stored = read_manifest(with_readouts)
    described = describe_readouts(with_readouts)
    assert described is not None
    assert described.weights_sha256 == stored.sha256
    assert described.space == stored.manifest.space
    assert described.provenance == {'recipe': 'random'}
    found = load_readouts(with_readouts)
    assert list(found) == ['depth', 'image']
    vision = stored.manifest.modalities['depth'].vision
    saved = random_readout(config_for(vision, width=16, heads=2, text_hidden=32))
    for name, tensor in found['depth'].state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, saved.state_dict()[name].half().float())
    assert not found['depth'].training


def test_a_set_without_readouts_has_none(tiny_model_set: Path) -> None:
    assert load_readouts(tiny_model_set) == {}
    assert describe_readouts(tiny_model_set) is None


def test_only_the_wanted_modalities_are_loaded(with_readouts: Path) -> None:
    assert list(load_readouts(with_readouts, modalities=['image', 'audio'])) == ['image']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'weights_sha256': 'f' * 64}, r'trained on other weights \(ffffffffffff\).*train it'),
        ({'format': 7}, 'format 7, expected 1'),
        ({'modalities': {'touch': {'token_width': 8, 'tokens': 5}}}, 'a readout of touch, but'),
        ({'modalities': {'depth': {'token_width': 8, 'tokens': 5}}}, 'token_width 8, its tower'),
        ({'modalities': {'depth': {'rings': 3}}}, 'rings'),
        ({'modalities': ['depth']}, 'items'),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    own: Path, changes: dict[str, Any], message: str
) -> None:
    rewrite(own, **changes)
    with pytest.raises(ModelSetError, match=message) as caught:
        load_readouts(own)
    assert str(own / FILE) in str(caught.value)
    assert 'delete the file' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_readouts_of_another_language_space_are_refused(own: Path) -> None:
    rewrite(own, space='another')
    with pytest.raises(SpaceError, match='is of another, the set of'):
        load_readouts(own)


def test_a_damaged_file_is_refused(own: Path) -> None:
    # Copies, because the file under the mapped tensors is about to be cut.
    tensors = {name: tensor.clone() for name, tensor in load_file(own / FILE).items()}
    whole = (own / FILE).read_bytes()
    with safe_open(own / FILE, 'pt') as file:
        metadata = file.metadata()
    (own / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelSetError, match=FILE):
        load_readouts(own)
    turned = tensors['depth/norm.bias'].clone()
    turned[0] += 1
    for name, damaged, message in (
        ('depth/norm.bias', turned, 'differ from their sha256'),
        ('depth/log_scale', torch.tensor(float('nan')).half(), 'not finite'),
        ('depth/norm.weight', torch.zeros(3).half(), r'shape \[3\], expected \[16\]'),
    ):
        save_file(tensors | {name: damaged}, own / FILE, metadata=metadata)
        with pytest.raises(ModelSetError, match=message):
            load_readouts(own)
    fewer = {name: tensor for name, tensor in tensors.items() if name != 'depth/norm.weight'}
    save_file(fewer, own / FILE, metadata=metadata)
    with pytest.raises(ModelSetError, match=r'depth/norm\.weight'):
        load_readouts(own)
    save_file(tensors, own / FILE)
    with pytest.raises(ModelSetError, match='its metadata has no'):
        load_readouts(own)


def test_a_readout_that_does_not_fit_is_not_saved(own: Path) -> None:
    vision = read_manifest(own).manifest.modalities['audio'].vision
    before = (own / FILE).read_bytes()
    other = random_readout(config_for(vision, width=16, heads=2))
    with pytest.raises(ModelSetError, match='the readout of depth has tokens'):
        save_readouts(own, {'depth': other}, provenance={})
    huge = random_readout(config_for(vision, width=16, heads=2))
    with torch.no_grad():
        huge.reducer.positions[0, 0] = 1e6
    with pytest.raises(ModelSetError, match='not finite'):
        save_readouts(own, {'audio': huge}, provenance={})
    assert (own / FILE).read_bytes() == before
