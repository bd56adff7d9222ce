"""The contrastive recipe against the oracle, and against itself in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders.model_sets.released import load_released
from tests.train.runs import losses, recipe_file, run, run_twofold
from train.training.batch import PairBatch
from train.training.cached import backpropagate
from train.training.languagebind import Lora
from train.training.ranks import Ranks
from train.training.tower import Tower, open_towers, parameter_groups

pytestmark = pytest.mark.usefixtures('one_thread')

REPOSITORY = Path(__file__).resolve().parents[3]
ORACLE = REPOSITORY / 'tests' / 'data' / 'oracle'
ALONE = Ranks(0, 1, torch.device('cpu'))


# --- the oracle, by the recipe's own code --------------------------------------------------------


@pytest.mark.parametrize('micro_batch', [pytest.param(1, marks=pytest.mark.slow), 8])
def test_the_oracle_step_by_the_recipes_own_code(micro_batch: int) -> None:
    with np.load(ORACLE / 'depth' / 'train_step.npz') as stored:
        wanted = {k.removeprefix('train/'): stored[k] for k in stored.files}
    small = wanted['input_small_f16'].astype(np.float32)
    text = load_released({'depth': ORACLE / 'depth'}).text
    found = open_towers(
        {'depth': ORACLE / 'depth'}, ['depth'], tuning='lora', lora=Lora(rank=2)
    ).towers
    tower = found['depth']
    sentences = [str(k) for k in range(len(small))]
    batch = PairBatch(
        inputs=torch.from_numpy(small.repeat(7, -1).repeat(7, -2)),
        kept=torch.from_numpy(wanted['patch_keep_indices'].astype(np.int64)),
        targets=torch.from_numpy(text.embed_tokens(torch.from_numpy(wanted['input_ids']))),
        labels=sentences,
        true_labels=[frozenset((s,)) for s in sentences],
    )
    np.testing.assert_allclose(batch.targets, wanted['text_embeds'], atol=1e-5)
    with torch.no_grad():
        found_embeds = tower.module(batch.inputs, kept=batch.kept)
    np.testing.assert_allclose(found_embeds, wanted['image_embeds'], atol=1e-5)
    groups = parameter_groups(tower.named_learning(), weight_decay=0.2)
    updates = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.98), eps=1e-6)
    loss = backpropagate(tower, batch, micro_batch=micro_batch, ranks=ALONE)
    assert loss == pytest.approx(float(wanted['loss']), rel=1e-6)
    updates.step()
    tower.clamp_temperature()
    assert sum(p.numel() for p in tower.learning()) == 4289
    expected = {_plain(k) for k in wanted if k.startswith('grad/')}
    assert {_plain(name) for name, _ in tower.named_learning()} == expected
    for name, parameter in tower.named_learning():
        released = next(
            k.removeprefix('grad/')
            for k in wanted
            if k.startswith('grad/') and _plain(k) == _plain(name)
        )
        gradient, after = wanted[f'grad/{released}'], wanted[f'after/{released}']
        largest = np.abs(gradient).max()
        assert parameter.grad is not None
        np.testing.assert_allclose(
            parameter.grad, gradient, atol=1e-5 * max(1.0, float(largest)), err_msg=name
        )
        settled = np.abs(gradient) > 1e-2 * largest
        np.testing.assert_allclose(
            parameter.detach().numpy()[settled], after[settled], atol=1e-5, err_msg=name
        )


def _plain(name: str) -> str:
    for part in ('grad/', 'vision_model.', 'base_model.model.', 'encoder.', '.base_layer'):
        name = name.replace(part, '')
    return name


# --- pieces make the whole -----------------------------------------------------------------------


def drawn_batch(tower: Tower, size: int = 9) -> PairBatch:
    draw = torch.Generator().manual_seed(3)
    rows, columns = (28, 28)
    sentences = [f'sentence {k % 5}' for k in range(size)]  # some repeat: several positives
    texts = torch.randn(5, 24, generator=draw)[torch.arange(size) % 5]
    return PairBatch(
        inputs=torch.randn(size, 3, rows, columns, generator=draw),
        kept=torch.randn(size, tower.patches, generator=draw).topk(2).indices,
        targets=torch.nn.functional.normalize(texts, dim=-1),
        labels=sentences,
        true_labels=[frozenset((s, 'sentence 0')) if k == 1 else frozenset((s,))
                        for k, s in enumerate(sentences)],
    )  # fmt: skip


def gradients(start: Any, micro_batch: int, *, checkpointing: bool = False, **changes: Any) -> Any:
    from train.training.tower import checkpoint_layers

    torch.manual_seed(0)
    lora = Lora(4, dropout=changes.pop('dropout', 0.0))
    tower = open_towers(start, ['depth'], tuning='lora', lora=lora, temperature=0.07).towers[
        'depth'
    ]
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():  # the update begins at 0, and so would half of its gradients
        for name, parameter in tower.named_learning():
            if 'lora_B' in name:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    if checkpointing:
        checkpoint_layers(tower)
    loss = backpropagate(
        tower, drawn_batch(tower), micro_batch=micro_batch, ranks=ALONE, **changes
    )
    found = {n: p.grad.clone() for n, p in tower.named_learning() if p.grad is not None}
    assert len(found) == len(tower.learning())
    return loss, found


@pytest.mark.parametrize('micro_batch', [1, 2, 4])
def test_cached_features_give_the_gradients_of_the_whole_batch(
    tiny_checkpoints: dict[str, str], micro_batch: int
) -> None:
    whole_loss, whole = gradients(tiny_checkpoints, 9)
    loss, found = gradients(tiny_checkpoints, micro_batch)
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4, msg=name)
        assert gradient.abs().max() > 0


def test_checkpointed_layers_give_the_same_gradients(tiny_checkpoints: dict[str, str]) -> None:
    _, plain = gradients(tiny_checkpoints, 4)
    _, found = gradients(tiny_checkpoints, 4, checkpointing=True)
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_dropout_drops_the_same_in_both_passes(tiny_checkpoints: dict[str, str]) -> None:
    """Against one pass with the same draws: micro-batches of one in either case."""
    first = gradients(tiny_checkpoints, 1, dropout=0.3, seed=5)
    again = gradients(tiny_checkpoints, 1, dropout=0.3, seed=5)
    other = gradients(tiny_checkpoints, 1, dropout=0.3, seed=6)
    assert first[0] == again[0] != other[0]
    for name, gradient in first[1].items():
        torch.testing.assert_close(again[1][name], gradient, msg=name)


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_half_precision_is_near(tiny_checkpoints: dict[str, str], precision: str) -> None:
    scaler = torch.amp.GradScaler('cpu', enabled=True) if precision == 'fp16' else None
    loss, plain = gradients(tiny_checkpoints, 4)
    near, found = gradients(tiny_checkpoints, 4, precision=precision, scaler=scaler)
    assert near == pytest.approx(loss, rel=0.05)
    factor = scaler.get_scale() if scaler else 1.0
    name = 'visual_projection.weight'
    cosine = torch.nn.functional.cosine_similarity(
        (found[name] / factor).flatten(), plain[name].flatten(), dim=0
    )
    assert cosine > 0.97


@pytest.mark.slow
def test_two_processes_train_like_one(
    recipe_values: dict[str, Any], pair_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`torchrun` with gloo: the same losses with the same global batch."""
    recipe = recipe_file(tmp_path / 'tiny.yaml', recipe_values, micro_batch=3, max_steps=4)
    arguments = ['train', 'contrast', '--config', str(recipe), '--data', str(pair_folder)]
    assert run(monkeypatch, *arguments, '--out', tmp_path / 'one') == 0
    output = run_twofold(*arguments, '--out', tmp_path / 'two', limit_s=180)
    assert output.count('tiny: training') == 1
    np.testing.assert_allclose(losses(tmp_path / 'two'), losses(tmp_path / 'one'), atol=1e-5)
