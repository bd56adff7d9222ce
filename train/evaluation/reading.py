"""What a model set reads of labelled bags, by the predicate bank that the live nodes use.

Bags are read one by one: tokens of a sample take up to 100 KB per sensor, so only scores and
vectors are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import Binder, Predicate, PredicateBank
from encoders.model_sets.evidence import Evidence
from encoders.predicates.wording import deny
from encoders.preprocess import from_stored
from train.bags.load import LoadReport, extracted_bags, joined_parts
from train.bags.samples import Samples, stored_tensor
from train.bags.topics import TOPICS
from train.bags.visible import hidden_facts
from train.evaluation.evaluate import heard
from train.phrasings import Phrasings

BATCH = 64
FUSED = 'fused'
Floats = NDArray[np.float32]
Way = Literal['sides', 'exchanged', 'sentence', 'denial']
# All sentences of both sides; the same with exchanged sides; one sentence alone; its denial.
WAYS: tuple[Way, ...] = ('sides', 'exchanged', 'sentence', 'denial')
# These ask for the opposite.
OPPOSITE: tuple[Way, ...] = ('exchanged', 'denial')


@dataclass(frozen=True, slots=True)
class Asked:
    """A wording and a way of asking."""

    wording: str
    way: Way


@dataclass(frozen=True, slots=True)
class Readings:
    """Scores of all samples and predicates for one way of asking.

    Attributes:
        scores: float32 `[N, P]` by modality, only their order is meaningful, and log-odds under
            `fused` if the set is calibrated. NaN where the sensor is silent or the wording has no
            sentences. For `OPPOSITE` ways, they are those of the opposite.
        calibrated: bool `[P]`, whether the probabilities are calibrated.
    """

    scores: dict[str, Floats]
    calibrated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReadBags:
    """All samples of some bags, and what was read of them.

    Attributes:
        samples: The samples; their inputs are unit vectors float32 `[N, D]`.
        hidden: bool `[N, P]`, facts about things that are not in view (`hidden_facts`).
        readings: By way of asking.
        report: What was used.
    """

    samples: Samples
    hidden: NDArray[np.bool_]
    readings: dict[Asked, Readings]
    report: LoadReport


@dataclass(frozen=True, slots=True)
class _ReadBag:
    """The same of one bag, with the problems of reading it."""

    samples: Samples
    hidden: NDArray[np.bool_]
    readings: dict[Asked, Readings]
    problems: list[str]


@dataclass(frozen=True)
class Reader:
    """Asks predicates of samples in several wordings, and in all ways.

    Args:
        binder: The model set.
        wordings: Phrasings by the name of the wording.
    """

    binder: Binder
    wordings: Mapping[str, Phrasings]
    _banks: dict[tuple[str, ...], PredicateBank] = field(default_factory=dict)

    @property
    def asked(self) -> list[Asked]:
        """All ways of asking."""
        return [Asked(wording, way) for wording in self.wordings for way in WAYS]

    def read(
        self, predicates: Sequence[str], observed: Mapping[str, Sequence[Evidence | None]]
    ) -> dict[Asked, Readings]:
        """Read predicates from the evidence of `N` samples by modality; None if it is missing."""
        bank = self._bank(tuple(predicates))
        rows = {m: _rows(bank, m, evidence) for m, evidence in observed.items()}
        tables = {m: found.values[:, 1] for m, found in rows.items()}
        calibrated = bank.table.calibrated
        if self.binder.calibration is not None or self.binder.readout_calibration is not None:
            tables[FUSED], calibrated = _fused(bank, rows)
        column_of = {name: column for column, name in enumerate(bank.table.names)}
        readings = {}
        for asked in self.asked:
            # The last column, of NaN, is that of predicates without sentences in this wording.
            columns = [column_of.get(_key(asked, name), -1) for name in predicates]
            readings[asked] = Readings(
                {m: _with_unread(table)[:, columns] for m, table in tables.items()},
                np.append(calibrated, False)[columns],
            )
        return readings

    def _bank(self, predicates: tuple[str, ...]) -> PredicateBank:
        if predicates not in self._banks:
            usual = next(iter(self.wordings.values()))
            for name in predicates:
                if not any(wording.knows(name) for wording in self.wordings.values()):
                    usual.sentences(name)  # an error that names a truth without any wording
            bank = PredicateBank([], self.binder, readout_budget_ms=math.inf)
            added = [p for asked in self.asked for p in self._predicates(asked, predicates)]
            refused = bank.try_extend(added)
            bank.extend([p for p in added if p.name not in refused])
            self._banks[predicates] = bank
        return self._banks[predicates]

    def _predicates(self, asked: Asked, predicates: Sequence[str]) -> Iterator[Predicate]:
        phrasings = self.wordings[asked.wording]
        for name in filter(phrasings.knows, predicates):
            sentences = phrasings.sentences(name)
            key, first = _key(asked, name), sentences.positive[0]
            match asked.way:
                case 'sides':
                    yield Predicate(key, sentences.positive, sentences.negative)
                case 'exchanged':
                    yield Predicate(key, sentences.negative, sentences.positive)
                case 'sentence':
                    yield Predicate.from_sentence(first, name=key)
                case 'denial':
                    yield Predicate.from_sentence(deny(first), name=key)


def read_bags(
    binder: Binder,
    bags: Sequence[Path],
    *,
    wordings: Mapping[str, Phrasings],
    cache: Path | None = None,
    workers: int = 1,
) -> ReadBags:
    """Read the predicates of all labelled samples of some bags.

    Args:
        binder: The model set; its modalities without a topic in bags are left out.
        bags: Bag folders or files.
        wordings: Phrasings by the name of the wording; one of them must know each truth.
        cache: See `load_samples`.
        workers: See `load_samples`.
    """
    configs = {m: config for m, config in binder.preprocessing.items() if m in TOPICS}
    extracted = extracted_bags(bags, configs, cache=cache, workers=workers)
    reader = Reader(binder, wordings)
    parts = [_read_bag(reader, samples, problems) for samples, problems in extracted]
    samples, report = joined_parts(
        [(part.samples, part.problems) for part in parts], tuple(configs)
    )
    kept = [part for part in parts if len(part.samples)]
    samples = replace(samples, inputs=heard(samples.inputs))
    if not kept:
        return ReadBags(samples, np.zeros(samples.truth.shape, bool), {}, report)
    hidden = joined_tables([(p.samples, p.hidden) for p in kept], samples.predicates, fill=False)
    readings = {asked: _joined_readings(kept, asked, samples.predicates) for asked in reader.asked}
    return ReadBags(samples, hidden, readings, report)


@torch.inference_mode()
def observe_stored(binder: Binder, modality: str, stored: NDArray[Any]) -> list[Evidence]:
    """Evidence of stored inputs `[N, ...]`, in batches."""
    found: list[Evidence] = []
    config = binder.preprocessing[modality]
    for start in range(0, len(stored), BATCH):
        inputs = from_stored(stored_tensor(stored[start : start + BATCH]), config)
        found += binder.encode_evidence({modality: inputs})[modality]
    return found


def observe_inputs(
    binder: Binder, inputs: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, list[Evidence]]]:
    """What a bag's stored inputs `[N, ...]` contribute, by modality.

    Returns:
        Vectors float32 `[N, D]`, zeros of sensors that the bag lacks; the evidence of the others.
    """
    observed = {
        name: observe_stored(binder, name, stored)
        for name, stored in inputs.items()
        if stored.any()
    }
    width = binder.embed_text(['nothing']).shape[1]
    vectors = {
        name: np.stack([each.vector for each in observed[name]])
        if name in observed
        else np.zeros((len(stored), width), np.float32)
        for name, stored in inputs.items()
    }
    return vectors, observed


def _read_bag(reader: Reader, samples: Samples, problems: list[str]) -> _ReadBag:
    hidden = hidden_facts(samples)
    if not len(samples):
        return _ReadBag(samples, hidden, {}, problems)
    vectors, observed = observe_inputs(reader.binder, samples.inputs)
    # Without a message near a sample, its stored input is 0.
    heard_of = {
        modality: [
            one if input_.any() else None
            for one, input_ in zip(observed[modality], stored, strict=True)
        ]
        if modality in observed
        else [None] * len(stored)
        for modality, stored in samples.inputs.items()
    }
    readings = reader.read(samples.predicates, heard_of)
    return _ReadBag(replace(samples, inputs=vectors), hidden, readings, problems)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a bank reads of each sample, `[N, 2, P]`, and what of it from tokens, bool `[N, P]`.

    `heard` are the samples with evidence, bool `[N]`; the values of others are NaN.
    """

    values: Floats
    from_tokens: NDArray[np.bool_]
    heard: NDArray[np.bool_]


