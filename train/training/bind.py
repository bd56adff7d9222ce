"""Bind sensors to language: train encoders of all modalities towards a frozen text tower.

The data are bags. One recipe covers two stages. `trainable: all` trains trunk and adapters from
scratch; `trainable: lora` freezes the trunk of an earlier model set and trains only what each
modality adds: low-rank updates, class token, last LayerNorm, projection and temperature, as in
LanguageBind.
"""

from __future__ import annotations

import copy
import hashlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from encoders.model_sets.files import ModelSet, load_model_set, save_model_set
from encoders.model_sets.manifest import Manifest
from encoders.model_sets.places import find_set
from encoders.preprocess import is_series
from encoders.preprocess.mini.series import with_statistics
from encoders.text.minilm import MiniLM, text_tower
from encoders.vision.stem import DescribedStem
from encoders.vision.vit import LOGIT_SCALE_MAX, VisionTower, is_own, tie
from train.bags.samples import Samples
from train.evaluation.evaluate import embed_samples, group_medians, score_predicates
from train.phrasings import Phrasings
from train.training.checkpoint import code_version
from train.training.hub import IMAGE, image_vectors
from train.training.loop import Plan, new_run, train
from train.training.objective import (
    Batch,
    Targets,
    draw_batch,
    image_loss,
    make_targets,
    modality_loss,
    without_facts,
)
from train.training.ranks import Ranks
from train.training.recipe import Recipe
from train.validated import plain

# Keys that may change when a run resumes: how long it lasts and how often it validates.
CHANGEABLE = ('max_steps', 'max_minutes', 'validate_every_minutes')
ALONE = Ranks(0, 1, torch.device('cpu'))


def bind(
    recipe: Recipe,
    data: Samples,
    out: Path,
    *,
    val: Samples | None = None,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    cache: Path | None = None,
    provenance: Mapping[str, object] | None = None,
) -> Path:
    """Train a model set and write it to `out`; return its folder.

    Args:
        recipe: Model set and training configuration.
        data: Training samples; see `train.training.hub.inputs_to_read`.
        out: Folder for checkpoint, log and the model set.
        val: Validation samples, on which AUROC is reported while training.
        resume: Resume from the checkpoint in `out`.
        overwrite: Replace a run that `out` holds.
        tensorboard: Write event files for TensorBoard into `out`.
        cache: Folder of image vectors, for hub `image`; None keeps nothing.
        provenance: Facts about the data for the manifest.

    Raises:
        ValueError: The data have nothing to which a sensor of the recipe can be bound.

    Also raises the errors of `train.training.loop.train`.
    """
    targets = make_targets(recipe, data)
    if recipe.hub == IMAGE:
        targets = replace(targets, images=image_vectors(recipe, data, cache=cache))
    else:
        recipe, targets = _with_facts(recipe, data, targets)
    recipe = _with_statistics(recipe, data)
    torch.manual_seed(recipe.seed)
    tower = text_tower(recipe.text_tower)
    manifest = recipe.manifest(space=tower.space, provenance={})
    model = _start_towers(recipe, manifest)
    _describe(model, recipe, tower)
    average = copy.deepcopy(model).requires_grad_(False)
    generator = torch.Generator().manual_seed(recipe.seed)
    binding = Binding(recipe, data, targets, val, model, average, generator)
    plan = Plan(
        max_steps=recipe.max_steps,
        max_minutes=recipe.max_minutes,
        save_every_minutes=recipe.validate_every_minutes,
        clip_norm=recipe.clip_norm,
        recipe=plain(recipe),
        data=_identity(data),
        changeable=CHANGEABLE,
    )
    run = new_run(binding, plan, _parameter_groups(model, weight_decay=recipe.weight_decay))
    out.mkdir(parents=True, exist_ok=True)
    _announce(recipe, model, data)
    train(run, out, ranks=ALONE, resume=resume, overwrite=overwrite, tensorboard=tensorboard)
    described = {
        **(provenance or {}),
        'steps': run.step,
        'minutes': round(run.elapsed_s / 60, 1),
        'recipe': plain(recipe),
        'code': code_version(),
    }
    save_model_set(out / recipe.name, _as_model_set(recipe, average, described))
    return out / recipe.name


def _with_facts(recipe: Recipe, data: Samples, targets: Targets) -> tuple[Recipe, Targets]:
    """Return the recipe and targets without the sensors that can learn nothing from these data.

    Raises:
        ValueError: No sensor is left.
    """
    left_out = without_facts(data, targets)
    if not left_out:
        return recipe, targets
    why = 'no predicate of the recipe is both true and false in the bags where it was recorded'
    if len(left_out) == len(recipe.batch):
        raise ValueError(f'{", ".join(left_out)}: {why}; record more bags')
    print(f'{recipe.name}: without {", ".join(left_out)}: {why}', file=sys.stderr)

    def kept(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in left_out}

    smaller = replace(
        recipe,
        modalities=kept(recipe.modalities),
        batch=kept(recipe.batch),
        relations=kept(recipe.relations),
        region_weight=kept(recipe.region_weight),
    )
    return smaller, replace(targets, balance=kept(targets.balance))


def _with_statistics(recipe: Recipe, data: Samples) -> Recipe:
    """Return the recipe with the statistics of its series, which scale their inputs."""
    configs = {
        name: replace(with_statistics(config, data.inputs[name]), untrained=())
        if is_series(config)
        else config
        for name, config in recipe.modalities.items()
    }
    return replace(recipe, modalities=configs)


