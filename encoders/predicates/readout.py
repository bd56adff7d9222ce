"""Reads predicates from the tokens of sensors, where the model set has a readout.

Queries are computed when the text changes. A predicate and its exchanged sides share one query, so
that their log-odds are exactly opposite.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.model_sets.binder import Binder
from encoders.model_sets.calibration import Calibration, Fit, united
from encoders.model_sets.evidence import Evidence, Tokens
from encoders.model_sets.foreign import is_foreign
from encoders.one_core import on_one_core
from encoders.predicates.parameters import MIN_WEIGHT, Bools, Floats, TokenTable, asks, column_of
from encoders.predicates.predicate import Predicate
from encoders.predicates.wording import Sides, sides
from encoders.regions import modality_of
from encoders.vision.readout import Prepared, Queries, Readout

DEFAULT_BUDGET_MS = 20.0
# These are read from tokens whatever the budget, so that a slow moment at start costs no predicate
# of a robot's file.
MIN_READ = 64
# Predicates per pass: the attention of more leaves the cache of a core.
CHUNK = 256
PAST_BUDGET = ' (past readout_budget_ms)'
OWN = ' (it has its own calibration)'

# A text is calibrated if its direction has at least this cosine with that of similar calibrated
# facts, in the order in which the sentences fit. Of single sentences in wordings never trained on,
# a third is read the wrong way round below it, and 3 % above (bags of calibration).
MIN_AGREEMENT = 0.9

COST_PREDICATES = 256
COST_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Time of one pass of a readout: `fixed_ms`, and `predicate_ms` for each predicate."""

    fixed_ms: float
    predicate_ms: float


