"""Embeddings of all windows of a bag, stored in parts that survive an interruption."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import MODALITIES, SENSED, Binder, Predicate, PredicateBank
from encoders.decode.view import view_of
from encoders.modalities import DESCRIBED
from encoders.model_sets.golden import golden_input
from encoders.predicates.lessons import Lessons
from encoders.predicates.taught_reader import ROWS
from encoders.preprocess import Config, is_series
from encoders.regions import Region, modality_of
from train.bags.reader import BagReport
from train.score.facts import FactReader
from train.score.parts import (
    Embeddings,
    Encoded,
    Prepared,
    Progress,
    finished_parts,
    load_parts,
    save_part,
)
from train.score.windows import SensorTopics, Window, read_windows

PART_WINDOWS = 64
BATCH = 16
IDENTITY = 'identity.json'
# Version of stored parts; 3 counts messages that could not be used.
FORMAT = 3
PROBE_TOLERANCE = 1e-3
# Reading tokens offline may take longer than between two frames of a robot.
UNLIMITED = math.inf


@dataclass(frozen=True)
class BagSource:
    """A bag with the settings for reading it.

    Attributes:
        path: Bag folder or file.
        topics: Names of its sensor topics.
        modalities: Modalities to read.
        max_rate_hz: Upper limit of windows per modality.
        regions: Parts of views that are embedded as sensors of their own.
        configs: Preprocessing by modality, which names the channels and the length of series.
    """

    path: Path
    topics: SensorTopics
    modalities: tuple[str, ...]
    max_rate_hz: float
    regions: tuple[Region, ...] = ()
    configs: Mapping[str, Config] = field(default_factory=dict)

    @classmethod
    def of(
        cls, path: Path, binder: Binder, *, topics: SensorTopics, max_rate_hz: float
    ) -> BagSource:
        """A bag with all sensors that a model set can encode and that messages feed."""
        sensed = tuple(m for m in SENSED if m in binder.modalities)
        return cls(path, topics, sensed, max_rate_hz, configs=dict(binder.preprocessing))

    @property
    def sensors(self) -> tuple[str, ...]:
        """Names of the parts of views as sensors."""
        return tuple(region.sensor for region in self.regions)

    def windows(self, report: BagReport) -> Iterator[Window]:
        """See `read_windows`."""
        return read_windows(
            self.path,
            self.topics,
            modalities=self.modalities,
            max_rate_hz=self.max_rate_hz,
            report=report,
            regions=self.regions,
            configs=self.configs,
        )


def embed_bag(
    binder: Binder,
    source: BagSource,
    *,
    store: Path,
    report: BagReport,
    progress: Progress = lambda end_ns: None,
    predicates: Sequence[Predicate] = (),
    lessons: Lessons | None = None,
    facts: FactReader | None = None,
) -> Embeddings:
    """Decode, preprocess and encode every window as the live nodes do.

    Where the model set has readouts, predicates are read when a window is encoded, because tokens
    are too large to be stored: 25 times the size of a vector with `lb-mini`.

    Args:
        binder: The encoders.
        source: The bag.
        store: Folder for finished parts. Parts of an interrupted run are reused; parts of another
            bag, model or selection of topics, and of other predicates if they are read from
            tokens, are deleted.
        report: Filled with what could not be used.
        progress: Called with the recording time that was reached.
        predicates: Predicates to read from tokens, in the order of `token_odds`.
        lessons: What some of them were taught.
        facts: Facts to read from tokens.

    Raises:
        FileNotFoundError: There is no such bag.
    """
    bank = None
    if binder.readouts and predicates:
        bank = PredicateBank(
            predicates,
            binder,
            readout_budget_ms=UNLIMITED,
            lessons=lessons,
            regions=source.sensors,
        )
    _prepare_store(store, binder, source, report, bank=bank, facts=facts)
    # Only problems found while encoding; problems found while reading recur in every run.
    notes = BagReport(source.path)
    parts, done = finished_parts(store, notes, progress)
    for encoded, prepared in _encoded(binder, source, done, report, bank=bank, facts=facts):
        _tell(prepared, notes)
        name = f'part-{len(parts):06d}'
        save_part(store / f'{name}.npz', encoded, prepared, notes)
        parts.append(store / f'{name}.npz')
        if prepared.windows:
            progress(prepared.windows[-1].log_ns)
    report.dropped += notes.dropped
    report.notes.extend(notes.notes)
    return load_parts(parts)


def _encoded(
    binder: Binder,
    source: BagSource,
    done: int,
    report: BagReport,
    *,
    bank: PredicateBank | None,
    facts: FactReader | None,
) -> Iterator[tuple[Encoded, Prepared]]:
    """Yield parts in order; each PyTorch thread decodes and encodes its own part.

    Threads that share the work of one part would wait for each other at every layer.
    """
    windows = islice(source.windows(report), done, None)
    workers = torch.get_num_threads()

    def work(several: Sequence[Window]) -> tuple[Encoded, Prepared]:
        prepared = _prepare(binder, several)
        return _encode(binder, prepared, bank, facts), prepared

    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            at_work: deque[Future[tuple[Encoded, Prepared]]] = deque()
            while True:
                several = list(islice(windows, PART_WINDOWS))
                if several:
                    at_work.append(pool.submit(work, several))
                while at_work and (len(at_work) > workers or not several):
                    yield at_work.popleft().result()
                if not several:
                    return
    finally:
        torch.set_num_threads(workers)


def _prepare(binder: Binder, windows: Sequence[Window]) -> Prepared:
    prepared = Prepared([], [], [], len(windows), [])
    for window in windows:
        try:
            raw, repaired = window.decoded()
            tensor, share = binder.preprocess_with_validity(window.modality, raw)
        except ValueError as error:
            prepared.unusable.append((window.topic, str(error)))
            continue
        if repaired:
            prepared.notes.append((window.topic, repaired))
        objection = binder.objection(window.modality, raw)
        reason = '' if objection is None else objection.reason
        # Nothing is wrong with a window that began before its stream did.
        if objection is not None and not (window.is_first and objection.fault == 'gap'):
            prepared.notes.append((window.topic, objection.line))
        elif objection is None:
            remarks = binder.remarks(window.modality, raw)
            prepared.notes.extend((window.topic, line) for line in remarks)
        prepared.add(window, tensor, share, reason)
        for sensor, place in window.places.items():
            view = view_of(raw, window.modality, place)
            part = binder.preprocess_with_validity(window.modality, view.raw)
            prepared.add(replace(window, modality=sensor), *part, reason or view.missing)
    return prepared


def _tell(prepared: Prepared, report: BagReport) -> None:
    for topic, error in prepared.unusable:
        report.skipped(topic, error)
    for topic, line in prepared.notes:
        report.noted(topic, line)


def _encode(
    binder: Binder, prepared: Prepared, bank: PredicateBank | None, facts: FactReader | None
) -> Encoded:
    count = len(prepared.windows)
    vectors: dict[int, NDArray[np.float32]] = {}
    odds = taught = known = None
    if facts is not None:
        known = np.zeros((count, len(facts.calibration.names)), np.float16)
    if bank is not None:
        odds = np.full((count, len(bank.predicates)), np.nan, np.float32)
        if bank.taught:
            taught = np.full((count, ROWS, len(bank.predicates)), np.nan, np.float32)
    for name in MODALITIES:
        mine = [i for i, w in enumerate(prepared.windows) if modality_of(w.modality) == name]
        for begin in range(0, len(mine), BATCH):
            chosen = mine[begin : begin + BATCH]
            batch = torch.cat([prepared.inputs[i] for i in chosen])
            if bank is None and facts is None:
                vectors.update(zip(chosen, binder.encode({name: batch})[name], strict=True))
                continue
            found = binder.encode_evidence({name: batch})[name]
            for index, evidence in zip(chosen, found, strict=True):
                vectors[index] = evidence.vector
                sensor = prepared.windows[index].modality
                if bank is not None and odds is not None:
                    values, read = bank.read(sensor, evidence)
                    odds[index, read] = values[1, read]
                    if taught is not None:
                        taught[index] = values[2:]
                if facts is not None and known is not None:
                    believed = facts.log_odds(sensor, evidence)
                    known[index] = 0 if believed is None else believed
    if not vectors:
        return Encoded(np.zeros((0, 0), np.float32), odds, taught, known)
    return Encoded(np.stack([vectors[i] for i in range(count)]), odds, taught, known)


def fingerprint(bag: Path) -> str:
    """Names, sizes and modification times of the files of a bag, as text."""
    files = [bag] if bag.is_file() else sorted(p for p in bag.iterdir() if p.is_file())
    stats = [(f.name, f.stat()) for f in files]
    return json.dumps([(name, s.st_size, s.st_mtime_ns) for name, s in stats])


def _prepare_store(
    store: Path,
    binder: Binder,
    source: BagSource,
    report: BagReport,
    *,
    bank: PredicateBank | None,
    facts: FactReader | None,
) -> None:
    identity = {
        'format': FORMAT,
        'bag': fingerprint(source.path),
        'model': binder.model,
        'space': binder.space,
        'precision': binder.precision,
        'topics': {m: list(named) for m, named in source.topics.named.items()},
        'modalities': list(source.modalities),
        'max_rate_hz': source.max_rate_hz,
    }
    described = source.configs.get(DESCRIBED)
    if DESCRIBED in source.modalities and described is not None and is_series(described):
        identity['channels'] = list(described.sources)
    if source.regions:
        identity['regions'] = [str(region) for region in source.regions]
    if bank is not None:
        identity |= {'readouts': dict(binder.readout_ids), 'predicates': _digest(bank)}
    if facts is not None:
        identity['facts'] = facts.identity
    probe = probe_vectors(binder, source.modalities)
    try:
        known = json.loads((store / IDENTITY).read_text())
        stored = np.array(known.pop('probe'), np.float32)
    except (OSError, ValueError, KeyError):
        known, stored = None, np.zeros(0, np.float32)
    same_model = stored.shape == probe.shape and np.allclose(stored, probe, atol=PROBE_TOLERANCE)
    if known == identity and same_model:
        return
    if known is not None:
        what = 'bag, model or topics' if bank is None else 'bag, model, topics or predicates'
        report.problem(f'{store}: of another {what}; starting anew')
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    (store / IDENTITY).write_text(json.dumps(identity | {'probe': probe.tolist()}))


def _digest(bank: PredicateBank) -> str:
    """Identifies the texts of predicates, in order, and what they were taught."""
    asked: list[object] = [
        (p.name, p.sentences, p.modalities, bool(p.calibration)) for p in bank.predicates
    ]
    for name, taught in bank.taught.items():
        heads = [head.identity for head in (taught.tokens, taught.vectors) if head is not None]
        asked.append((name, heads))
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def probe_vectors(binder: Binder, modalities: Sequence[str]) -> NDArray[np.float32]:
    """Embeddings of fixed inputs, `[M, D]`, which distinguish two trainings of the same name."""
    rows = [
        binder.embed(**{name: golden_input(name, binder.preprocessing[name])})[name][0]
        for name in modalities
    ]
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)
