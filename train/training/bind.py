"""Bind sensors to language: encoders of all modalities against a frozen text tower, from bags.

Two stages use this one recipe. `trainable: all` trains trunk and adapters from scratch;
`trainable: lora` freezes the trunk of an earlier model set and trains only what each modality
adds: low-rank updates, class token, last LayerNorm, projection and temperature, as LanguageBind
does.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from encoders.model_sets.files import ModelSet, load_model_set, save_model_set
from encoders.model_sets.manifest import Manifest
from encoders.model_sets.sources import find_set
from encoders.text.minilm import text_tower
from encoders.vision.vit import LOGIT_SCALE_MAX, VisionTower, is_own, tie
from train.bags.samples import Samples
from train.evaluation.evaluate import embed_samples, group_medians, score_predicates
from train.phrasings import Phrasings
from train.training.checkpoint import (
    CHECKPOINT,
    LOG,
    CheckpointError,
    DivergedError,
    code_version,
    forget_later_steps,
    load_checkpoint,
    save_checkpoint,
)
from train.training.objective import Targets, draw_batch, make_targets, modality_loss
from train.training.progress import TrainingProgress
from train.training.recipe import Recipe

# What may be different when a run goes on: how long it lasts and what it reports.
CHANGEABLE = ('max_steps', 'max_minutes', 'validate_every_minutes')
__all__ = ['CHECKPOINT', 'LOG', 'CheckpointError', 'DivergedError', 'Run', 'bind']


@dataclass
class Run:
    """Everything that changes during training, and so belongs into a checkpoint."""

    model: nn.ModuleDict
    average: nn.ModuleDict
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    step: int = 0
    elapsed_s: float = 0.0


def bind(
    recipe: Recipe,
    data: Samples,
    out: Path,
    *,
    val: Samples | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    provenance: Mapping[str, object] | None = None,
) -> Path:
    """Train and write a model set to `out`; returns its folder.

    Args:
        recipe: What to train and how.
        data: Moments to learn from.
        out: Folder for checkpoint, log and the model set.
        val: Moments to report AUROC on while training.
        resume: Go on from the checkpoint in `out`.
        tensorboard: Write event files for TensorBoard into `out`.
        provenance: Facts about the data for the manifest.

    Raises:
        DivergedError: The loss or a gradient became infinite or NaN.
        CheckpointError: A checkpoint cannot be written, or does not belong to this run.
        FileNotFoundError: `resume` without a checkpoint.
    """
    torch.manual_seed(recipe.seed)
    tower = text_tower(recipe.text_tower)
    manifest = recipe.manifest(space=tower.space, provenance={})
    run = _new_run(recipe, _start_towers(recipe, manifest))
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        _restore(run, recipe, data, out)
    else:
        (out / LOG).unlink(missing_ok=True)
    targets = make_targets(recipe, data)
    _announce(recipe, run.model, data)
    with TrainingProgress(out, start=run.step, shown=True, tensorboard=tensorboard) as progress:
        _loop(recipe, run, data, targets, out, val=val, progress=progress)
    described = {
        **(provenance or {}),
        'steps': run.step,
        'minutes': round(run.elapsed_s / 60, 1),
        'recipe': _described(recipe),
        'code': code_version(),
    }
    final = _as_model_set(recipe, run.average, described)
    save_model_set(out / recipe.name, final)
    return out / recipe.name


def _start_towers(recipe: Recipe, manifest: Manifest) -> nn.ModuleDict:
    """Towers of the set with one trunk between them, from an earlier set where there is one."""
    towers = {name: VisionTower(spec.vision) for name, spec in manifest.modalities.items()}
    taken: set[tuple[str, torch.Size]] = set()
    if recipe.start is not None:
        taken = _take_over(towers, load_model_set(find_set(recipe.start)).towers)
    tie(towers)
    if recipe.trainable == 'lora':
        for tower in towers.values():
            for name, parameter in tower.named_parameters():
                if (name, parameter.shape) in taken:
                    parameter.requires_grad_(False)
    return nn.ModuleDict(towers)


@torch.no_grad()
def _take_over(
    towers: Mapping[str, VisionTower], earlier: Mapping[str, VisionTower]
) -> set[tuple[str, torch.Size]]:
    """Copy the trunk, and each modality's own where there was that modality.

    Returns:
        Name and shape of the tensors of the trunk that were there.
    """
    trunk = {
        (name, parameter.shape): parameter
        for tower in earlier.values()
        for name, parameter in tower.named_parameters()
        if not is_own(name, tower.config)
    }
    for modality, tower in towers.items():
        before = dict(earlier[modality].named_parameters()) if modality in earlier else {}
        for name, parameter in tower.named_parameters():
            own = is_own(name, tower.config)
            found = before.get(name) if own else trunk.get((name, parameter.shape))
            if found is not None and found.shape == parameter.shape:
                parameter.copy_(found)
    return set(trunk)


def _new_run(recipe: Recipe, model: nn.ModuleDict) -> Run:
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    groups = [
        {'params': decayed, 'weight_decay': recipe.weight_decay},
        {'params': plain, 'weight_decay': 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), eps=1e-6)
    average = copy.deepcopy(model).requires_grad_(False)
    return Run(model, average, optimizer, torch.Generator().manual_seed(recipe.seed))


def _announce(recipe: Recipe, model: nn.ModuleDict, data: Samples) -> None:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    print(
        f'{recipe.name}: training {trained:,} of {total:,} values ({recipe.trainable}) on '
        f'{len(data):,} moments of {len(data.bags)} bags, {len(data.predicates)} predicates'
    )


def _loop(
    recipe: Recipe,
    run: Run,
    data: Samples,
    targets: Targets,
    out: Path,
    *,
    val: Samples | None,
    progress: TrainingProgress,
) -> None:
    began_s, before_s = time.monotonic(), run.elapsed_s
    validated_s = run.elapsed_s
    while (done := _done(recipe, run)) < 1.0:
        losses = _step(recipe, run, data, targets, done)
        run.step += 1
        run.elapsed_s = before_s + time.monotonic() - began_s
        progress.step(
            run.step,
            done=done,
            losses=losses,
            temperatures={name: _temperature(_tower(run.model, name)) for name in recipe.batch},
            learning_rate=run.optimizer.param_groups[0]['lr'],
            samples_per_s=run.step * sum(recipe.batch.values()) / max(run.elapsed_s, 1e-9),
        )
        if run.elapsed_s - validated_s > 60 * recipe.validate_every_minutes:
            validated_s = run.elapsed_s
            _save(run, recipe, data, out)
            _validate(recipe, run, val, progress)
    _save(run, recipe, data, out)
    _validate(recipe, run, val, progress)


def _done(recipe: Recipe, run: Run) -> float:
    """Share of the training that is behind, by steps or by the clock."""
    return max(run.step / recipe.max_steps, run.elapsed_s / (60 * recipe.max_minutes))


def _step(
    recipe: Recipe, run: Run, data: Samples, targets: Targets, done: float
) -> dict[str, float]:
    rate = recipe.learning_rate * min(1.0, (run.step + 1) / recipe.warmup_steps)
    for group in run.optimizer.param_groups:
        group['lr'] = rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    run.model.train()
    run.optimizer.zero_grad(set_to_none=True)
    losses: dict[str, float] = {}
    total = torch.zeros(())
    for name in recipe.batch:
        tower = _tower(run.model, name)
        batch = draw_batch(recipe, data, targets, modality=name, generator=run.generator)
        loss = modality_loss(
            recipe,
            tower,
            batch,
            modality=name,
            targets=targets,
            generator=run.generator,
        )
        losses[name] = loss.item()
        total = total + loss
    if not torch.isfinite(total):
        raise DivergedError(
            f'the loss is {total.item()} at step {run.step + 1}: {losses}; '
            f'the last checkpoint is kept; lower learning_rate, or use precision fp32'
        )
    total.backward()  # type: ignore[no-untyped-call]
    trained = [p for p in run.model.parameters() if p.requires_grad]
    norm = nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
    if not torch.isfinite(norm):
        raise DivergedError(
            f'the gradient is not finite at step {run.step + 1} (losses {losses}); '
            f'the last checkpoint is kept; lower learning_rate, or use precision fp32'
        )
    run.optimizer.step()
    _follow(recipe, run)
    return losses


@torch.no_grad()
def _follow(recipe: Recipe, run: Run) -> None:
    # A young average forgets its random start quickly.
    keep = min(recipe.ema, (1 + run.step) / (10 + run.step))
    pairs = zip(run.average.parameters(), run.model.parameters(), strict=True)
    for slow, fast in pairs:
        slow.lerp_(fast, 1 - keep)


def _validate(recipe: Recipe, run: Run, val: Samples | None, progress: TrainingProgress) -> None:
    if val is None:
        return
    model_set = _as_model_set(recipe, run.average, {})
    vectors = embed_samples(model_set.encoders(), val)
    scored = score_predicates(
        vectors, val, text_tower(recipe.text_tower).embed, Phrasings.load(recipe.phrasings)
    )
    progress.validated(run.step, elapsed_s=run.elapsed_s, auroc=group_medians(scored))


def _as_model_set(
    recipe: Recipe, towers: nn.ModuleDict, provenance: dict[str, object]
) -> ModelSet:
    space = text_tower(recipe.text_tower).space
    manifest = recipe.manifest(space=space, provenance=provenance)
    average = copy.deepcopy(towers).eval()
    return ModelSet(manifest, {name: _tower(average, name) for name in manifest.modalities})


def _tower(towers: nn.ModuleDict, name: str) -> VisionTower:
    tower = towers[name]
    assert isinstance(tower, VisionTower)
    return tower


def _temperature(tower: VisionTower) -> float:
    return float((-tower.logit_scale.detach().clamp(max=LOGIT_SCALE_MAX)).exp())


def _described(recipe: Recipe) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return described


def _identity(data: Samples) -> dict[str, Any]:
    """What tells these data from others."""
    digest = hashlib.sha256(data.truth.tobytes() + data.times_s.tobytes())
    return {'bags': list(data.bags), 'moments': len(data), 'truth': digest.hexdigest()[:16]}


def _save(run: Run, recipe: Recipe, data: Samples, out: Path) -> None:
    state = {
        'model': run.model.state_dict(),
        'average': run.average.state_dict(),
        'optimizer': run.optimizer.state_dict(),
        'generator': run.generator.get_state(),
        'torch': torch.get_rng_state(),
        'step': run.step,
        'elapsed_s': run.elapsed_s,
    }
    save_checkpoint(out / CHECKPOINT, state, recipe=_described(recipe), data=_identity(data))


def _restore(run: Run, recipe: Recipe, data: Samples, out: Path) -> None:
    state = load_checkpoint(
        out / CHECKPOINT, recipe=_described(recipe), data=_identity(data), changeable=CHANGEABLE
    )
    run.model.load_state_dict(state['model'])
    run.average.load_state_dict(state['average'])
    run.optimizer.load_state_dict(state['optimizer'])
    run.generator.set_state(state['generator'])
    torch.set_rng_state(state['torch'])
    run.step, run.elapsed_s = state['step'], state['elapsed_s']
    forget_later_steps(out / LOG, run.step)
