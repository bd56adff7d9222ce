"""Bind sensors to language as LanguageBind does: symmetric InfoNCE against a frozen text tower.

With hub `image` the same loss binds them to a frozen image encoder, as ImageBind does.
Any model set can be the start; any of its modalities can be trained, together or one by one.
`tuning` selects low-rank updates, the attention, or the projection. Gradients are those of the
whole batch even if it exceeds memory or is split among processes (see `train.training.cached`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from train.pairs.data import PairData
from train.training.batch import draw_batch
from train.training.cached import backpropagate
from train.training.checkpoint import code_version
from train.training.contrast_recipe import ContrastRecipe
from train.training.hub import Hub, LanguageHub, image_hub
from train.training.loop import Plan, Run, new_run, train
from train.training.ranks import Ranks, wait_for_all
from train.training.tower import (
    Tower,
    TrainedSet,
    checkpoint_layers,
    open_towers,
    parameter_groups,
)

# Keys that may change when a run resumes. Apart from the length, which the learning rate follows,
# none changes the losses of later steps.
CHANGEABLE = (
    'max_steps',
    'epochs',
    'save_every_steps',
    'micro_batch',
    'device',
    'compile',
    'gradient_checkpointing',
)


def contrast(
    recipe: ContrastRecipe,
    data: PairData,
    out: Path,
    *,
    ranks: Ranks,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    cache: Path | None = None,
) -> Path:
    """Train a model set and write it to `out`; return its folder.

    Args:
        recipe: Model set and training configuration.
        data: Training pairs.
        out: Folder for checkpoint, log and model set.
        ranks: All processes of this training.
        resume: Resume from the checkpoint in `out`.
        overwrite: Replace a run that `out` holds.
        tensorboard: Write event files for TensorBoard into `out`.
        cache: Folder of image vectors, for hub `image`; None keeps nothing.

    Raises:
        ValueError: There are too few pairs, or the set cannot be trained with this tuning or hub.

    Also raises the errors of `train.training.loop.train`.
    """
    trained = open_trained(recipe)
    steps = total_steps(recipe, data)
    run = contrast_run(recipe, trained, data, steps=steps, ranks=ranks, cache=cache)
    out.mkdir(parents=True, exist_ok=True)
    if ranks.first:
        print(announcement(recipe, trained.towers, data, steps=steps), flush=True)
    train(run, out, ranks=ranks, resume=resume, overwrite=overwrite, tensorboard=tensorboard)
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
    """Load the towers that a recipe trains, in their initial state.

    Raises:
        ValueError: The set cannot be trained with this tuning.
    """
    torch.manual_seed(recipe.seed)  # low-rank updates are initialised at random
    return open_towers(
        recipe.start,
        recipe.modalities,
        tuning=recipe.tuning,
        lora=recipe.lora,
        temperature=recipe.temperature,
        learn_temperature=recipe.learn_temperature,
    )


def contrast_run(
    recipe: ContrastRecipe,
    trained: TrainedSet,
    data: PairData,
    *,
    steps: int,
    ranks: Ranks,
    cache: Path | None = None,
) -> Run:
    """Create a run before its first step and move its towers to their device."""
    hub = open_hub(recipe, trained, data, ranks=ranks, cache=cache)
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
    objective = Contrast(recipe, trained.towers, hub, data, steps, ranks)
    groups = parameter_groups(objective.learning(), weight_decay=recipe.weight_decay)
    scaler = torch.amp.GradScaler(ranks.device.type, enabled=recipe.precision == 'fp16')
    return new_run(objective, plan, groups, scaler=scaler)


def open_hub(
    recipe: ContrastRecipe,
    trained: TrainedSet,
    data: PairData,
    *,
    ranks: Ranks,
    cache: Path | None = None,
) -> Hub:
    """Open what the recipe binds to: its text tower, or the image encoder of its start.

    Raises:
        ValueError: The start has no image encoder.
    """
    if recipe.hub == 'image':
        return image_hub(data, recipe.start, recipe.modalities, ranks=ranks, cache=cache)
    return LanguageHub(data, trained.text)


@dataclass
class Contrast:
    """Objective: symmetric InfoNCE of pairs (see `train.training.loop.Objective`)."""

    recipe: ContrastRecipe
    towers: Mapping[str, Tower]
    hub: Hub
    data: PairData
    steps: int
    ranks: Ranks

    @property
    def samples_per_step(self) -> int:
        """Samples of all modalities in one step."""
        return self.recipe.batch * len(self.towers)

    def learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Trainable parameters, by name."""
        for name, tower in self.towers.items():
            for path, parameter in tower.named_learning():
                yield f'{name}.{path}', parameter

    def learning_rate(self, step: int, done: float) -> float:
        """See `learning_rate`."""
        return learning_rate(self.recipe, step, self.steps)

    def backward(self, step: int, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """Compute gradients of one batch per modality, one after the other; return the losses."""
        recipe = self.recipe
        losses = {}
        for name, tower in self.towers.items():
            batch = draw_batch(
                self.data,
                tower,
                self.hub,
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
        """Clamp temperatures to their limits."""
        for tower in self.towers.values():
            tower.clamp_temperature()

    def temperatures(self) -> dict[str, float]:
        """Temperature by modality."""
        return {name: tower.temperature for name, tower in self.towers.items()}

    def validate(self) -> None:
        """Held-out pairs are evaluated after the training, in its report."""

    def state(self) -> dict[str, Any]:
        """Trainable parameters."""
        return {'learned': {name: p.detach() for name, p in self.learning()}}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        for name, parameter in self.learning():
            parameter.copy_(state['learned'][name])


def total_steps(recipe: ContrastRecipe, data: PairData) -> int:
    """Number of steps of the training: `max_steps`, or else `epochs` of the rarest modality.

    Raises:
        ValueError: A modality has too few pairs for a batch.
    """
    for name in recipe.modalities:
        data.order(name, 0, batch=recipe.batch, seed=recipe.seed, hub=recipe.hub)
    pairs = [len(data.usable(name, hub=recipe.hub)) for name in recipe.modalities]
    fewest = min(pairs) // recipe.batch
    return recipe.max_steps or max(1, round(recipe.epochs * fewest))


def announcement(
    recipe: ContrastRecipe, towers: Mapping[str, Tower], data: PairData, *, steps: int
) -> str:
    """Text shown before the first step: the trainable parts and their sizes."""
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
                     f'{len(data.usable(name, hub=recipe.hub)):,} pairs')  # fmt: skip
    head = (
        f'{recipe.name}: training {sum(learning.values()):,} of {sum(everything.values()):,} '
        f'values ({recipe.tuning}) for {steps:,} steps of {recipe.batch} pairs a modality, '
        f'bound to {recipe.hub}'
    )
    return '\n'.join([head, *lines])


def learning_rate(recipe: ContrastRecipe, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to 0 (as in open_clip)."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
