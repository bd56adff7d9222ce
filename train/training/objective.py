"""The training objective of one modality: targets, batches and the loss of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from encoders.text.minilm import text_tower
from encoders.vision.precision import dtype_of
from encoders.vision.vit import LOGIT_SCALE_MAX, VisionTower, draw_kept_patches
from train.bags.samples import UNKNOWN, Samples, absent_things, stored_tensor
from train.language import FactVectors, fact_vectors, name_vectors
from train.phrasings import Phrasings, relation_of
from train.training.augment import augmented_inputs
from train.training.loss import contrastive_loss, opposite_loss
from train.training.recipe import Recipe
from train.training.regions import (
    Regions,
    naming_loss,
    pool_regions,
    region_fact_loss,
    region_shares,
    subjects,
)

MAX_BALANCE = 8.0
NAMING_WEIGHT = 0.25  # of the loss on names of parts, relative to the facts about them
MAX_SENTENCES = 12  # per side of a fact; embedding more takes longer than it helps


@dataclass(frozen=True, slots=True)
class Targets:
    """The language side of a data set with `P` predicates and `V` named parts.

    Attributes:
        facts: Embedded wordings of the predicates.
        names: Embedded names of the parts, float32 `[V, K, D]`.
        subject: Index of the part each predicate is about, `[P]`, -1 for none.
        balance: Weights by modality of values that are false, true, and false of an absent thing,
            `[3, P]`.
        absent: Predicates that are never true in the scene of a bag, bool `[bags, P]`.
        images: With hub `image`, the frozen vectors of the images of all samples, float32
            `[N, D]`, 0 for samples without an image; else None.
    """

    facts: FactVectors
    names: Tensor
    subject: Tensor
    balance: Mapping[str, Tensor]
    absent: Tensor
    images: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one modality.

    Attributes:
        rows: Number of each sample, int64 `[B]`.
        sensed: Whether the sensor recorded each sample, bool `[B]`.
        inputs: float32 `[B, 3, H, W]`.
        regions: uint8 `[B, R, R]`.
        columns: Indices of the `Q` predicates with a known value in the batch, int64 `[Q]`.
        truth: int64 `[B, Q]`.
        weights: float32 `[B, Q]`.
    """

    rows: Tensor
    sensed: Tensor
    inputs: Tensor
    regions: Tensor
    columns: Tensor
    truth: Tensor
    weights: Tensor


def make_targets(recipe: Recipe, data: Samples) -> Targets:
    """Embed the wordings of all predicates and parts in the data."""
    embed = text_tower(recipe.text_tower).embed
    phrasings = Phrasings.load(recipe.phrasings)
    absent = absent_things(data)
    return Targets(
        facts=fact_vectors(data.predicates, phrasings, embed, synonyms=1, limit=MAX_SENTENCES),
        names=name_vectors(data.region_names, phrasings, embed),
        subject=subjects(data.predicates, data.region_names),
        balance={
            name: balance_weights(
                data, recipe.relations[name], absent=absent, absent_share=recipe.absent_share
            )
            for name in recipe.batch
        },
        absent=torch.from_numpy(absent),
    )


def balance_weights(
    data: Samples,
    relations: Mapping[str, float],
    *,
    absent: NDArray[np.bool_] | None = None,
    absent_share: float | None = None,
) -> Tensor:
    """Weights of false, true, and false values of absent things of each predicate, `[3, P]`.

    Both values of a predicate have the same total weight, all predicates of a relation weigh the
    same, and relations have their configured weights.

    Args:
        data: Labelled samples.
        relations: Weight by relation.
        absent: Result of `absent_things`.
        absent_share: Share of the weight of the false values that those of absent things have, if
            there are others. None: all false values weigh the same.
    """
    true = (data.truth == 1).sum(0).astype(np.float64)
    false = (data.truth == 0).sum(0).astype(np.float64)
    total = np.maximum(true + false, 1)
    both = (true > 0) & (false > 0)
    names = [relation_of(name) for name in data.predicates]
    share = np.array([relations.get(name, 0.0) for name in names]) * both
    for name in set(names):
        rows = np.array([n == name for n in names])
        share[rows] /= max(total[rows].sum() / len(data), 1e-6)
    own, elsewhere = false, false
    parts = np.ones((3, len(names)))
    if absent is not None and absent_share is not None:
        elsewhere = ((data.truth == 0) & absent[data.bag]).sum(0).astype(np.float64)
        own = false - elsewhere
        parts[2] = np.where(own > 0, absent_share * (elsewhere > 0), 1.0)
        parts[0] = 1.0 - parts[2]
    weights = [
        share * np.minimum(0.5 * part * total / np.maximum(count, 1), MAX_BALANCE)
        for part, count in zip(parts, (own, true, elsewhere), strict=True)
    ]
    return torch.from_numpy(np.stack(weights)).float()


def weights_of(truth: Tensor, absent: Tensor, balance: Tensor) -> Tensor:
    """Weights `[B, P]` of truths, given whether things are absent; see `balance_weights`."""
    false = torch.where(absent, balance[2], balance[0])
    return torch.where(truth == 1, balance[1], false)


def without_facts(data: Samples, targets: Targets) -> list[str]:
    """Modalities without a predicate that can be learned: one both true and false in the data."""
    return [
        name for name, balance in targets.balance.items() if not _has_fact(data, name, balance)
    ]


def _has_fact(data: Samples, modality: str, balance: Tensor) -> bool:
    stored = data.inputs[modality]
    sensed = stored.reshape(len(stored), -1).any(1)
    known = (data.truth[sensed] != UNKNOWN).any(0)
    return bool((known & (balance > 0).any(0).numpy()).any())


