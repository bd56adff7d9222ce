"""One step of LanguageBind's training against the reference implementation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import Binder
from encoders.languagebind.released import read_released
from encoders.model_sets.golden import golden_input
from encoders.model_sets.released import load_released
from train.training.languagebind import (
    Lora,
    optimizer,
    parameter_groups,
    released_parameters,
    released_tensors,
    trainable_tower,
    training_step,
)

ORACLE = Path(__file__).resolve().parents[2] / 'data' / 'oracle'


def batch() -> tuple[dict[str, np.ndarray], torch.Tensor, torch.Tensor]:
    with np.load(ORACLE / 'depth' / 'train_step.npz') as stored:
        wanted = {k.removeprefix('train/'): stored[k] for k in stored.files}
    small = wanted['input_small_f16'].astype(np.float32)
    inputs = torch.from_numpy(small.repeat(7, -1).repeat(7, -2))
    text = load_released({'depth': ORACLE / 'depth'}).text
    vectors = text.embed_tokens(torch.from_numpy(wanted['input_ids']))
    return wanted, inputs, torch.from_numpy(vectors)


def test_loss_gradients_and_values_after_one_step() -> None:
    torch.set_num_threads(1)
    wanted, inputs, texts = batch()
    np.testing.assert_allclose(texts, wanted['text_embeds'], atol=1e-5)
    tower = trainable_tower(read_released(ORACLE / 'depth'), lora=Lora(rank=2))
    kept = torch.from_numpy(wanted['patch_keep_indices'].astype(np.int64))
    with torch.no_grad():
        np.testing.assert_allclose(tower(inputs, kept=kept), wanted['image_embeds'], atol=1e-5)
    updates = optimizer(tower, learning_rate=1e-2)
    generator = torch.Generator().manual_seed(0)
    loss = training_step(tower, updates, inputs, texts, generator=generator)
    assert loss == pytest.approx(float(wanted['loss']), rel=1e-6)
    learning = released_parameters(tower)
    names = {k.removeprefix('grad/') for k in wanted if k.startswith('grad/')}
    assert set(learning) == names
    assert sum(p.numel() for p in learning.values()) == 4289
    for name, parameter in learning.items():
        assert parameter.grad is not None
        gradient, after = wanted[f'grad/{name}'], wanted[f'after/{name}']
        largest = np.abs(gradient).max()
        np.testing.assert_allclose(
            parameter.grad, gradient, atol=1e-5 * largest, rtol=0, err_msg=name
        )
        # Adam divides a gradient by itself, so that tiny ones feel rounding.
        settled = np.abs(gradient) > 1e-2 * largest
        found = parameter.detach().numpy()
        np.testing.assert_allclose(found[settled], after[settled], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ('name', 'lora', 'part'),
    [
        ('audio', Lora(8), 'self_attn.q_proj.lora_A'),
        ('video', Lora(16), 'temporal_attn.v_proj.lora_B'),
        ('video', Lora(16), 'temporal_embedding'),
        ('image', None, 'self_attn.out_proj.weight'),
    ],
)
def test_what_learns(name: str, lora: Lora | None, part: str) -> None:
    tower = trainable_tower(read_released(ORACLE / name), lora=lora)
    learning = released_parameters(tower)
    assert any(part in found for found in learning)
    fixed = ('mlp', 'text', 'patch_embedding', 'position', 'pre_layrnorm', '.layer_norm')
    assert not [n for n in learning if any(f in n for f in fixed)]
    if lora is not None:
        assert not [n for n in learning if n.endswith('_proj.weight') and 'lora' not in n]
    decayed, plain = parameter_groups(tower)
    assert all(p.ndim >= 2 for p in decayed['params'])
    assert tower.embeddings.class_embedding in set(plain['params'])


def test_what_does_not_learn_is_not_copied() -> None:
    found = read_released(ORACLE / 'depth')
    tower = trainable_tower(found, lora=Lora(rank=2))
    start = {found.vision[k].data_ptr() for k in found.vision}
    for name, parameter in tower.named_parameters():
        assert (parameter.data_ptr() in start) != parameter.requires_grad, name


def test_low_rank_updates_must_go_on_or_be_merged() -> None:
    with pytest.raises(ValueError, match='rank 2; merge them first'):
        trainable_tower(read_released(ORACLE / 'depth'), lora=Lora(rank=4))


def test_a_trained_tower_is_saved_in_the_released_layout(tmp_path: Path) -> None:
    found = read_released(ORACLE / 'image')
    tower = trainable_tower(found, lora=Lora(rank=2))
    torch.manual_seed(0)
    inputs = Binder.load({'image': ORACLE / 'image'}).preprocess('image', golden_input('image'))
    updates, texts = optimizer(tower, learning_rate=1e-2), torch.eye(32)[:2]
    losses = [
        training_step(tower, updates, torch.cat([inputs, inputs.flip(-1)]), texts)
        for _ in range(3)
    ]
    assert losses[-1] < losses[0]
    shutil.copytree(ORACLE / 'image', tmp_path / 'trained')
    torch.save(released_tensors(tower, found.text), tmp_path / 'trained' / 'pytorch_model.bin')
    config = json.loads((tmp_path / 'trained' / 'config.json').read_text())
    assert config['vision_config']['lora_r'] == 0  # the tensors decide
    binder = Binder.load({'image': tmp_path / 'trained'})
    with torch.no_grad():
        expected = tower.eval()(inputs)
    np.testing.assert_allclose(binder.encode({'image': inputs})['image'], expected, atol=1e-5)