_COSTS: WeakKeyDictionary[Readout, Cost] = WeakKeyDictionary()
_FACTS: WeakKeyDictionary[Readout, tuple[Calibration, Queries]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Question:
    """Two sides, in the order of `_canonical`, as all readouts ask them.

    `fit` is the calibration in this order.
    """

    queries: Mapping[str, Queries]
    fit: Fit | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """The predicates of a bank that one readout reads.

    Attributes:
        prepared: `U` questions, in chunks of at most `CHUNK`.
        places: Indices of the predicates, `[K]`.
        rows: Index of the query of each, `[K]`.
        signs: -1 where the sides are exchanged, float32 `[K]`.
    """

    prepared: Sequence[Prepared]
    places: NDArray[np.intp]
    rows: NDArray[np.intp]
    signs: Floats


class TokensError(ValueError):
    """Tokens are not those of the readout of their modality."""


class TokenReader:
    """The predicates of a bank as the readouts of its model set ask them.

    Args:
        binder: Binder with readouts, their calibration and the text tower.
        budget_ms: Predicates are read in the order of their addition while reading one sample of
            every sensor takes no longer; the others are read from the vector.
        regions: Parts of views (`depth@gripper`), which are read like their modality.

    Attributes:
        table: Parameters of the token-read predicates.
    """

    def __init__(self, binder: Binder, *, budget_ms: float, regions: Sequence[str] = ()) -> None:
        self.budget_ms = budget_ms
        self._binder = binder
        self._readouts = dict(binder.readouts)
        for region in regions:
            if modality_of(region) in binder.readouts:
                self._readouts[region] = binder.readouts[modality_of(region)]
        self._questions: dict[Sides, _Question] = {}
        self._asked: dict[str, _Asked] = {}
        self.table = TokenTable({}, (), np.zeros(0, bool))

    def copy(self) -> TokenReader:
        """An independent reader that has computed the same queries."""
        return copy.copy(self)

    def room(self, known: int, new: int) -> int:
        """How many of the new predicates the budget admits next to `known` ones, about."""
        if not self._binder.readouts:
            return 0
        if known + new <= MIN_READ or math.isinf(self.budget_ms):
            return new
        costs = [cost_of(readout) for readout in self._readouts.values()]
        left_ms = self.budget_ms - sum(cost.fixed_ms for cost in costs)
        each_ms = max(sum(cost.predicate_ms for cost in costs), 1e-6)
        return min(new, max(0, max(MIN_READ, math.floor(left_ms / each_ms)) - known))

    def arrange(self, predicates: Sequence[Predicate]) -> None:
        """Use these predicates; the queries of those already known are kept."""
        has_readout = {
            name: np.array([self._reads(name, p) for p in predicates], bool)
            for name in self._readouts
        }
        within = self._within_budget(has_readout)
        keys = [_canonical(p) if ok else None for p, ok in zip(predicates, within, strict=True)]
        self._questions = self._complete({key[0] for key in keys if key is not None})
        fits = [None if key is None else _turned(self._questions[key[0]].fit, key[1])
                for key in keys]  # fmt: skip
        self._asked, columns = {}, {}
        for name, wanted in has_readout.items():
            asked = wanted & within
            self._asked[name] = self._stack(name, keys, np.flatnonzero(asked))
            # The log-odds of a readout that was not calibrated are those of its training.
            columns[name] = column_of(name, predicates, fits, asked=asked, slope=1.0)
        self.table = TokenTable(
            columns=columns,
            notes=tuple(OWN if ok else PAST_BUDGET for ok in within),
            calibrated=np.array([fit is not None for fit in fits], bool),
            has_calibration=self._binder.readout_calibration is not None,
        )

    def read(self, sensor: str, several: Sequence[Tokens], values: Floats) -> Bools:
        """Write the log-odds of the predicates that are read from tokens.

        Args:
            sensor: A modality with a readout, or a part of its view.
            several: Reduced tokens of `S` samples, float16 `[N, width]` each.
            values: Target `[S, P]`.

        Returns:
            Which were written, bool `[P]`.

        Raises:
            TokensError: Tokens have another shape than the readout's.
        """
        asked = self._asked[sensor]
        written = np.zeros(values.shape[1], bool)
        if not len(asked.places):
            return written
        readout = self._readouts[sensor]
        reduced = _reduced(readout, sensor, several)
        with torch.inference_mode(), on_one_core():
            parts = [readout.read(reduced, prepared) for prepared in asked.prepared]
        odds = torch.cat(parts, dim=1).numpy()
        for row, found in zip(values, odds, strict=True):  # faster than indexing both axes
            row[asked.places] = asked.signs * found[asked.rows]
        written[asked.places] = True
        return written

    def reads(self, sensor: str, place: int) -> bool:
        """Whether the predicate at this place is read from the tokens of a sensor."""
        return sensor in self._asked and place in self._asked[sensor].places

    def ask(
        self, predicate: Predicate, sensor: str, several: Sequence[Tokens]
    ) -> tuple[Floats, Floats]:
        """Ask `S` samples for one predicate, without the others.

        Returns:
            Log-odds before calibration, float32 `[S]`, and answers, float32 `[S, D]`.

        Raises:
            TokensError: Tokens have another shape than the readout's.
        """
        readout, queries = self._readouts[sensor], self._queries([predicate], sensor)
        reduced = _reduced(readout, sensor, several)
        with torch.inference_mode(), on_one_core():
            answers, _ = readout.answer(reduced, queries)
            odds = readout.compare(answers, queries)
        sign = -1.0 if _canonical(predicate)[1] else 1.0
        return np.asarray(sign * odds[:, 0].numpy(), np.float32), answers[:, 0].numpy()

    def answers(
        self, predicates: Sequence[Predicate], sensor: str, several: Sequence[Tokens]
    ) -> Floats:
        """What `P` predicates get back from `S` samples, float32 `[S, P, D]`.

        Answers are the same for exchanged sides.

        Raises:
            TokensError: Tokens have another shape than the readout's.
        """
        readout = self._readouts[sensor]
        reduced = _reduced(readout, sensor, several)
        with torch.inference_mode(), on_one_core():
            found = readout.answer(reduced, self._queries(predicates, sensor))[0]
        return np.asarray(found.numpy(), np.float32)

    def why(self, predicates: Sequence[Predicate], sensor: str, evidence: Evidence) -> Floats:
        """Where the first block of a readout looks, `[P, rows, columns]` over the patches.

        The mean over heads; the sum is at most 1, the rest is on the class token.

        Raises:
            ValueError: There are no tokens of this modality, or no readout.
        """
        if sensor not in self._readouts:
            raise ValueError(f'{self._binder.model} has no readout of {sensor}')
        if evidence.tokens is None:
            raise ValueError(
                f'the {sensor} evidence has no tokens; use Binder.observe, not Binder.embed'
            )
        readout = self._readouts[sensor]
        reduced = _reduced(readout, sensor, [evidence.tokens])
        with torch.inference_mode():
            _, attention = readout(reduced, self._queries(predicates, sensor))
        looked = attention[0].mean(dim=0)[:, 1:].numpy()
        grid = self._binder.grid(modality_of(sensor))
        return np.asarray(looked.reshape(-1, *grid), np.float32)

    def _queries(self, predicates: Sequence[Predicate], sensor: str) -> Queries:
        """The questions of predicates, also of others than those that are read."""
        pairs = [_canonical(predicate)[0] for predicate in predicates]
        new = set(pairs) - self._questions.keys()
        known = self._questions | (self._complete(new) if new else {})
        found = [known[pair].queries[modality_of(sensor)] for pair in pairs]
        return Queries(*map(torch.cat, zip(*found, strict=True)))

    def _reads(self, sensor: str, predicate: Predicate) -> bool:
        """Whether a predicate asks this readout; its own calibration is for the vector."""
        is_own = predicate.calibration_space == self._binder.space
        return asks(predicate, sensor) and not (is_own and sensor in predicate.calibration)

    def _within_budget(self, wanted: Mapping[str, Bools]) -> Bools:
        """Which predicates are read, in order of addition, bool `[P]`."""
        rows = list(wanted.values())
        within = np.ones(len(rows[0]), bool)
        if len(within) <= MIN_READ or math.isinf(self.budget_ms):
            return within
        costs = {name: cost_of(self._readouts[name]) for name in wanted}
        fixed_ms = sum(costs[name].fixed_ms for name in wanted)
        each_ms = sum(wanted[name] * costs[name].predicate_ms for name in wanted)
        within = fixed_ms + np.cumsum(each_ms) <= self.budget_ms
        within[:MIN_READ] = True
        return within

    def _complete(self, wanted: set[Sides]) -> dict[Sides, _Question]:
        """The wanted questions; unknown ones are computed together."""
        known = {pair: self._questions[pair] for pair in wanted if pair in self._questions}
        new = sorted(wanted - known.keys())
        if not new:
            return known
        means = np.stack(
            [[self._binder.embed_text(list(side)).mean(axis=0) for side in pair] for pair in new]
        )
        # Of unit length, as in training.
        means /= np.maximum(np.linalg.norm(means, axis=-1, keepdims=True), 1e-6)
        positive, negative = torch.from_numpy(means).unbind(dim=1)
        with torch.inference_mode():
            asked = {n: r.ask(positive, negative) for n, r in self._binder.readouts.items()}
        calibration = self._binder.readout_calibration
        for row, pair in enumerate(new):
            queries = {n: Queries(*(q[row : row + 1] for q in qs)) for n, qs in asked.items()}
            fit = None if calibration is None else self._fit(calibration, queries, means[row])
            known[pair] = _Question(queries, fit)
        return known

    def _fit(
        self, calibration: Calibration, queries: Mapping[str, Queries], means: Floats
    ) -> Fit | None:
        """The calibration of a pair of sides, if the readouts know them.

        The readout that counts most must turn the text into a direction that it knows, and no
        other sensor may know a fact that is more like it.
        """
        return united([self._fit_of_part(part, queries, means) for part in calibration.parts])

    def _fit_of_part(
        self, calibration: Calibration, queries: Mapping[str, Queries], means: Floats
    ) -> Fit | None:
        like = calibration.facts_like(*means)
        fit = calibration.fit_like(like)
        if fit is None or calibration.positives is None:
            return fit
        positive, negative = means
        known = (self._binder.calibration, self._binder.readout_calibration)
        parts = (part for each in known if each is not None for part in each.parts)
        if is_foreign(calibration, parts, positive=positive, negative=negative):
            return None
        counts = {name: fit.weight.get(name, 0.0) for name in queries}
        best = max(counts, key=counts.__getitem__)
        if counts[best] < MIN_WEIGHT:
            return fit
        facts = fact_queries(self._binder.readouts[best], calibration).directions.numpy()
        direction = queries[best].directions[0].numpy()
        agreement = (like.share * np.sign(like.order)) @ facts @ direction
        return fit if float(agreement) >= MIN_AGREEMENT else None

    def _stack(
        self, sensor: str, keys: Sequence[tuple[Sides, bool] | None], places: NDArray[np.intp]
    ) -> _Asked:
        chosen = [key for place in places if (key := keys[place]) is not None]
        distinct = {
            pair: row for row, pair in enumerate(dict.fromkeys(pair for pair, _ in chosen))
        }
        found = [self._questions[pair].queries[modality_of(sensor)] for pair in distinct]
        chunks = [found[start : start + CHUNK] for start in range(0, len(found), CHUNK)]
        readout = self._readouts[sensor]
        with torch.inference_mode():
            prepared = [
                readout.prepare(Queries(*map(torch.cat, zip(*chunk, strict=True))))
                for chunk in chunks
            ]
        return _Asked(
            prepared=prepared,
            places=places,
            rows=np.array([distinct[pair] for pair, _ in chosen], np.intp),
            signs=np.array([-1.0 if turned else 1.0 for _, turned in chosen], np.float32),
        )


def fact_queries(readout: Readout, calibration: Calibration) -> Queries:
    """The facts of a calibration with sentences as a readout asks them; computed once."""
    known = _FACTS.get(readout)
    if known is None or known[0] is not calibration:
        assert calibration.positives is not None
        assert calibration.negatives is not None
        sides = map(torch.from_numpy, (calibration.positives, calibration.negatives))
        with torch.inference_mode():
            known = calibration, readout.ask(*sides)
        _FACTS[readout] = known
    return known[1]


def cost_of(readout: Readout) -> Cost:
    """The time of a readout on this machine; measured once, which takes some 50 ms."""
    if readout not in _COSTS:
        config = readout.config
        reduced = torch.zeros(1, config.tokens, config.width)
        few, many = (
            Queries(torch.zeros(count, config.width), torch.zeros(count, config.text_width))
            for count in (1, COST_PREDICATES)
        )
        fixed_ms, whole_ms = _time_ms(readout, reduced, few), _time_ms(readout, reduced, many)
        _COSTS[readout] = Cost(fixed_ms, max(whole_ms - fixed_ms, 0.0) / (COST_PREDICATES - 1))
    return _COSTS[readout]


def _time_ms(readout: Readout, reduced: torch.Tensor, queries: Queries) -> float:
    """The shortest of several times, which other load disturbs least."""
    times_s = []
    with torch.inference_mode(), on_one_core():
        prepared = readout.prepare(queries)
        readout.read(reduced, prepared)
        for _ in range(COST_REPEATS):
            started_s = time.perf_counter()
            readout.read(reduced, prepared)
            times_s.append(time.perf_counter() - started_s)
    return min(times_s) * 1e3


def _canonical(predicate: Predicate) -> tuple[Sides, bool]:
    """The sides in an order that does not depend on which is asked, and whether it is turned."""
    positive, negative = sides(predicate)
    return ((negative, positive), True) if negative < positive else ((positive, negative), False)


def _turned(fit: Fit | None, is_turned: bool) -> Fit | None:
    """The calibration of exchanged sides."""
    if fit is None or not is_turned:
        return fit
    offset = {name: -value for name, value in fit.offset.items()}
    return Fit(fit.slope, offset, fit.weight, fit.similarity)


def check_tokens(readout: Readout, modality: str, tokens: Tokens) -> None:
    """Refuse tokens that a readout cannot read.

    Raises:
        TokensError: They have another shape; the message names both.
    """
    wanted = (readout.config.tokens, readout.config.width)
    if tokens.shape != wanted:
        raise TokensError(
            f'{modality} tokens of shape {list(tokens.shape)} refused: the readout of the model '
            f'set reads {list(wanted)}; load the same model set in both processes'
        )


def _reduced(readout: Readout, sensor: str, several: Sequence[Tokens]) -> torch.Tensor:
    """Tokens of `S` samples as a readout reads them, float32 `[S, N, width]`."""
    for tokens in several:
        check_tokens(readout, sensor, tokens)
    return torch.from_numpy(np.stack(several)).float()
