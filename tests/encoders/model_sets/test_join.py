"""One set of the encoders of several."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import Binder, Evidence, ModelSetError, SpaceError
from encoders.model_sets.files import ModelSet, load_model_set, save_model_set, verify
from encoders.model_sets.golden import golden_input
from encoders.model_sets.join import join, lost_readouts
from encoders.model_sets.manifest import Manifest
from encoders.model_sets.places import MANIFEST, find_set
from encoders.model_sets.readouts import describe_readouts
from tests.readouts import copy_with_readouts


def part(folder: Path, *modalities: str, moved: float = 0.0, licence: str = 'Apache-2.0') -> Path:
    """Some encoders of lb-mini; `moved` changes their projection."""
    whole = load_model_set(find_set('lb-mini'))
    specs = {m: whole.manifest.modalities[m] for m in modalities}
    towers = {m: whole.towers[m] for m in modalities}
    with torch.no_grad():
        for tower in towers.values():
            tower.visual_projection.weight += moved
    manifest = Manifest(folder.name, whole.manifest.space, whole.manifest.text, specs, licence)
    save_model_set(folder, ModelSet(replace(manifest, provenance={'of': folder.name}), towers))
    return folder


def test_a_joined_set_has_the_encoders_of_its_parts(tmp_path: Path) -> None:
    one = part(tmp_path / 'one', 'image', 'depth')
    other = part(tmp_path / 'other', 'depth', 'infrared', moved=0.1)
    joined = join([one, other], tmp_path / 'joined', name='all')
    assert tuple(joined.modalities) == ('image', 'depth', 'infrared')
    assert joined.provenance['joined'] == [
        {'name': 'one', 'modalities': ['image'], 'provenance': {'of': 'one'}},
        {'name': 'other', 'modalities': ['depth', 'infrared'], 'provenance': {'of': 'other'}},
    ]
    verify(tmp_path / 'joined')
    binder = Binder.load(tmp_path / 'joined')
    assert binder.model == 'all' and binder.calibration is None
    for name, folder in (('image', one), ('depth', other), ('infrared', other)):
        sample = {name: golden_input(name)}
        expected = Binder.load(folder).embed(**sample)[name]
        np.testing.assert_allclose(binder.embed(**sample)[name], expected, atol=1e-6)


def test_shared_tensors_are_stored_once(tmp_path: Path) -> None:
    one, other = part(tmp_path / 'one', 'image'), part(tmp_path / 'other', 'infrared')
    join([one, other], tmp_path / 'joined', name='both')
    sizes = {
        name: (tmp_path / name / 'weights.safetensors').stat().st_size
        for name in ('one', 'other', 'joined')
    }
    assert sizes['joined'] < 0.75 * (sizes['one'] + sizes['other'])


def test_a_joined_set_has_the_permissions_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / 'set'
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    part(folder, 'infrared')
    assert {f.stat().st_mode & 0o777 for f in folder.iterdir()} == {0o644}


def test_sets_of_other_licences_or_spaces_are_not_joined(tmp_path: Path) -> None:
    one = part(tmp_path / 'one', 'image')
    with pytest.raises(ModelSetError, match='write to another folder'):
        join([one, part(tmp_path / 'other', 'depth')], one, name='x')
    assert Binder.load(one).modalities == ('image',)
    with pytest.raises(ModelSetError, match='under MIT'):
        join([one, part(tmp_path / 'free', 'depth', licence='MIT')], tmp_path / 'j', name='x')
    strange = part(tmp_path / 'strange', 'depth')
    manifest = json.loads((strange / MANIFEST).read_text())
    (strange / MANIFEST).write_text(json.dumps(manifest | {'space': 'another:1'}))
    with pytest.raises(SpaceError, match='another:1'):
        join([one, strange], tmp_path / 'j', name='x')
    assert not (tmp_path / 'j').exists()


def test_a_readout_comes_with_the_encoder_on_which_it_was_trained(tmp_path: Path) -> None:
    one = copy_with_readouts(
        part(tmp_path / 'plain', 'image', 'depth'), tmp_path / 'one', modalities=['image', 'depth']
    )
    other = copy_with_readouts(
        part(tmp_path / 'moved', 'depth', 'infrared', moved=0.1),
        tmp_path / 'other',
        modalities=['infrared'],
    )
    out = tmp_path / 'joined'
    join([one, other], out, name='all')
    binder = Binder.load(out)
    assert set(binder.readouts) == {'image', 'infrared'}
    assert lost_readouts([one, other], out) == ['depth']
    for name, folder in (('image', one), ('infrared', other)):
        sample = {name: golden_input(name)}
        found, expected = (b.observe(**sample)[name] for b in (binder, Binder.load(folder)))
        assert isinstance(found, Evidence) and isinstance(expected, Evidence)
        assert found.tokens is not None and expected.tokens is not None
        np.testing.assert_allclose(found.tokens, expected.tokens, atol=1e-3)
    described = describe_readouts(out)
    assert described is not None
    assert [each['modalities'] for each in described.provenance['joined']] == [
        ['image'],
        ['infrared'],
    ]
    verify(out)
    # A set that is written again has other weights, so that the file is removed.
    join([part(tmp_path / 'last', 'image')], out, name='last', overwrite=True)
    assert Binder.load(out).readouts == {}