def _rows(bank: PredicateBank, modality: str, evidence: Sequence[Evidence | None]) -> _Rows:
    shape = (len(evidence), 2, len(bank.table.names))
    values = np.full(shape, np.nan, np.float32)
    from_tokens = np.zeros((shape[0], shape[2]), bool)
    heard = np.array([each is not None for each in evidence], bool)
    for index, each in enumerate(evidence):
        if each is not None:
            values[index], from_tokens[index] = bank.read(modality, each)
    return _Rows(values, from_tokens, heard)


def _fused(bank: PredicateBank, rows: Mapping[str, _Rows]) -> tuple[Floats, NDArray[np.bool_]]:
    """Fused log-odds of each sample, `[N, P]`, and which predicates are calibrated, `[P]`."""
    count = len(next(iter(rows.values())).heard)
    fused = np.zeros((count, len(bank.table.names)), np.float32)
    calibrated = np.ones(len(bank.table.names), bool)
    for index in range(count):
        heard = {m: found for m, found in rows.items() if found.heard[index]}
        scores = bank.weigh(
            {m: found.values[index : index + 1] for m, found in heard.items()},
            from_tokens={m: found.from_tokens[index : index + 1] for m, found in heard.items()},
        )
        fused[index] = scores.log_odds
        calibrated &= scores.calibrated
    return fused, calibrated


