"""Bind sensors to language as LanguageBind does: symmetric InfoNCE against a frozen text tower.

Any model set can be the start, and any of its modalities learn, together or one by one. What
learns is a low-rank update, the attention, or a projection (`tuning`). Batches larger than memory
and several processes give the gradients of the whole batch (see `train.training.cached`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from encoders.model_sets.encoder import TextTower
from train.pairs.data import PairData
from train.training.batch import draw_batch
from train.training.cached import backpropagate
from train.training.checkpoint import code_version
from train.training.contrast_recipe import ContrastRecipe
from train.training.loop import Plan, Run, new_run, train
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
        ValueError: There are too few pairs, or the set cannot be trained like this.

    Raises what `train.training.loop.train` raises as well.
    """
    trained = open_trained(recipe)
    steps = total_steps(recipe, data)
    run = contrast_run(recipe, trained, data, steps=steps, ranks=ranks)
    out.mkdir(parents=True, exist_ok=True)
    if ranks.first:
        print(announcement(recipe, trained.towers, data, steps=steps), flush=True)
    train(run, out, ranks=ranks, resume=resume, tensorboard=tensorboard)
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


def open_trained(recipe: ContrastRecipe) -> TrainedSet:
    """The towers that a recipe trains, at their start.

    Raises:
        ValueError: The set cannot be trained like this.
    """
    torch.manual_seed(recipe.seed)  # low-rank updates begin at random
    return open_towers(
        recipe.start,
        recipe.modalities,
        tuning=recipe.tuning,
        lora=recipe.lora,
        temperature=recipe.temperature,
        learn_temperature=recipe.learn_temperature,
    )


def contrast_run(
    recipe: ContrastRecipe, trained: TrainedSet, data: PairData, *, steps: int, ranks: Ranks
) -> Run:
    """A training of towers on their device, before its first step."""
    for tower in trained.towers.values():
        tower.module.to(ranks.device)
        if recipe.gradient_checkpointing:
            checkpoint_layers(tower)
        if recipe.compile:
            tower.module.compile()
    plan = Plan(
        max_steps=steps,
        save_every_steps=recipe.save_every_steps,
        recipe=recipe.described(),
        data=data.identity,
        changeable=CHANGEABLE,
    )
    objective = Contrast(recipe, trained.towers, trained.text, data, steps, ranks)
    groups = parameter_groups(objective.learning(), weight_decay=recipe.weight_decay)
    scaler = torch.amp.GradScaler(ranks.device.type, enabled=recipe.precision == 'fp16')
    return new_run(objective, plan, groups, scaler=scaler)


@dataclass
class Contrast:
    """Symmetric InfoNCE of pairs as an objective (see `train.training.loop.Objective`)."""

    recipe: ContrastRecipe
    towers: Mapping[str, Tower]
    text: TextTower
    data: PairData
    steps: int
    ranks: Ranks

    @property
    def samples_per_step(self) -> int:
        """Of all modalities."""
        return self.recipe.batch * len(self.towers)

    def learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters that learn."""
        for name, tower in self.towers.items():
            for path, parameter in tower.named_learning():
                yield f'{name}.{path}', parameter

    def learning_rate(self, step: int, done: float) -> float:
        """See `learning_rate`."""
        return learning_rate(self.recipe, step, self.steps)

    def backward(self, step: int, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """A batch of each modality, one after the other."""
        recipe = self.recipe
        losses = {}
        for name, tower in self.towers.items():
            batch = draw_batch(
                self.data,
                tower,
                self.text,
                step=step,
                batch=recipe.batch,
                patch_dropout=recipe.patch_dropout[name],
                seed=recipe.seed,
                ranks=self.ranks,
            )
            losses[name] = backpropagate(
                tower,
                batch,
                micro_batch=recipe.micro_batch,
                ranks=self.ranks,
                precision=recipe.precision,
                scaler=scaler if scaler.is_enabled() else None,
                seed=recipe.seed * 1_000_003 + step,
            )
        return losses

    def updated(self, step: int) -> None:
        """Keep temperatures within their limits."""
        for tower in self.towers.values():
            tower.clamp_temperature()

    def temperatures(self) -> dict[str, float]:
        """By modality."""
        return {name: tower.temperature for name, tower in self.towers.items()}

    def validate(self) -> None:
        """Held-out pairs are evaluated after the training, in its report."""

    def state(self) -> dict[str, Any]:
        """What has been learned."""
        return {'learned': {name: p.detach() for name, p in self.learning()}}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        for name, parameter in self.learning():
            parameter.copy_(state['learned'][name])


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
