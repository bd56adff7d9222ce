"""How often a readout looks at the thing that the sentence names, and how often chance would.

Bags need `ground_truth/regions`, which only simulators record. The peak of the attention is the
patch with the largest share. It counts as on the thing if any part of the thing is in that patch,
and as near it if it is there or in one of the eight patches around it. Chance is the share of all
patches that would count. Facts about things out of view are left out; true and false ones count.

    python -m benchmarks.attention --data bags/eval --name attention
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.environment import write_result
from encoders import MODALITIES, Binder, Evidence, Predicate, PredicateBank
from encoders.model_sets.places import find_set
from encoders.preprocess import MINI, family_of
from train.bags.find import find_bags
from train.bags.load import extracted_bags
from train.bags.samples import Samples
from train.bags.visible import visible_parts
from train.evaluation.cli import wordings_of
from train.evaluation.intervals import Interval, interval_of
from train.evaluation.metrics import RESAMPLES
from train.evaluation.reading import observe_stored
from train.phrasings import Fact, Phrasings
from train.training.regions import parts_of, region_shares

ALL = 'all'
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
# Of a peak, and what chance gives: on the first thing, near it, on any named thing, near any.
MEASURES = ('on_first', 'near_first', 'on_any', 'near_any')


@dataclass(frozen=True, slots=True)
class Share:
    """How often the peak is where the sentence points.

    Attributes:
        looks: Number of pairs of a sample and a fact.
        facts: Number of different facts.
        value: Share of the looks.
        interval: 95 % over bags; None for one bag.
        chance: Share of the patches that would count, the mean over the looks.
    """

    looks: int
    facts: int
    value: float
    interval: Interval | None
    chance: float


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks of one bag in one modality, `L` in all.

    Attributes:
        facts: Name of the fact of each, `[L]`.
        hits: By measure, bool `[L]`.
        chances: By measure, `[L]`.
    """

    facts: tuple[str, ...]
    hits: Mapping[str, Bools]
    chances: Mapping[str, Floats]


def things_in(samples: Samples, grid: tuple[int, int]) -> Bools:
    """Which patches show a part of each thing, bool `[N, V, rows, columns]`."""
    labels = torch.from_numpy(samples.regions)
    shares = region_shares(labels, len(samples.region_names), grid)
    return np.asarray((shares > 0).reshape(len(labels), -1, *grid).numpy())


def widened(masks: Bools) -> Bools:
    """The same masks `[..., rows, columns]` and the eight patches around each of theirs."""
    flat = masks.reshape(-1, *masks.shape[-2:]).astype(np.uint8)
    found = [cv2.dilate(mask, np.ones((3, 3), np.uint8)) for mask in flat]
    return np.array(found, bool).reshape(masks.shape)


def looks_of(samples: Samples, peaks: NDArray[np.intp], grid: tuple[int, int]) -> Looks:
    """Compare the peaks of one bag with the things that its facts name.

    Args:
        samples: Samples of one bag, `N` with `P` facts.
        peaks: Index of the patch that is looked at, `[N, P]`; below 0 for none.
        grid: Number of patches (rows, columns).
    """
    masks, seen = things_in(samples, grid), visible_parts(samples)
    has_regions = samples.regions.any(axis=(1, 2))
    facts: list[str] = []
    hits: dict[str, list[bool]] = {name: [] for name in MEASURES}
    chances: dict[str, list[float]] = {name: [] for name in MEASURES}
    for column, fact in enumerate(samples.predicates):
        named = parts_of(Fact.parse(fact))
        parts = [samples.region_names.index(n) for n in named if n in samples.region_names]
        if not parts or len(parts) < len(named):
            continue
        usable = (samples.truth[:, column] >= 0) & has_regions & (peaks[:, column] >= 0)
        rows = np.flatnonzero(usable & seen[:, parts].all(axis=1))
        first, each = masks[rows, parts[0]], masks[rows][:, parts].any(axis=1)
        row, place = np.unravel_index(peaks[rows, column], grid)
        for name, mask in (
            ('on_first', first), ('near_first', widened(first)),
            ('on_any', each), ('near_any', widened(each)),
        ):  # fmt: skip
            hits[name] += mask[np.arange(len(rows)), row, place].tolist()
            chances[name] += mask.mean(axis=(1, 2)).tolist()
        facts += [fact] * len(rows)
    return Looks(
        tuple(facts),
        {name: np.array(found, bool) for name, found in hits.items()},
        {name: np.array(found, np.float64) for name, found in chances.items()},
    )


