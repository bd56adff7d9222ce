"""The questions of a training step of readouts: samples, facts, wordings and attention targets.

All random numbers of a step follow from its number, so that a resumed run asks the same questions,
and every process knows the whole batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from train.asked import AskedVectors
from train.bags.samples import UNKNOWN
from train.phrasings import Fact, relation_of
from train.training.objective import balance_weights
from train.training.readout_tokens import BagTokens, TokenData
from train.training.regions import parts_of, region_shares

# A patch belongs to the target of the attention if it shows the part in this share of its cells;
# a part is visible if its cells fill this share of a patch.
MIN_SHARE, MIN_VISIBLE = 0.1, 0.2
ANY = 'something'
# Added to shares, which may all be 0.
SMALLEST_SHARE = 1e-9


@dataclass(frozen=True, slots=True)
class Sense:
    """What one modality can learn from some data with `P` predicates.

    Attributes:
        modality: Name of the modality.
        rows: Samples with a recording and a weight, int64 `[R]`.
        weights: Weights of false and true values of the predicates, float32 `[2, P]`.
        targets: By bag, the patches that show each part, bool `[C, n, V + 1, patches]`; the last
            part is nothing. Empty without supervision of the attention.
        parts: By bag, the parts of the first and of the second argument of each predicate, int64
            `[P, 2]`; -1 for none.
        groups: Groups of predicates that differ in one argument only, such as the things that may
            be held, int64 `[G, W]`; filled up with -1. Empty if there are none.
        group_of: The groups of each predicate by the argument that differs, int64 `[P, 2]`; -1 for
            none.
    """

    modality: str
    rows: Tensor
    weights: Tensor
    targets: Sequence[NDArray[np.bool_]]
    parts: Sequence[NDArray[np.int64]]
    groups: Tensor
    group_of: Tensor


@dataclass(frozen=True, slots=True)
class Questions:
    """The batch of one modality: `B` samples with `K` facts each, `U` different facts.

    The last `L` facts of a sample are a list: a true fact, and false ones that differ from it in
    one argument, its rivals.

    Attributes:
        rows, copies: Samples and their copies, int64 `[B]`.
        columns: The different facts, int64 `[U]`.
        asked: Index into `columns` of each question, int64 `[B, K + L]`.
        truth: float32 `[B, K + L]`.
        weights: Weight of each sample, float32 `[B, 1]`; the mean is 1.
        listed: Which of the last `L` facts are in the list of the sample, bool `[B, L]`; none if
            it has no true fact with rivals.
        positive, negative: Wording of each different fact, float32 `[U, D]`, unit length.
        targets: Patches to attend to, bool `[B, 2, K + L, patches]`; None without supervision.
    """

    rows: Tensor
    copies: Tensor
    columns: Tensor
    asked: Tensor
    truth: Tensor
    weights: Tensor
    listed: Tensor
    positive: Tensor
    negative: Tensor
    targets: Tensor | None


def sense(
    data: TokenData,
    modality: str,
    *,
    relations: Mapping[str, float] | None,
    other_relations: float,
    grid: tuple[int, int] | None,
) -> Sense:
    """Prepare one modality.

    Args:
        data: Training samples.
        modality: Name of the modality.
        relations: Weight of each relation; None weighs all equally.
        other_relations: Weight of relations that are not listed.
        grid: Patches (rows, columns) of its tower; None for no supervision of the attention.
    """
    samples = data.samples
    names = {relation_of(name) for name in samples.predicates}
    share = dict.fromkeys(names, 1.0)
    if relations is not None:
        share = {name: relations.get(name, other_relations) for name in names}
    recorded = samples.inputs[modality].astype(bool)
    truth = data.truth(modality)
    weights = balance_weights(replace(samples, truth=truth[recorded]), share)
    usable = (_weights_of(torch.from_numpy(truth), weights) > 0).any(1)
    rows = (usable & torch.from_numpy(recorded)).nonzero().squeeze(1)
    bags = data.bags[modality] if grid else ()
    groups, group_of = _groups(samples.predicates)
    return Sense(
        modality=modality,
        rows=rows,
        weights=weights,
        targets=[_targets(bag, grid) for bag in bags if grid],
        parts=[_parts(samples.predicates, bag.region_names) for bag in bags],
        groups=groups,
        group_of=group_of,
    )


def _targets(bag: BagTokens, grid: tuple[int, int]) -> NDArray[np.bool_]:
    count = len(bag.region_names)
    labels = bag.regions
    cells = labels.shape[2] * labels.shape[3] / (grid[0] * grid[1])
    shares = torch.stack([region_shares(copy, count, grid) for copy in labels]) / cells
    shown = (shares > MIN_SHARE) & (shares.sum(-1, keepdim=True) > MIN_VISIBLE)
    return np.asarray(F.pad(shown, (0, 0, 0, 1)).numpy())


def _parts(predicates: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    known = {name: number for number, name in enumerate(names)}
    table = np.full((len(predicates), 2), -1, np.int64)
    for row, predicate in enumerate(predicates):
        for place, name in enumerate(parts_of(Fact.parse(predicate))[:2]):
            table[row, place] = known.get(name, -1)
    return table


def _groups(predicates: Sequence[str]) -> tuple[Tensor, Tensor]:
    """`Sense.groups` and `Sense.group_of`."""
    alike: dict[tuple[int, str, tuple[str, ...]], list[int]] = defaultdict(list)
    for column, name in enumerate(predicates):
        fact = Fact.parse(name)
        for place in range(len(fact.arguments[:2]) * (ANY not in fact.arguments)):
            others = fact.arguments[:place] + fact.arguments[place + 1 :]
            alike[place, fact.relation, others].append(column)
    members = [(key[0], columns) for key, columns in alike.items() if len(columns) > 1]
    groups = np.full((len(members), max((len(c) for _, c in members), default=0)), -1, np.int64)
    group_of = np.full((len(predicates), 2), -1, np.int64)
    for number, (place, columns) in enumerate(members):
        groups[number, : len(columns)] = columns
        group_of[columns, place] = number
    return torch.from_numpy(groups), torch.from_numpy(group_of)


def _weights_of(truth: Tensor, weights: Tensor) -> Tensor:
    """Weights `[B, P]` of the known truths `[B, P]`."""
    return torch.where(truth == 1, weights[1], weights[0]) * (truth != UNKNOWN)


def draw_questions(
    data: TokenData,
    sensed: Sense,
    wordings: AskedVectors,
    generator: torch.Generator,
    *,
    batch: int,
    facts: int,
    rivals: int,
    jitter: float,
) -> Questions:
    """Draw the questions of a step.

    Args:
        data: Training samples.
        sensed: What the modality can learn from them.
        wordings: Training text of all predicates.
        generator: Source of all randomness.
        batch: Number of samples.
        facts: Number of facts per sample, drawn by their weights.
        rivals: Number of false facts in the list of each sample; 0 for no list.
        jitter: Size of the noise added to wordings, relative to their length.
    """
    rows = sensed.rows[torch.randint(len(sensed.rows), (batch,), generator=generator)]
    copies = torch.randint(data.copies, (batch,), generator=generator)
    truth = torch.from_numpy(data.truth(sensed.modality)[rows.numpy()]).long()
    weights = _weights_of(truth, sensed.weights)
    chosen = torch.multinomial(weights, facts, replacement=True, generator=generator)
    listed = torch.zeros(batch, 0, dtype=torch.bool)
    if rivals and len(sensed.groups):
        others, listed = _draw_rivals(sensed, truth, weights, generator, count=rivals)
        chosen = torch.cat([chosen, others], dim=1)
    columns, asked = chosen.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    positive, negative = wordings.draw(columns, generator, jitter=jitter)
    importance = weights.sum(1, keepdim=True)
    return Questions(
        rows=rows,
        copies=copies,
        columns=columns,
        asked=asked,
        truth=truth.gather(1, chosen).float(),
        weights=importance / importance.mean(),
        listed=listed,
        positive=positive,
        negative=negative,
        targets=_targets_of(data, sensed, rows, copies, chosen),
    )


def _draw_rivals(
    sensed: Sense, truth: Tensor, weights: Tensor, generator: torch.Generator, *, count: int
) -> tuple[Tensor, Tensor]:
    """Draw a true fact of each sample, and false ones that differ from it in one argument.

    Returns:
        Facts int64 `[B, L]`, the true one first, and which of them are listed, bool `[B, L]`: none
        where nothing is true, or no rival is false.
    """
    grouped = sensed.group_of >= 0
    shares = weights * (truth == 1) * grouped.any(1)
    fact = torch.multinomial(shares + SMALLEST_SHARE, 1, generator=generator)
    place = torch.multinomial(grouped[fact[:, 0]] + SMALLEST_SHARE, 1, generator=generator)
    members = sensed.groups[sensed.group_of[fact, place][:, 0].clamp(min=0)]
    rival = (members >= 0) & (truth.gather(1, members.clamp(min=0)) == 0)
    rival &= shares.gather(1, fact) > 0
    order = torch.rand(members.shape, generator=generator) + rival
    kept = order.topk(min(count, members.shape[1]), dim=1).indices
    rival = rival.gather(1, kept)
    facts = torch.cat([fact, torch.where(rival, members.gather(1, kept), fact)], dim=1)
    return facts, torch.cat([rival.any(1, keepdim=True), rival], dim=1)


def _targets_of(
    data: TokenData, sensed: Sense, rows: Tensor, copies: Tensor, chosen: Tensor
) -> Tensor | None:
    if not sensed.targets:
        return None
    drawn = zip(data.places(rows), copies.tolist(), chosen.numpy(), strict=True)
    found = [sensed.targets[b][c, k][sensed.parts[b][picked].T] for (b, k), c, picked in drawn]
    return torch.from_numpy(np.stack(found))