def draw_batch(
    recipe: Recipe, data: Samples, targets: Targets, *, modality: str, generator: torch.Generator
) -> Batch:
    """Draw samples at random and augment them; without a recording, truth counts as unknown."""
    rows = torch.randint(len(data), (recipe.batch[modality],), generator=generator).numpy()
    stored = stored_tensor(data.inputs[modality][rows])
    inputs, regions = augmented_inputs(
        stored,
        recipe.modalities[modality],
        generator,
        regions=torch.from_numpy(data.regions[rows]),
    )
    sensed = (stored.flatten(1) != 0).any(dim=1, keepdim=True)
    truth = torch.from_numpy(data.truth[rows]).long().where(sensed, torch.tensor(UNKNOWN))
    balance = targets.balance[modality]
    columns = ((truth >= 0).any(0) & (balance > 0).any(0)).nonzero().squeeze(1)
    truth = truth[:, columns]
    absent = targets.absent[torch.from_numpy(data.bag[rows])]
    weights = weights_of(truth, absent[:, columns], balance[:, columns])
    numbers = torch.from_numpy(rows)
    return Batch(numbers, sensed.squeeze(1), inputs, regions, columns, truth, weights)


def modality_loss(
    recipe: Recipe,
    tower: VisionTower,
    batch: Batch,
    *,
    modality: str,
    targets: Targets,
    generator: torch.Generator,
) -> Tensor:
    """Loss of a batch, scalar: facts about the whole input and about the named parts it shows."""
    if not len(batch.columns):  # by chance, no fact is known about any of these samples
        return 0.0 * tower.logit_scale.sum()
    positive, negative = targets.facts.of(batch.columns).mixed(
        generator, jitter=recipe.text_jitter
    )
    tokens = _tokens(recipe, tower, batch, generator)
    scale = tower.logit_scale.clamp(max=LOGIT_SCALE_MAX).exp()
    embeddings = F.normalize(tower.pool(tokens), dim=-1)
    loss = opposite_loss(
        embeddings, positive, negative, truth=batch.truth, weights=batch.weights, scale=scale
    )
    if recipe.contrastive_weight > 0:
        texts, matches, known = _sentences_of_batch(batch, positive, negative, generator)
        loss = loss + recipe.contrastive_weight * contrastive_loss(
            embeddings, texts, matches=matches, known=known, scale=scale
        )
    weight = recipe.region_weight.get(modality, 0.0)
    if weight > 0 and len(targets.names) and batch.regions.any():
        contrasts = F.normalize(positive - negative, dim=-1)
        shares = region_shares(batch.regions, len(targets.names), tower.config.grid)
        pooled, present = pool_regions(tokens[:, 1:], shares)
        regions = Regions(tower.read(pooled), present)
        loss = loss + weight * _region_loss(regions, batch, contrasts, targets, scale, generator)
    return loss


def image_loss(
    recipe: Recipe, tower: VisionTower, batch: Batch, images: Tensor, *, generator: torch.Generator
) -> Tensor:
    """InfoNCE of a batch and the frozen vectors `[N, D]` of the images of all samples, scalar.

    A sample that was drawn twice has both as positives. Samples that lack the sensor or the image
    are left out.
    """
    embeddings = F.normalize(tower.pool(_tokens(recipe, tower, batch, generator)), dim=-1)
    usable = batch.sensed & (images[batch.rows] != 0).any(dim=1)
    rows = batch.rows[usable]
    same = rows[:, None] == rows
    scale = tower.logit_scale.clamp(max=LOGIT_SCALE_MAX).exp()
    return contrastive_loss(
        embeddings[usable], images[rows], matches=same, known=torch.ones_like(same), scale=scale
    )


def _tokens(
    recipe: Recipe, tower: VisionTower, batch: Batch, generator: torch.Generator
) -> Tensor:
    """Tokens of a batch, float32 `[B, 1 + T, width]`, without the patches that are dropped."""
    kept = None
    if recipe.patch_dropout > 0:
        count, patches = len(batch.inputs), tower.config.patches
        kept = draw_kept_patches(count, patches, recipe.patch_dropout, generator=generator)
    fast = dtype_of(recipe.precision) == torch.bfloat16
    with torch.autocast('cpu', torch.bfloat16, enabled=fast):
        tokens: Tensor = tower.tokens(batch.inputs, kept=kept)
    return tokens.float()


def _region_loss(
    regions: Regions,
    batch: Batch,
    contrasts: Tensor,
    targets: Targets,
    scale: Tensor,
    generator: torch.Generator,
) -> Tensor:
    facts = region_fact_loss(
        regions,
        contrasts,
        subject=targets.subject[batch.columns],
        truth=batch.truth,
        weights=batch.weights,
        scale=scale,
    )
    which = torch.randint(targets.names.shape[1], (len(targets.names),), generator=generator)
    names = targets.names[torch.arange(len(which)), which]
    return facts + NAMING_WEIGHT * naming_loss(regions, names, scale=scale)


def _sentences_of_batch(
    batch: Batch, positive: Tensor, negative: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a true sentence per sample; return them with `matches` and `known` for InfoNCE."""
    truth = batch.truth
    shares = batch.weights * (truth >= 0) + 1e-9
    fact = torch.multinomial(shares, 1, generator=generator).squeeze(1)
    says = truth.gather(1, fact[:, None]).squeeze(1)
    texts = torch.where(says[:, None] == 1, positive[fact], negative[fact])
    about = truth[:, fact]
    return texts, about == says[None, :], (about >= 0) & (says[None, :] >= 0)
