"""Bind sensors to language as LanguageBind does: symmetric InfoNCE against a frozen text tower.

Any model set can be the start, and any of its modalities learn, together or one by one. What
learns is a low-rank update, the attention, or a projection (`tuning`). Batches larger than memory
and several processes give the gradients of the whole batch (see `train.training.cached`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from encoders.model_sets.encoder import TextTower
from train.pairs.data import PairData
from train.training.batch import draw_batch
from train.training.cached import backpropagate
from train.training.checkpoint import (
    CHECKPOINT,
    LOG,
    DivergedError,
    code_version,
    forget_later_steps,
    load_checkpoint,
    save_checkpoint,
)
from train.training.contrast_recipe import ContrastRecipe
from train.training.progress import TrainingProgress
from train.training.ranks import Ranks, wait_for_all
from train.training.tower import (
    Tower,
    TrainedSet,
    checkpoint_layers,
    open_towers,
    parameter_groups,
)

# What may be different when a run goes on: none of it changes the losses of the steps to come.
CHANGEABLE = ('save_every_steps', 'micro_batch', 'device', 'compile', 'gradient_checkpointing')


@dataclass
class Run:
    """Everything that changes during training."""

    towers: Mapping[str, Tower]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0


def contrast(
    recipe: ContrastRecipe,
    data: PairData,
    out: Path,
    *,
    ranks: Ranks,
    resume: bool = False,
    tensorboard: bool = False,
) -> Path:
    """Train and write a model set to `out`; returns its folder.

    Args:
        recipe: What to train and how.
        data: Pairs to learn from.
        out: Folder of checkpoint, log and model set.
        ranks: All processes of this training.
        resume: Go on from the checkpoint in `out`.
        tensorboard: Write event files for TensorBoard into `out`.

    Raises:
        DivergedError: The loss or a gradient became infinite or NaN.
        CheckpointError: A checkpoint cannot be written, or does not belong to this run.
        FileNotFoundError: `resume` without a checkpoint.
        ValueError: There are too few pairs, or the set cannot be trained like this.
    """
    torch.manual_seed(recipe.seed)  # low-rank updates begin at random
    trained = open_towers(
        recipe.start,
        recipe.modalities,
        tuning=recipe.tuning,
        lora=recipe.lora,
        temperature=recipe.temperature,
        learn_temperature=recipe.learn_temperature,
    )
    run = new_run(recipe, trained, ranks)
    steps = total_steps(recipe, data)
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        _restore(run, recipe, data, out)
    elif ranks.first:
        (out / LOG).unlink(missing_ok=True)
    if ranks.first:
        print(announcement(recipe, run.towers, data, steps=steps), flush=True)
    _loop(recipe, run, trained, data, out, steps=steps, ranks=ranks, tensorboard=tensorboard)
    folder = out / recipe.name
    if ranks.first:
        provenance = {
            'steps': run.step,
            'recipe': recipe.described(),
            'data': data.identity,
            'code': code_version(),
        }
        folder = trained.save(folder, recipe.name, provenance)
    wait_for_all(ranks)
    return folder


def total_steps(recipe: ContrastRecipe, data: PairData) -> int:
    """Steps of the whole training: `epochs` of the rarest modality, or `max_steps`.

    Raises:
        ValueError: A modality has too few pairs for a batch.
    """
    for name in recipe.modalities:
        data.order(name, 0, batch=recipe.batch, seed=recipe.seed)
    fewest = min(len(data.usable(name)) // recipe.batch for name in recipe.modalities)
    return recipe.max_steps or max(1, round(recipe.epochs * fewest))


def announcement(
    recipe: ContrastRecipe, towers: Mapping[str, Tower], data: PairData, *, steps: int
) -> str:
    """What learns and how much of it, before the first step."""
    lines = []
    learning: dict[int, int] = {}
    everything: dict[int, int] = {}
    for name, tower in towers.items():
        kinds: dict[str, int] = {}
        for path, parameter in tower.named_learning():
            kind = next((k for k in ('lora', 'attn', 'attention') if k in path), None)
            part = 'attention' if kind in ('attn', 'attention') else kind or path
            kinds[part] = kinds.get(part, 0) + parameter.numel()
            learning[id(parameter)] = parameter.numel()
        everything |= {id(p): p.numel() for p in tower.module.parameters()}
        parts = ', '.join(f'{part} {count:,}' for part, count in kinds.items())
        lines.append(f'  {name}: {sum(kinds.values()):,} values ({parts}); '
                     f'{len(data.usable(name)):,} pairs')  # fmt: skip
    head = (
        f'{recipe.name}: training {sum(learning.values()):,} of {sum(everything.values()):,} '
        f'values ({recipe.tuning}) for {steps:,} steps of {recipe.batch} pairs a modality'
    )
    return '\n'.join([head, *lines])


def learning_rate(recipe: ContrastRecipe, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to 0 (as open_clip schedules)."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def training_step(
    recipe: ContrastRecipe,
    run: Run,
    trained: TrainedSet,
    data: PairData,
    *,
    steps: int,
    ranks: Ranks,
) -> dict[str, float]:
    """One update of all modalities; returns their losses before it.

    Raises:
        DivergedError: A loss or gradient is not finite; nothing was updated.
    """
    for group in run.optimizer.param_groups:
        group['lr'] = learning_rate(recipe, run.step, steps)
    run.optimizer.zero_grad(set_to_none=True)
    losses = {}
    for name, tower in run.towers.items():
        losses[name] = _backpropagate_batch(
            recipe, run, tower=tower, text=trained.text, data=data, ranks=ranks
        )
    if not all(math.isfinite(loss) for loss in losses.values()):
        raise DivergedError(
            f'the loss is no longer a number at step {run.step + 1}: {losses}; the last '
            f'checkpoint is kept; lower learning_rate, or use precision fp32'
        )
    if not run.scaler.is_enabled():
        _refuse_infinite(run)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    for tower in run.towers.values():
        tower.clamp_temperature()
    run.step += 1
    return losses


def _backpropagate_batch(
    recipe: ContrastRecipe,
    run: Run,
    *,
    tower: Tower,
    text: TextTower,
    data: PairData,
    ranks: Ranks,
) -> float:
    """Add the gradients of this step's batch of one modality; returns its loss."""
    batch = draw_batch(
        data,
        tower,
        text,
        step=run.step,
        batch=recipe.batch,
        patch_dropout=recipe.patch_dropout[tower.modality],
        seed=recipe.seed,
        ranks=ranks,
    )
    return backpropagate(
        tower,
        batch,
        micro_batch=recipe.micro_batch,
        ranks=ranks,
        precision=recipe.precision,
        scaler=run.scaler if run.scaler.is_enabled() else None,
        seed=recipe.seed * 1_000_003 + run.step,
    )