def summary(bags: Sequence[Looks], *, seed: int = 0) -> dict[str, dict[str, Share]]:
    """Shares by relation (and `all`) and measure."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(bags), np.full(len(bags), 1 / len(bags)), size=RESAMPLES)
    relations = sorted({Fact.parse(fact).relation for looks in bags for fact in looks.facts})
    found = {}
    for relation in (ALL, *relations):
        chosen = [
            np.array([relation in (ALL, Fact.parse(fact).relation) for fact in looks.facts], bool)
            for looks in bags
        ]
        counts = np.array([mask.sum() for mask in chosen])
        if not counts.sum():
            continue
        facts = {
            fact
            for looks, mask in zip(bags, chosen, strict=True)
            for fact, is_chosen in zip(looks.facts, mask, strict=True)
            if is_chosen
        }
        found[relation] = {
            name: _share(
                np.array(
                    [looks.hits[name][m].sum() for looks, m in zip(bags, chosen, strict=True)]
                ),
                counts,
                drawn,
                facts=len(facts),
                chance=float(
                    np.concatenate(
                        [looks.chances[name][m] for looks, m in zip(bags, chosen, strict=True)]
                    ).mean()
                ),
            )
            for name in MEASURES
        }
    return found


def _share(
    hits: NDArray[Any], counts: NDArray[Any], drawn: NDArray[Any], *, facts: int, chance: float
) -> Share:
    totals = (drawn @ counts).astype(np.float64)
    shares = np.divide(drawn @ hits, totals, out=np.full(len(drawn), np.nan), where=totals > 0)
    return Share(
        looks=int(counts.sum()),
        facts=facts,
        value=round(float(hits.sum() / counts.sum()), 4),
        interval=interval_of(shares) if len(counts) > 1 else None,
        chance=round(chance, 4),
    )


def peaks_of(
    bank: PredicateBank, modality: str, evidence: Sequence[Evidence], heard: Bools
) -> NDArray[np.intp]:
    """The patch that each predicate looks at most, `[N, P]`; -1 without an image."""
    names = [predicate.name for predicate in bank.predicates]
    found = np.full((len(evidence), len(names)), -1, np.intp)
    for row in np.flatnonzero(heard):
        attention = bank.why_all(names, modality, evidence[row])
        found[row] = attention.reshape(len(names), -1).argmax(axis=1)
    return found


def measure(
    binder: Binder, bags: Sequence[Path], phrasings: Phrasings, *, cache: Path | None = None
) -> dict[str, list[Looks]]:
    """The looks of each bag, by modality with a readout of images."""
    seen = [name for name in binder.readouts if MODALITIES[name].kind == 'image']
    configs = {name: binder.preprocessing[name] for name in seen}
    if any(family_of(config) != MINI for config in configs.values()):
        raise ValueError(f'{binder.model} sees the central square, regions are of whole images')
    found: dict[str, list[Looks]] = {name: [] for name in seen}
    for samples, problems in extracted_bags(bags, configs, cache=cache):
        print(samples.bags, len(samples), *problems, flush=True)
        if not len(samples) or not samples.regions.any():
            continue
        asked = [phrasings.sentences(name) for name in samples.predicates]
        bank = PredicateBank(
            [
                Predicate(name, sentences.positive, sentences.negative)
                for name, sentences in zip(samples.predicates, asked, strict=True)
            ],
            binder,
            readout_budget_ms=math.inf,
        )
        for name in seen:
            stored = samples.inputs[name]
            heard = stored.reshape(len(stored), -1).any(axis=1)
            peaks = peaks_of(bank, name, observe_stored(binder, name, stored), heard)
            found[name].append(looks_of(samples, peaks, binder.grid(name)))
    return found


def main() -> None:
    """Measure and write benchmarks/results/NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--data', type=Path, nargs='+', required=True)
    parser.add_argument('--wording', default='trained', choices=sorted(wordings_of([])))
    parser.add_argument('--cache', type=Path)
    parser.add_argument('--name', default='attention', help='of the result file')
    args = parser.parse_args()
    binder = Binder.load(find_set(args.model))
    looks = measure(binder, find_bags(args.data), wordings_of([])[args.wording], cache=args.cache)
    found = {
        name: {
            relation: {key: asdict(share) for key, share in shares.items()}
            for relation, shares in summary(bags).items()
        }
        for name, bags in looks.items()
        if bags
    }
    result = {
        'model': binder.model,
        'readouts': dict(binder.readout_ids),
        'wording': args.wording,
        'bags': max(map(len, looks.values()), default=0),
        'grid': {name: list(binder.grid(name)) for name in looks},
        'modalities': found,
    }
    print(json.dumps({n: shares.get(ALL) for n, shares in found.items()}, indent=2))
    print(write_result(args.name, result))


if __name__ == '__main__':
    main()
