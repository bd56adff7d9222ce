"""Every layout that releases and training write, and every way in which one can be wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from encoders import Binder, ModelSetError, SpaceError
from encoders.languagebind.checkpoint import plain_name, read_checkpoint
from encoders.languagebind.configuration import read_config
from encoders.model_sets.golden import golden_input
from encoders.model_sets.released import load_released
from encoders.text.clip import _tokenizer
from train.training.languagebind import merged

MODALITIES = ('image', 'depth', 'audio', 'video')
Tensors = dict[str, Tensor]


def tensors_of(folder: Path) -> Tensors:
    return dict(torch.load(folder / 'pytorch_model.bin', weights_only=True))


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / 'config.json').read_text())
    return found


def write(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.json').write_text(json.dumps(config))
    if tensors is not None:
        torch.save(dict(tensors), folder / 'pytorch_model.bin')
    return folder


def old_peft(folder: Path, tensors: Tensors) -> None:
    torch.save(tensors, folder / 'pytorch_model.bin')


def new_peft(folder: Path, tensors: Tensors) -> None:
    """The base weight of an adapted layer lies one level deeper since peft 0.7."""
    adapted = {k.partition('.lora_A')[0] for k in tensors if '.lora_A' in k}
    renamed = {}
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition('.')
        renamed[f'{stem}.base_layer.{kind}' if stem in adapted else name] = tensor
    torch.save(renamed, folder / 'pytorch_model.bin')


def without_peft(folder: Path, tensors: Tensors) -> None:
    plain = {plain_name(name): tensor for name, tensor in tensors.items()}
    torch.save(merged(plain, alpha=16.0), folder / 'pytorch_model.bin')


def safetensors(folder: Path, tensors: Tensors) -> None:
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / 'model.safetensors')


def parts(folder: Path, tensors: Tensors) -> None:
    names = sorted(tensors)
    halves = {'a.safetensors': names[::2], 'b.safetensors': names[1::2]}
    for file, chosen in halves.items():
        save_file({k: tensors[k].contiguous() for k in chosen}, folder / file)
    places = {name: file for file, chosen in halves.items() for name in chosen}
    index = folder / 'model.safetensors.index.json'
    index.write_text(json.dumps({'metadata': {}, 'weight_map': places}))


def distributed(folder: Path, tensors: Tensors) -> None:
    torch.save({f'module.{k}': v for k, v in tensors.items()}, folder / 'pytorch_model.bin')


def training(folder: Path, tensors: Tensors) -> None:
    state = {f'module.{k}': v for k, v in tensors.items()}
    optimizer = {'state': {0: {'step': torch.tensor(3.0)}}, 'param_groups': [{'lr': 1e-4}]}
    saved = {'epoch': 1, 'name': 'a run', 'state_dict': state, 'optimizer': optimizer}
    torch.save({**saved, 'scaler': {'scale': 65536.0}}, folder / 'epoch_1.pt')


def without_buffers(folder: Path, tensors: Tensors) -> None:
    kept = {k: v for k, v in tensors.items() if not k.endswith('position_ids')}
    torch.save(kept, folder / 'pytorch_model.bin')


def before_zip(folder: Path, tensors: Tensors) -> None:
    torch.save(tensors, folder / 'pytorch_model.bin', _use_new_zipfile_serialization=False)


LAYOUTS = (
    old_peft, new_peft, without_peft, safetensors, parts, distributed, training, without_buffers,
    before_zip,
)  # fmt: skip


@pytest.mark.parametrize('layout', LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize('name', MODALITIES)
def test_every_layout_is_the_same_model(
    name: str, layout: Callable[[Path, Tensors], None], oracle_folder: Path, tmp_path: Path
) -> None:
    folder = write(tmp_path / name, config_of(oracle_folder / name))
    layout(folder, tensors_of(oracle_folder / name))
    before = Binder.load({name: oracle_folder / name})
    after = Binder.load({name: folder})
    assert after.space == before.space
    raw = golden_input(name)
    np.testing.assert_allclose(after.embed(**{name: raw})[name], before.embed(**{name: raw})[name],
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize('size', [[224, 224], (224, 224), 224])
def test_image_size_may_be_a_list(size: Any, oracle_folder: Path, tmp_path: Path) -> None:
    config = config_of(oracle_folder / 'depth')
    config['vision_config']['image_size'] = size
    folder = write(tmp_path, config, tensors_of(oracle_folder / 'depth'))
    assert read_config(folder).vision.image_size == (224, 224)
    Binder.load({'depth': folder})


def test_a_spectrogram_sized_list_is_saved_by_the_reference(
    oracle_folder: Path, tmp_path: Path
) -> None:
    config = config_of(oracle_folder / 'audio')
    config['vision_config']['image_size'] = [112, 1036]
    folder = write(tmp_path, config, tensors_of(oracle_folder / 'audio'))
    assert Binder.load({'audio': folder}).preprocess('audio', golden_input('audio')).shape == (
        1, 3, 112, 1036,
    )  # fmt: skip


def test_a_file_of_weights_can_be_named_itself(oracle_folder: Path) -> None:
    assert Binder.load({'depth': oracle_folder / 'depth' / 'pytorch_model.bin'}).modalities == (
        'depth',
    )


NAMES = (
    'vision_model.encoder.base_model.model.layers.0.self_attn.q_proj.lora_A.default.weight',
    'vision_model.encoder.base_model.model.layers.1.mlp.fc1.weight',
    'vision_model.embeddings.position_embedding.weight',
    'vision_model.pre_layrnorm.bias',
    'visual_projection.weight',
    'text_model.encoder.layers.1.self_attn.k_proj.bias',
    'text_projection.weight',
    'logit_scale',
)


@pytest.mark.parametrize('name', NAMES)
def test_a_missing_tensor_is_named(name: str, oracle_folder: Path, tmp_path: Path) -> None:
    tensors = tensors_of(oracle_folder / 'depth')
    tensors.pop(name)
    folder = write(tmp_path, config_of(oracle_folder / 'depth'), tensors)
    with pytest.raises(ModelSetError, match=f'missing tensor {re.escape(name)}$'):
        Binder.load({'depth': folder})


@pytest.mark.parametrize('name', NAMES)
def test_a_misshapen_tensor_is_named(name: str, oracle_folder: Path, tmp_path: Path) -> None:
    tensors = tensors_of(oracle_folder / 'depth')
    tensors[name] = torch.zeros(3, 3)
    folder = write(tmp_path, config_of(oracle_folder / 'depth'), tensors)
    with pytest.raises(ModelSetError, match=rf'{re.escape(name)} has shape \[3, 3\], expected'):
        Binder.load({'depth': folder})


@pytest.mark.parametrize(
    ('name', 'file'),
    [
        ('depth', 'vision_model.encoder.base_model.model.layers.2.layer_norm1.weight'),
        ('image', 'vision_model.encoder.layers.0.temporal_attn.q_proj.weight'),
        ('image', 'an.extra.tensor'),
        ('video', 'vision_model.encoder.layers.0.self_attn.q_proj.lora_A.default.weight'),
    ],
)
def test_an_unexpected_tensor_is_named(
    name: str, file: str, oracle_folder: Path, tmp_path: Path
) -> None:
    tensors = {**tensors_of(oracle_folder / name), file: torch.zeros(16, 64)}
    folder = write(tmp_path, config_of(oracle_folder / name), tensors)
    with pytest.raises(ModelSetError, match=f'unexpected tensor {re.escape(file)}'):
        Binder.load({name: folder})


def test_two_names_for_one_tensor(oracle_folder: Path, tmp_path: Path) -> None:
    tensors = tensors_of(oracle_folder / 'image')
    name = 'vision_model.encoder.layers.0.mlp.fc1.weight'
    tensors[name.replace('encoder.', 'encoder.base_model.model.')] = tensors[name]
    folder = write(tmp_path, config_of(oracle_folder / 'image'), tensors)
    with pytest.raises(ModelSetError, match='are the same tensor'):
        read_checkpoint(folder)


def test_code_in_a_file_is_not_run(tmp_path: Path, oracle_folder: Path) -> None:
    folder = write(tmp_path, config_of(oracle_folder / 'image'))
    torch.save({'model': Path('/')}, folder / 'pytorch_model.bin')
    with pytest.raises(ModelSetError, match=r'pytorch_model\.bin: holds a Python object'):
        Binder.load({'image': folder})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda c: c.pop('projection_dim'),
            r'projection.weight has shape \[32, 64\], expected \[512',
        ),
        (lambda c: c.pop('vision_config'), "no key 'vision_config'"),
        (lambda c: c['vision_config'].update(hidden_act='relu'), "hidden_act must be .*'relu'"),
        (lambda c: c['vision_config'].update(num_attention_heads=5), 'divisible by 5 heads'),
        (lambda c: c['vision_config'].update(clip_type='vl_new', tube_size=2), 'tube_size 2'),
        (
            lambda c: c.update(model_type='LanguageBindAudio'),
            'checkpoint for audio, not for depth',
        ),
    ],
)
def test_a_wrong_configuration_is_named(
    change: Callable[[dict[str, Any]], object],
    message: str,
    oracle_folder: Path,
    tmp_path: Path,
) -> None:
    config = config_of(oracle_folder / 'depth')
    change(config)
    folder = write(tmp_path, config, tensors_of(oracle_folder / 'depth'))
    with pytest.raises(ModelSetError, match=message):
        Binder.load({'depth': folder})


def test_folders_without_a_checkpoint_are_named(tmp_path: Path, oracle_folder: Path) -> None:
    with pytest.raises(ModelSetError, match='there is no such checkpoint'):
        Binder.load({'depth': tmp_path / 'nowhere'})
    with pytest.raises(ModelSetError, match=r'config\.json'):
        Binder.load({'depth': tmp_path})
    write(tmp_path, config_of(oracle_folder / 'depth'))
    with pytest.raises(ModelSetError, match=r'holds no model\.safetensors'):
        Binder.load({'depth': tmp_path})
    with pytest.raises(ModelSetError, match='no checkpoints'):
        Binder.load({})
    (tmp_path / 'vocab.json').write_text('{"hello": 0}')
    with pytest.raises(ModelSetError, match="not in both this and CLIP's"):
        Binder.load({'depth': tmp_path})


def test_the_vocabulary_is_checked(oracle_folder: Path, tmp_path: Path) -> None:
    folder = write(
        tmp_path, config_of(oracle_folder / 'image'), tensors_of(oracle_folder / 'image')
    )
    known = dict(_tokenizer().encoder)
    assert (known['<|startoftext|>'], known['<|endoftext|>'], len(known)) == (49406, 49407, 49408)
    (tmp_path / 'vocab.json').write_text(json.dumps(known))
    Binder.load({'image': folder})
    (tmp_path / 'vocab.json').write_text(json.dumps({**known, 'cat</w>': 7}))
    with pytest.raises(ModelSetError, match=r"vocab\.json: token 'cat</w>' is 7, not 2368"):
        Binder.load({'image': folder})


def test_another_space_is_refused(oracle_folder: Path, tmp_path: Path) -> None:
    tensors = tensors_of(oracle_folder / 'depth')
    tensors['text_projection.weight'] = tensors['text_projection.weight'] + 1e-6
    folder = write(tmp_path, config_of(oracle_folder / 'depth'), tensors)
    with pytest.raises(SpaceError, match=r'depth .*clip-text:.*image in clip-text:'):
        Binder.load({'image': with_text_of(oracle_folder, 'image', tmp_path), 'depth': folder})


def with_text_of(oracle_folder: Path, name: str, tmp_path: Path) -> Path:
    """A checkpoint with the text tower of the depth one, as all released Large ones have it."""
    text = {k: v for k, v in tensors_of(oracle_folder / 'depth').items() if k.startswith('text')}
    tensors = {**tensors_of(oracle_folder / name), **text}
    return write(tmp_path / f'{name}_same_space', config_of(oracle_folder / name), tensors)


def family(oracle_folder: Path, tmp_path: Path) -> dict[str, Path]:
    """Image, depth and infrared as released: one base, and what training changes."""
    depth = tensors_of(oracle_folder / 'depth')
    own = {k: v for k, v in depth.items() if 'lora' not in k}
    base = {k.replace('.base_model.model.', '.'): v for k, v in own.items()}
    image, infrared = dict(base), dict(depth)
    for changed, seed in ((image, 1), (infrared, 2)):
        generator = torch.Generator().manual_seed(seed)
        for name in changed:
            trained = ('class_embedding', 'post_layernorm', 'visual_projection', 'lora', 'scale')
            if any(part in name for part in trained):
                changed[name] = torch.randn(changed[name].shape, generator=generator)
    configs = {name: config_of(oracle_folder / name) for name in ('image', 'depth')}
    configs['infrared'] = {**configs['depth'], 'model_type': 'LanguageBindThermal'}
    return {
        name: write(tmp_path / name, configs[name], found)
        for name, found in (('image', image), ('depth', depth), ('infrared', infrared))
    }


def test_equal_tensors_are_held_once(oracle_folder: Path, tmp_path: Path) -> None:
    folders = family(oracle_folder, tmp_path)
    found = load_released(folders)
    towers: dict[str, Any] = {name: encoder.tower for name, encoder in found.encoders.items()}
    for layer in range(2):
        weights = {
            tower.encoder.layers[layer].self_attn.q_proj.weight.data_ptr()
            for tower in towers.values()
        }
        assert len(weights) == 1
    assert len({tower.visual_projection.weight.data_ptr() for tower in towers.values()}) == 3
    apart = [load_released({name: folder}) for name, folder in folders.items()]
    assert found.held_bytes + found.saved_bytes == sum(one.held_bytes for one in apart)
    assert found.saved_bytes > 0.5 * found.held_bytes
    for one in apart:
        ((name, encoder),) = one.encoders.items()
        inputs = encoder.preprocess(golden_input(name))[0][None]
        torch.testing.assert_close(
            found.encoders[name].encode(inputs), encoder.encode(inputs), atol=0, rtol=0
        )


def test_reduced_precision_and_choice(oracle_folder: Path, tmp_path: Path) -> None:
    folders = family(oracle_folder, tmp_path)
    full = Binder.load(folders)
    half = Binder.load(folders, dtype=torch.bfloat16, modalities=['depth'])
    assert half.modalities == ('depth',)
    raw = golden_input('depth')
    one, other = full.embed(depth=raw)['depth'], half.embed(depth=raw)['depth']
    assert other.dtype == np.float32
    assert float((one @ other.T).item()) > 0.99
    with pytest.raises(KeyError, match="no encoder for 'audio'"):
        Binder.load(folders, modalities=['audio'])


def as_per_frame(oracle_folder: Path, tmp_path: Path, *, shift: float) -> Path:
    """The video checkpoint in V1.5's form; with `shift`, frame t's class token is moved by it."""
    config = config_of(oracle_folder / 'video')
    config['vision_config'].update(clip_type='vl_new', tube_size=1)
    tensors = tensors_of(oracle_folder / 'video')
    patches, start = (f'vision_model.embeddings.{n}' for n in (
        'patch_embedding.weight', 'class_embedding',
    ))  # fmt: skip
    tensors[patches] = tensors[patches].unsqueeze(2)
    tensors[start] = tensors[start] + shift * torch.arange(8.0)[:, None] * torch.linspace(
        -1, 1, 64
    )
    return write(tmp_path / f'v15_{shift}', config, tensors)


def test_the_embedding_of_version_1_5(oracle_folder: Path, tmp_path: Path) -> None:
    raw = golden_input('video')
    plain = Binder.load({'video': oracle_folder / 'video'}).embed(video=raw)['video']
    same = Binder.load({'video': as_per_frame(oracle_folder, tmp_path, shift=0.0)})
    np.testing.assert_allclose(same.embed(video=raw)['video'], plain, atol=1e-5)
    folder = as_per_frame(oracle_folder, tmp_path, shift=0.5)
    tower: Any = load_released({'video': folder}).encoders['video'].tower
    seen: list[Tensor] = []
    tower.pre_layrnorm.register_forward_hook(lambda m, i, o: seen.append(i[0]))
    moved = Binder.load({'video': folder}).embed(video=raw)['video']
    assert np.abs(moved - plain).max() > 1e-3
    tower(torch.zeros(2, 3, 8, 224, 224))
    starts = seen[0].view(2, 8, 257, -1)[:, :, 0]
    step = 0.5 * torch.linspace(-1, 1, 64)
    torch.testing.assert_close(starts.diff(dim=1), step.expand(2, 7, 64))