def _with_unread(table: Floats) -> Floats:
    return np.pad(table, ((0, 0), (0, 1)), constant_values=np.nan)


def _key(asked: Asked, name: str) -> str:
    return f'{asked.wording} {asked.way}: {name}'


def _joined_readings(
    parts: Sequence[_ReadBag], asked: Asked, predicates: Sequence[str]
) -> Readings:
    modalities = dict.fromkeys(m for part in parts for m in part.readings[asked].scores)
    calibrated = np.zeros(len(predicates), bool)
    for part in parts:
        columns = [predicates.index(name) for name in part.samples.predicates]
        calibrated[columns] = part.readings[asked].calibrated
    tables = {
        m: joined_tables(
            [(part.samples, part.readings[asked].scores[m]) for part in parts],
            predicates,
            fill=np.nan,
        )
        for m in modalities
    }
    # A sensor that no bag has is not evaluated.
    heard = {m: table for m, table in tables.items() if m == FUSED or np.isfinite(table).any()}
    return Readings(heard, calibrated)


def joined_tables(
    parts: Sequence[tuple[Samples, NDArray[Any]]], predicates: Sequence[str], *, fill: Any
) -> NDArray[Any]:
    """Tables `[n, p]` of the samples and predicates of each bag as one table `[N, P]`."""
    kind = parts[0][1].dtype if parts else np.float32
    table = np.full((sum(len(s) for s, _ in parts), len(predicates)), fill, kind)
    start = 0
    for samples, part in parts:
        rows = slice(start, start + len(samples))
        table[rows, [predicates.index(name) for name in samples.predicates]] = part
        start = rows.stop
    return table
