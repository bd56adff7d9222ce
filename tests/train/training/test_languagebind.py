"""What learns of a LanguageBind tower, and its released layout."""

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
from encoders.vision.vit import VisionTower
from train.training.batch import PairBatch
from train.training.cached import backpropagate
from train.training.languagebind import (
    Lora,
    released_tensors,
    trainable_tower,
)
from train.training.ranks import Ranks
from train.training.tower import open_towers, parameter_groups

ORACLE = Path(__file__).resolve().parents[3] / 'tests' / 'data' / 'oracle'


def start(name: str, lora: Lora | None) -> VisionTower:
    found = read_released(ORACLE / name)
    return trainable_tower(found.config.vision, found.vision, lora=lora, where=name)


@pytest.mark.parametrize(
    ('name', 'lora', 'part'),
    [
        ('audio', Lora(8), 'self_attn.q_proj.lora_A'),
        ('video', Lora(16), 'temporal_attn.v_proj.lora_B'),
        ('video', Lora(16), 'temporal_embedding'),
        ('image', None, 'self_attn.out_proj.weight'),
    ],
)
def test_the_right_parameters_learn(name: str, lora: Lora | None, part: str) -> None:
    tower = start(name, lora)
    learning = {n for n, p in tower.named_parameters() if p.requires_grad}
    assert any(part in found for found in learning)
    fixed = ('mlp', 'text', 'patch_embedding', 'position', 'pre_layrnorm', '.layer_norm')
    assert not [n for n in learning if any(f in n for f in fixed)]
    if lora is not None:
        assert not [n for n in learning if n.endswith('_proj.weight') and 'lora' not in n]
    learned = ((n, p) for n, p in tower.named_parameters() if p.requires_grad)
    decayed, plain = parameter_groups(learned, weight_decay=0.2)
    assert all(p.ndim >= 2 for p in decayed['params'])
    assert tower.embeddings.class_embedding in set(plain['params'])


def test_what_does_not_learn_is_not_copied() -> None:
    found = read_released(ORACLE / 'depth')
    tower = trainable_tower(found.config.vision, found.vision, lora=Lora(rank=2), where='depth')
    places = {found.vision[k].data_ptr() for k in found.vision}
    for name, parameter in tower.named_parameters():
        assert (parameter.data_ptr() in places) != parameter.requires_grad, name


def test_low_rank_updates_must_go_on_or_be_merged() -> None:
    with pytest.raises(ValueError, match='rank 2; merge them first'):
        start('depth', Lora(rank=4))


def test_low_rank_updates_are_merged_where_none_are_trained() -> None:
    found = read_released(ORACLE / 'depth')
    updated = VisionTower(found.config.vision).eval()
    updated.load_state_dict(found.vision)
    binder = Binder.load({'depth': ORACLE / 'depth'})
    inputs = binder.preprocess('depth', golden_input('depth'))
    tower = start('depth', None)
    assert tower.config.lora_rank == 0 < updated.config.lora_rank
    torch.testing.assert_close(tower(inputs), updated(inputs))


def test_a_trained_tower_is_saved_in_the_released_layout(tmp_path: Path) -> None:
    text = read_released(ORACLE / 'image').text
    torch.manual_seed(0)
    tower = open_towers(
        {'image': ORACLE / 'image'}, ['image'], tuning='lora', lora=Lora(rank=2)
    ).towers['image']
    inputs = Binder.load({'image': ORACLE / 'image'}).preprocess('image', golden_input('image'))
    batch = PairBatch(
        inputs=torch.cat([inputs, inputs.flip(-1)]),
        kept=None,
        targets=torch.eye(32)[:2],
        labels=('one', 'two'),
        true_labels=(frozenset(('one',)), frozenset(('two',))),
    )
    groups = parameter_groups(tower.named_learning(), weight_decay=0.2)
    updates = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.98), eps=1e-6)
    losses = []
    for _ in range(3):
        updates.zero_grad()
        alone = Ranks(0, 1, torch.device('cpu'))
        losses.append(backpropagate(tower, batch, micro_batch=2, ranks=alone))
        updates.step()
    assert losses[-1] < losses[0]
    shutil.copytree(ORACLE / 'image', tmp_path / 'trained')
    module = tower.module
    assert isinstance(module, VisionTower)
    torch.save(released_tensors(module, text), tmp_path / 'trained' / 'pytorch_model.bin')
    config = json.loads((tmp_path / 'trained' / 'config.json').read_text())
    assert config['vision_config']['lora_r'] == 0  # the tensors decide
    binder = Binder.load({'image': tmp_path / 'trained'})
    with torch.no_grad():
        expected = module.eval()(inputs)
    np.testing.assert_allclose(binder.encode({'image': inputs})['image'], expected, atol=1e-5)
