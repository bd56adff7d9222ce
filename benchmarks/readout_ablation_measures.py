"""What readouts read of held-out bags, in several wordings and ways of asking.

Used by `benchmarks.readout_ablations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from encoders.model_sets.towers import TowerEncoder
from encoders.predicates.predicate import Predicate
from encoders.predicates.wording import Sides, deny, sides
from encoders.vision.readout import Queries, Readout
from train.bags.samples import Samples
from train.evaluation.evaluate import GROUPS, group_members, results_of
from train.evaluation.reading import FUSED
from train.evaluation.which_thing import named_first
from train.phrasings import Phrasings, Sentences, relation_of
from train.training.readout_tokens import TokenData

WORDINGS = ('trained', 'unseen', 'check')
SHOWN: Mapping[str, Sequence[str]] = {
    'one object': GROUPS['one object'],
    'relations': GROUPS['relations'],
    **{name: (name,) for name in ('in', 'on', 'open', 'holding something')},
}
RELATIONS = {relation for relations in SHOWN.values() for relation in relations}
HELD = 'held thing'
BATCH = 64
Scores = dict[tuple[str, str], NDArray[np.float32]]


def ways_of(sentences: Sentences) -> dict[str, Sides]:
    """How a fact is asked, by way.

    `sides`: all sentences, as the robot asks them (denials count as their statements);
    `exchanged`: the same the other way round; `sentence`: the first one alone, against its
    derived opposite; `denials`: the denials of all negative sentences against these sentences, as
    they are written, whereas the robot counts a denial as its statement on the other side.
    """
    positive, negative = sides(Predicate('all', sentences.positive, sentences.negative))
    return {
        'sides': (positive, negative),
        'exchanged': (negative, positive),
        'sentence': sides(Predicate.from_sentence(positive[0])),
        'denials': (tuple(map(deny, negative)), negative),
    }


@dataclass(frozen=True)
class HeldOut:
    """Held-out samples, and the questions about them.

    Attributes:
        data: The tokens of the samples.
        samples: The facts of `RELATIONS`; unknown where a thing is out of view.
        texts: By wording and way, unit vectors of both sides float32 `[2, P, D]`.
    """

    data: TokenData
    samples: Samples
    texts: Mapping[tuple[str, str], Tensor]

    def read(self, readouts: Mapping[str, Readout]) -> Scores:
        """Sum of the log-odds of all readouts, float32 `[N, P]` by wording and way."""
        found = self._unread()
        with torch.inference_mode():
            for name, readout in readouts.items():
                queries = {key: readout.ask(*text) for key, text in self.texts.items()}
                for rows, columns, tokens in self._parts(name):
                    reduced = readout.reduce(tokens)
                    for key, query in queries.items():
                        asked = readout.prepare(Queries(*(part[columns] for part in query)))
                        found[key][np.ix_(rows, columns)] += readout.read(reduced, asked).numpy()
        return found

    def pooled(self, towers: Mapping[str, TowerEncoder]) -> Scores:
        """Sum of the cosines of the sensors' vectors with the contrasts, as `read`."""
        found = self._unread()
        contrasts = {key: F.normalize(yes - no, dim=-1) for key, (yes, no) in self.texts.items()}
        with torch.inference_mode():
            for name, encoder in towers.items():
                for rows, columns, tokens in self._parts(name):
                    vectors = F.normalize(encoder.tower.pool(tokens).float(), dim=-1)
                    for key, contrast in contrasts.items():
                        cosines = vectors @ contrast[columns].T
                        found[key][np.ix_(rows, columns)] += cosines.numpy()
        return found

    def counts(self) -> dict[str, int]:
        """Number of predicates in each group."""
        return {group: len(found) for group, found in grouped(self.samples, self.samples.truth)}

    def _unread(self) -> Scores:
        return {key: np.zeros(self.samples.truth.shape, np.float32) for key in self.texts}

    def _parts(self, sensor: str) -> Iterator[tuple[NDArray[Any], NDArray[Any], Tensor]]:
        """Samples of one bag, the facts that it knows, and the tokens of a sensor."""
        for number in range(len(self.samples.bags)):
            inside = np.flatnonzero(self.samples.bag == number)
            columns = np.flatnonzero((self.samples.truth[inside] >= 0).any(axis=0))
            for start in range(0, len(inside), BATCH):
                rows = inside[start : start + BATCH]
                picked = torch.from_numpy(rows)
                tokens = self.data.tokens(sensor, picked, torch.zeros_like(picked))
                yield rows, columns, tokens.float()


def held_out(data: TokenData, embed: Callable[[Sequence[str]], Tensor]) -> HeldOut:
    """Embed the questions about held-out samples.

    Args:
        data: Their tokens and truth.
        embed: Function from sentences to unit vectors float32 `[N, D]`.
    """
    names = data.samples.predicates
    columns = [k for k, name in enumerate(names) if relation_of(name) in RELATIONS]
    kept = tuple(names[k] for k in columns)
    samples = replace(data.samples, predicates=kept, truth=data.in_view[:, columns])
    asked: dict[tuple[str, str], list[Sides]] = {}
    for wording in WORDINGS:
        phrasings = Phrasings.load(wording)
        for name in kept:
            for way, pair in ways_of(phrasings.sentences(name)).items():
                asked.setdefault((wording, way), []).append(pair)
    pairs = [pair for found in asked.values() for pair in found]
    texts = list(dict.fromkeys(text for pair in pairs for side in pair for text in side))
    row = {text: index for index, text in enumerate(texts)}
    vectors = embed(texts)

    def means(found: Sequence[Sides]) -> Tensor:
        rows = [[[row[text] for text in pair[side]] for pair in found] for side in (0, 1)]
        told = [torch.stack([vectors[own].mean(0) for own in side]) for side in rows]
        return F.normalize(torch.stack(told), dim=-1)

    return HeldOut(data, samples, {key: means(found) for key, found in asked.items()})


def grouped(samples: Samples, scores: NDArray[Any]) -> list[tuple[str, list[float]]]:
    """AUROCs of the predicates of each group."""
    results = results_of({FUSED: scores.astype(np.float32)}, samples)
    members = group_members(results, best=dict.fromkeys(RELATIONS, FUSED), groups=SHOWN)
    return [(group, [result.auroc for result in found]) for group, found in members.items()]


def measured(val: HeldOut, scores: Scores) -> dict[str, Any]:
    """Median AUROC by way, wording and group; how often the held thing is named first."""
    found: dict[str, Any] = {}
    for (wording, way), table in scores.items():
        signed = -table if way == 'exchanged' else table
        areas = grouped(val.samples, signed)
        found.setdefault(way, {})[wording] = {group: median(each) for group, each in areas}
        if way == 'sides':
            first = named_first({FUSED: table}, val.samples)[HELD].first[FUSED].value
            found[way][wording][HELD] = first
    return found
