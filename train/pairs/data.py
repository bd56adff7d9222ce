"""Pairs from shards or streamed from bags, in the order in which training uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from train.bags.find import EvaluationDataError, find_bags, refuse_evaluation_bags
from train.pairs.make import StreamedPairs, plan_pairs
from train.pairs.options import PairOptions, PairsReport
from train.pairs.record import Pair
from train.pairs.shards import data_identity, is_pair_set, open_pair_set
from train.validated import plain


class PairSource(Protocol):
    """Pairs by number, from shards or bags."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Pair:
        """Read one pair."""
        ...

    def outline(self, index: int) -> Pair:
        """Read one pair whose files may be empty; faster than `read`."""
        ...


@dataclass
class PairData:
    """All pairs of a training run.

    Attributes:
        source: Where pairs are read from.
        identity: Distinguishes these data from others; stored in checkpoints.
        text_sources: Use only sentences from these sources; all if empty.
        report: Report about the bags, if they are streamed.
    """

    source: PairSource
    identity: dict[str, Any]
    text_sources: tuple[str, ...] = ()
    report: PairsReport = field(default_factory=PairsReport)
    _usable: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def usable(self, modality: str, *, hub: str = 'language') -> NDArray[np.int64]:
        """Numbers of the pairs that have this modality, and a sentence or an image to bind it to.

        Args:
            modality: The sensor.
            hub: `language` for pairs with a sentence, `image` for pairs with an image.
        """
        if (modality, hub) not in self._usable:
            found = [k for k in range(len(self.source)) if self._fits(k, modality, hub)]
            self._usable[modality, hub] = np.array(found, np.int64)
        return self._usable[modality, hub]

    def _fits(self, index: int, modality: str, hub: str) -> bool:
        pair = self.source.outline(index)
        bound = 'image' in pair.modalities if hub == 'image' else self.sentences(pair)
        return modality in pair.modalities and bool(bound)

    def sentences(self, pair: Pair) -> list[str]:
        """Sentences of a pair that are used for training."""
        chosen = self.text_sources
        return [t.text for t in pair.texts if not chosen or t.source in chosen]

    def order(
        self, modality: str, step: int, *, batch: int, seed: int, hub: str = 'language'
    ) -> NDArray[np.int64]:
        """The pairs of a step; each epoch is shuffled again, and its incomplete batch is dropped.

        `modality` and `hub` select the pairs, see `usable`.

        Raises:
            ValueError: There are fewer pairs than the batch size.
        """
        usable = self.usable(modality, hub=hub)
        steps = len(usable) // batch
        if not steps:
            bound, remedy = 'a sentence', ''
            if hub == 'image':
                bound = 'an image of the same moment'
                remedy = f'; cut pairs with --modalities image {modality}, or give --hub language'
            raise ValueError(
                f'{len(usable)} pairs have {modality} and {bound}; a batch takes {batch}{remedy}'
            )
        epoch, place = divmod(step, steps)
        shuffled = self._shuffled(usable, np.random.default_rng((seed, epoch)))
        return shuffled[place * batch : (place + 1) * batch]

    def _shuffled(self, usable: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        if not isinstance(self.source, StreamedPairs):
            return rng.permutation(usable)
        # Shuffled within a few bags at a time, so that bags are not read again for every sample.
        blocks = self.source.blocks
        chosen = rng.permutation(len(blocks))
        parts = []
        for start in range(0, len(blocks), 4):
            some = [blocks[k] for k in chosen[start : start + 4]]
            inside = [usable[(usable >= b.start) & (usable < b.stop)] for b in some]
            parts.append(rng.permutation(np.concatenate(inside)))
        return np.concatenate(parts)


def open_pair_data(
    paths: Sequence[Path],
    options: PairOptions,
    *,
    text_sources: Sequence[str] = (),
    evaluation: bool = False,
) -> PairData:
    """Open a folder of shards, or bags to stream from.

    Raises:
        EvaluationDataError: The data are reserved for evaluation, and `evaluation` is False.
        ValueError: Shards and bags are mixed, or nothing is usable.
    """
    sets = [path for path in paths if is_pair_set(path)]
    if sets:
        if len(paths) != 1:
            raise ValueError(f'{sets[0]}: give one folder of shards, or bags')
        stored = open_pair_set(sets[0])
        if stored.manifest.get('split') == 'evaluation' and not evaluation:
            raise EvaluationDataError(f'{sets[0]}: these pairs are kept for evaluation')
        identity = {'shards': data_identity(stored.manifest), 'pairs': len(stored)}
        return PairData(stored, identity, tuple(text_sources))
    bags = find_bags(paths)
    if not evaluation:
        refuse_evaluation_bags(bags)
    report = PairsReport()
    streamed = StreamedPairs(plan_pairs(bags, options, report=report), report)
    if not len(streamed):
        causes = [*report.problems, *(f'{why}: {n}' for why, n in report.dropped.items())]
        raise ValueError(f'no pair could be made: {"; ".join(causes) or "nothing is said"}')
    identity = {
        'bags': [bag.name for bag in streamed.plan.bags],
        'pairs': len(streamed),
        'options': plain(options),
    }
    return PairData(streamed, identity, tuple(text_sources), report)