@dataclass
class Binding:
    """Objective that learns the facts of labelled samples (see `train.training.loop.Objective`).

    Attributes:
        targets: The language side of `data`.
        val: Held-out samples, or None.
        model: Towers in training, by modality.
        average: Their exponential moving average, which becomes the model set.
        generator: Source of randomness for batches, augmentation and wording.
    """

    recipe: Recipe
    data: Samples
    targets: Targets
    val: Samples | None
    model: nn.ModuleDict
    average: nn.ModuleDict
    generator: torch.Generator

    @property
    def samples_per_step(self) -> int:
        """Samples of all modalities in one step."""
        return sum(self.recipe.batch.values())

    def learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Trainable parameters, by name."""
        return ((n, p) for n, p in self.model.named_parameters() if p.requires_grad)

    def learning_rate(self, step: int, done: float) -> float:
        """Half a cosine to 0, multiplied by a linear warm-up."""
        rate = self.recipe.learning_rate * min(1.0, (step + 1) / self.recipe.warmup_steps)
        return rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def backward(self, step: int, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """Compute gradients of the summed losses of one batch per modality; return the losses."""
        self.model.train()
        losses: dict[str, float] = {}
        total = torch.zeros(())
        for name in self.recipe.batch:
            batch = draw_batch(
                self.recipe, self.data, self.targets, modality=name, generator=self.generator
            )
            loss = self._loss(name, batch)
            losses[name] = loss.item()
            total = total + loss
        if torch.isfinite(total):
            total.backward()  # type: ignore[no-untyped-call]
        return losses

    def _loss(self, modality: str, batch: Batch) -> torch.Tensor:
        tower = _tower(self.model, modality)
        images = self.targets.images
        if images is not None:
            return image_loss(self.recipe, tower, batch, images, generator=self.generator)
        return modality_loss(
            self.recipe,
            tower,
            batch,
            modality=modality,
            targets=self.targets,
            generator=self.generator,
        )

    @torch.no_grad()
    def updated(self, step: int) -> None:
        """Update the moving average; early in training it forgets the random start quickly."""
        keep = min(self.recipe.ema, (1 + step) / (10 + step))
        pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast, 1 - keep)

    def temperatures(self) -> dict[str, float]:
        """Temperature by modality."""
        return {name: _temperature(_tower(self.model, name)) for name in self.recipe.batch}

    def validate(self) -> Mapping[str, float] | None:
        """AUROC of the averaged towers on `val`, by group of predicates; None without `val`."""
        if self.val is None:
            return None
        encoders = _as_model_set(self.recipe, self.average, {}).encoders()
        vectors = embed_samples(encoders, self.val)
        embed = text_tower(self.recipe.text_tower).embed
        phrasings = Phrasings.load(self.recipe.phrasings)
        return group_medians(score_predicates(vectors, self.val, embed, phrasings))

    def state(self) -> dict[str, Any]:
        """State of the towers, their average and all random generators."""
        return {
            'model': self.model.state_dict(),
            'average': self.average.state_dict(),
            'generator': self.generator.get_state(),
            'torch': torch.get_rng_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        self.model.load_state_dict(state['model'])
        self.average.load_state_dict(state['average'])
        self.generator.set_state(state['generator'])
        torch.set_rng_state(state['torch'])


def _start_towers(recipe: Recipe, manifest: Manifest) -> nn.ModuleDict:
    """Create the towers of the set with a shared trunk, from an earlier set if one is given."""
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


def _describe(model: nn.ModuleDict, recipe: Recipe, text: MiniLM) -> None:
    """Give encoders of described channels the vectors of their sentences."""
    earlier = {} if recipe.start is None else load_model_set(find_set(recipe.start)).towers
    for name, config in recipe.modalities.items():
        stem = _tower(model, name).embeddings.patch_embedding
        if not is_series(config) or not isinstance(stem, DescribedStem):
            continue
        before = earlier[name].embeddings.patch_embedding if name in earlier else None
        like = before if isinstance(before, DescribedStem) else None
        stem.describe(torch.from_numpy(text.embed(config.words)), like=like)


@torch.no_grad()
def _take_over(
    towers: Mapping[str, VisionTower], earlier: Mapping[str, VisionTower]
) -> set[tuple[str, torch.Size]]:
    """Copy the trunk, and each modality's own parameters if the earlier set has that modality.

    Returns:
        Name and shape of the tensors of the earlier trunk.
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


def _parameter_groups(model: nn.ModuleDict, *, weight_decay: float) -> list[dict[str, Any]]:
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    return [
        {'params': decayed, 'weight_decay': weight_decay},
        {'params': plain, 'weight_decay': 0.0},
    ]


def _announce(recipe: Recipe, model: nn.ModuleDict, data: Samples) -> None:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    print(
        f'{recipe.name}: training {trained:,} of {total:,} values ({recipe.trainable}) on '
        f'{len(data):,} moments of {len(data.bags)} bags, {len(data.predicates)} predicates'
    )


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


def _identity(data: Samples) -> dict[str, Any]:
    """Values that identify these data."""
    digest = hashlib.sha256(data.truth.tobytes() + data.times_s.tobytes())
    return {'bags': list(data.bags), 'moments': len(data), 'truth': digest.hexdigest()[:16]}
