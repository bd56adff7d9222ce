"""Layouts of checkpoints that people have: each is read, or refused in one line with a remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from encoders import Binder, ModelSetError
from encoders.languagebind.configuration import TEXT_DEFAULTS, VISION_DEFAULTS
from encoders.languagebind.released import read_released
from encoders.model_sets.convert import convert
from encoders.model_sets.places import MANIFEST, find_set
from encoders.model_sets.sources import is_released
from train.training.checkpoint import CheckpointError, load_checkpoint

SOURCE = Path(__file__).resolve().parents[1] / 'data' / 'oracle' / 'depth'
STATE: dict[str, Tensor] = torch.load(SOURCE / 'pytorch_model.bin', weights_only=True)
NAME = 'visual_projection.weight'
POINTER = f'version https://git-lfs.github.com/spec/v1\noid sha256:{"0" * 64}\nsize 636199\n'


def config() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SOURCE / 'config.json').read_text())
    return found


def checkpoint(folder: Path, stored: object = STATE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.json').write_text(json.dumps(config()))
    torch.save(stored, folder / 'pytorch_model.bin')
    return folder


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in STATE.items()}


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert '\n' not in text
    assert 'weights_only' not in text
    assert '\x1b' not in text
    return text


@pytest.mark.parametrize(
    'stored',
    [
        prefixed('_orig_mod.'),
        prefixed('module._orig_mod.'),
        prefixed('_orig_mod.module.'),
        prefixed('module.module.'),
        prefixed('model.'),
        prefixed('module.model.'),
        prefixed('base_model.model.'),
        prefixed('_forward_module._fsdp_wrapped_module.'),
        {name.replace('.encoder.', '._orig_mod.encoder.'): t for name, t in STATE.items()},
        {'model': STATE, 'epoch': 3},
        {'state_dict': prefixed('model.'), 'global_step': 4, 'hyper_parameters': {}},
        {'model': {'state_dict': STATE}, 'optimizer': {'state': {}}},
        {'model_state_dict': prefixed('module.')},
    ],
    ids=lambda stored: next(iter(stored)),
)
def test_wrappers_of_training_are_taken_off(stored: dict[str, Any], tmp_path: Path) -> None:
    found = read_released(checkpoint(tmp_path, stored))
    torch.testing.assert_close(found.vision[NAME], STATE[NAME])


def test_a_folder_of_the_hubs_cache(tmp_path: Path) -> None:
    root = tmp_path / 'models--LanguageBind--Depth'
    checkpoint(root / 'snapshots' / 'abc')
    assert is_released(root)
    assert read_released(root).path.parent.name == 'abc'
    assert Binder.load(str(root)).modalities == ('depth',)
    checkpoint(root / 'snapshots' / 'def')
    with pytest.raises(ModelSetError, match='name one of its snapshots: abc, def'):
        read_released(root)
    (root / 'refs').mkdir()
    (root / 'refs' / 'main').write_text('def')
    assert read_released(root).path.parent.name == 'def'


def test_a_converted_set_in_the_hubs_cache(tmp_path: Path) -> None:
    inside = tmp_path / 'models--me--mine' / 'snapshots' / 'abc'
    convert({'depth': SOURCE}, inside, name='mine')
    assert find_set(tmp_path / 'models--me--mine') == inside


@pytest.mark.parametrize('file', ['pytorch_model.bin', 'config.json', 'model.safetensors'])
def test_a_pointer_of_git_lfs_is_named(file: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / file).write_text(POINTER)
    with pytest.raises(ModelSetError, match=rf'{re.escape(file)}: is a git-lfs pointer') as error:
        read_released(folder)
    assert 'git lfs pull' in one_line(error)


def test_a_pointer_in_a_converted_set_is_named(tmp_path: Path) -> None:
    convert({'depth': SOURCE}, tmp_path / 'set', name='mine')
    (tmp_path / 'set' / 'weights.safetensors').write_text(POINTER)
    with pytest.raises(ModelSetError, match=r'weights\.safetensors: is a git-lfs pointer'):
        Binder.load(tmp_path / 'set')


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / 'one')
    (folder / 'config.json').write_text(json.dumps(config()), encoding='utf-8-sig')
    out = convert({'depth': folder}, tmp_path / 'set', name='mine')
    described = (out / MANIFEST).read_text()
    (out / MANIFEST).write_text(described, encoding='utf-8-sig')
    assert Binder.load(out).modalities == ('depth',)


def test_a_lean_configuration_means_the_defaults(tmp_path: Path) -> None:
    """Newer libraries leave out what equals the default of CLIP's configurations."""
    whole = read_released(SOURCE).config
    folder, lean, left_out = checkpoint(tmp_path), config(), 0
    for part, defaults in (('text_config', TEXT_DEFAULTS), ('vision_config', VISION_DEFAULTS)):
        for key, value in defaults.items():
            if lean[part].get(key) == value:
                del lean[part][key]
                left_out += 1
    assert left_out >= 4
    (folder / 'config.json').write_text(json.dumps(lean))
    found = read_released(folder).config
    assert (found.vision, found.text) == (whole.vision, whole.text)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_values_that_are_not_finite_are_refused_by_name(value: float, tmp_path: Path) -> None:
    bad = STATE | {NAME: STATE[NAME].clone()}
    bad[NAME][1, 2] = value
    with pytest.raises(ModelSetError, match=f'tensor {NAME} has 1 of .* not finite') as error:
        convert({'depth': checkpoint(tmp_path, bad)}, tmp_path / 'set', name='mine')
    one_line(error)
    assert not (tmp_path / 'set').exists()


def test_a_set_with_values_that_are_not_finite_is_not_loaded(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from encoders.model_sets.manifest import sha256_of

    out = convert({'depth': SOURCE}, tmp_path / 'set', name='mine')
    weights = out / 'weights.safetensors'
    tensors, before = load_file(weights), sha256_of(weights)
    tensors[f'depth/{NAME}'][0, 0] = float('nan')
    save_file(tensors, weights)
    described = (out / MANIFEST).read_text().replace(before, sha256_of(weights))
    (out / MANIFEST).write_text(described)
    with pytest.raises(ModelSetError, match=f'tensor depth/{NAME} has 1 of'):
        Binder.load(out)


def _truncated(path: Path) -> None:
    path.write_bytes((SOURCE / 'pytorch_model.bin').read_bytes()[:5000])


def _page(path: Path) -> None:
    path.write_text('<!DOCTYPE html><html>404</html>')


def _module(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path)


@pytest.mark.parametrize(
    'damage', [_truncated, _page, _module, lambda path: path.write_bytes(b'')]
)
def test_a_damaged_file_is_one_line_without_unsafe_advice(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path)
    damage(folder / 'pytorch_model.bin')
    with pytest.raises(ModelSetError, match=r'pytorch_model\.bin') as error:
        read_released(folder)
    one_line(error)
    damage(tmp_path / 'checkpoint.pt')
    with pytest.raises(CheckpointError, match=r'checkpoint\.pt') as other:
        load_checkpoint(tmp_path / 'checkpoint.pt', recipe={}, data={})
    one_line(other)