def _refuse_infinite(run: Run) -> None:
    for name, tower in run.towers.items():
        for path, parameter in tower.named_learning():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                raise DivergedError(
                    f'the gradient of {name} {path} is no longer a number at step '
                    f'{run.step + 1}; the last checkpoint is kept'
                )


def new_run(recipe: ContrastRecipe, trained: TrainedSet, ranks: Ranks) -> Run:
    """Towers on their device, and their optimiser, before the first step."""
    for tower in trained.towers.values():
        tower.module.to(ranks.device)
        if recipe.gradient_checkpointing:
            checkpoint_layers(tower)
        if recipe.compile:
            tower.module.compile()
    groups = parameter_groups(trained.towers, weight_decay=recipe.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), eps=1e-6)
    scaler = torch.amp.GradScaler(ranks.device.type, enabled=recipe.precision == 'fp16')
    return Run(trained.towers, optimizer, scaler)


def _loop(
    recipe: ContrastRecipe,
    run: Run,
    trained: TrainedSet,
    data: PairData,
    out: Path,
    *,
    steps: int,
    ranks: Ranks,
    tensorboard: bool,
) -> None:
    samples = recipe.batch * len(run.towers)
    with TrainingProgress(
        out, start=run.step, shown=ranks.first, tensorboard=tensorboard
    ) as progress:
        while run.step < steps:
            began_s = time.monotonic()
            rate = learning_rate(recipe, run.step, steps)
            losses = training_step(recipe, run, trained, data, steps=steps, ranks=ranks)
            progress.step(
                run.step,
                done=run.step / steps,
                losses=losses,
                temperatures={name: t.temperature for name, t in run.towers.items()},
                learning_rate=rate,
                samples_per_s=samples / max(time.monotonic() - began_s, 1e-9),
            )
            if run.step % recipe.save_every_steps == 0 or run.step == steps:
                if ranks.first:
                    _save(run, recipe, data, out)
                wait_for_all(ranks)


def _named(run: Run) -> dict[str, torch.nn.Parameter]:
    return {
        f'{name}.{path}': parameter
        for name, tower in run.towers.items()
        for path, parameter in tower.named_learning()
    }


def _save(run: Run, recipe: ContrastRecipe, data: PairData, out: Path) -> None:
    state: dict[str, Any] = {
        'step': run.step,
        'learned': {name: p.detach() for name, p in _named(run).items()},
        'optimizer': run.optimizer.state_dict(),
        'scaler': run.scaler.state_dict(),
    }
    save_checkpoint(out / CHECKPOINT, state, recipe=recipe.described(), data=data.identity)


@torch.no_grad()
def _restore(run: Run, recipe: ContrastRecipe, data: PairData, out: Path) -> None:
    state = load_checkpoint(
        out / CHECKPOINT,
        recipe=json.loads(json.dumps(recipe.described())),
        data=data.identity,
        changeable=CHANGEABLE,
    )
    for name, parameter in _named(run).items():
        parameter.copy_(state['learned'][name])
    run.optimizer.load_state_dict(state['optimizer'])
    run.scaler.load_state_dict(state['scaler'])
    run.step = state['step']
    forget_later_steps(out / LOG, run.step)
