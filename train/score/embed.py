"""Embeddings of all windows of a bag, stored in parts that survive an interruption."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders import MODALITIES, SENSED, Binder, Predicate, PredicateBank
from encoders.atomic import atomic_file
from encoders.decode.view import view_of
from encoders.model_sets.golden import golden_input
from encoders.predicates.lessons import Lessons
from encoders.predicates.taught_reader import ROWS
from encoders.preprocess import Config
from encoders.regions import Region, modality_of
from train.bags.reader import BagReport
from train.score.windows import SensorTopics, Window, read_windows

PART_WINDOWS = 64
BATCH = 16
IDENTITY = 'identity.json'
# Version of stored parts; 3 counts messages that could not be used.
FORMAT = 3
PROBE_TOLERANCE = 1e-3
# Reading tokens offline may take longer than between two frames of a robot.
UNLIMITED = math.inf

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Embeddings of one bag in recorded order, `N` in total.

    Attributes:
        vectors: float32 `[N, D]`, unit length.
        modality: `[N]` names of modalities, or of parts of views (`depth@gripper`).
        topic: `[N]` names.
        stamp_ns, start_ns, log_ns: int64 `[N]`; see `Window`.
        valid: float32 `[N]`, the valid share of the input.
        invalid_reason: `[N]`, why predicates ignore it; empty if they use it.
        token_odds: float32 `[N, P]`, log-odds that readouts read from the tokens of each window,
            by predicate; NaN where a predicate is read from the vector. None without predicates or
            readouts.
        taught: float32 `[N, ROWS, P]`, what taught predicates read of each window
            (`TaughtReader.rows`); None if none was taught.
    """

    vectors: NDArray[np.float32]
    modality: NDArray[np.str_]
    topic: NDArray[np.str_]
    stamp_ns: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    log_ns: NDArray[np.int64]
    valid: NDArray[np.float32]
    invalid_reason: NDArray[np.str_]
    token_odds: NDArray[np.float32] | None = None
    taught: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def evidence(self) -> Embeddings:
        """The embeddings that predicates use."""
        kept = self.invalid_reason == ''
        columns: dict[str, Any] = {}
        for name in self.__slots__:
            column = getattr(self, name)
            columns[name] = None if column is None else column[kept]
        return Embeddings(**columns)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Windows with their network inputs.

    Attributes:
        looked_at: Number of windows, including unusable ones.
        unusable: Topic and error of each unusable window.
        invalid_reason: For each window, why predicates ignore it; empty if they use it.
        notes: Topic and line for each window that was repaired, or that predicates ignore.
    """

    windows: list[Window]
    inputs: list[Tensor]
    valid: list[float]
    looked_at: int
    unusable: list[tuple[str, str]]
    invalid_reason: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def add(self, window: Window, inputs: Tensor, valid: float, invalid_reason: str) -> None:
        """Append the input of a window or of a part of its view."""
        self.windows.append(window)
        self.inputs.append(inputs)
        self.valid.append(valid)
        self.invalid_reason.append(invalid_reason)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Vectors float32 `[n, D]` of windows, and what was read from their tokens, `[n, P]`."""

    vectors: NDArray[np.float32]
    token_odds: NDArray[np.float32] | None = None
    taught: NDArray[np.float32] | None = None


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
    _prepare_store(store, binder, source, report, bank)
    # Only problems found while encoding; problems found while reading recur in every run.
    notes = BagReport(source.path)
    parts, done = _finished(store, notes, progress)
    for encoded, prepared in _encoded(binder, source, done, report, bank):
        _tell(prepared, notes)
        name = f'part-{len(parts):06d}'
        _save(store / f'{name}.npz', encoded, prepared, notes)
        parts.append(store / f'{name}.npz')
        if prepared.windows:
            progress(prepared.windows[-1].log_ns)
    report.dropped += notes.dropped
    report.notes.extend(notes.notes)
    return _load(parts)


def _encoded(
    binder: Binder, source: BagSource, done: int, report: BagReport, bank: PredicateBank | None
) -> Iterator[tuple[_Encoded, _Prepared]]:
    """Yield parts in order; each PyTorch thread decodes and encodes its own part.

    Threads that share the work of one part would wait for each other at every layer.
    """
    windows = islice(source.windows(report), done, None)
    workers = torch.get_num_threads()

    def work(several: Sequence[Window]) -> tuple[_Encoded, _Prepared]:
        prepared = _prepare(binder, several)
        return _encode(binder, prepared, bank), prepared

    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            at_work: deque[Future[tuple[_Encoded, _Prepared]]] = deque()
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


def _prepare(binder: Binder, windows: Sequence[Window]) -> _Prepared:
    prepared = _Prepared([], [], [], len(windows), [])
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


def _tell(prepared: _Prepared, report: BagReport) -> None:
    for topic, error in prepared.unusable:
        report.skipped(topic, error)
    for topic, line in prepared.notes:
        report.noted(topic, line)


def _encode(binder: Binder, prepared: _Prepared, bank: PredicateBank | None) -> _Encoded:
    count = len(prepared.windows)
    vectors: dict[int, NDArray[np.float32]] = {}
    odds = taught = None
    if bank is not None:
        odds = np.full((count, len(bank.predicates)), np.nan, np.float32)
        if bank.taught:
            taught = np.full((count, ROWS, len(bank.predicates)), np.nan, np.float32)
    for name in MODALITIES:
        mine = [i for i, w in enumerate(prepared.windows) if modality_of(w.modality) == name]
        for begin in range(0, len(mine), BATCH):
            chosen = mine[begin : begin + BATCH]
            batch = torch.cat([prepared.inputs[i] for i in chosen])
            if bank is None or odds is None:
                vectors.update(zip(chosen, binder.encode({name: batch})[name], strict=True))
                continue
            found = binder.encode_evidence({name: batch})[name]
            for index, evidence in zip(chosen, found, strict=True):
                vectors[index] = evidence.vector
                values, read = bank.read(prepared.windows[index].modality, evidence)
                odds[index, read] = values[1, read]
                if taught is not None:
                    taught[index] = values[2:]
    if not vectors:
        return _Encoded(np.zeros((0, 0), np.float32), odds, taught)
    return _Encoded(np.stack([vectors[i] for i in range(count)]), odds, taught)


def _save(path: Path, encoded: _Encoded, prepared: _Prepared, report: BagReport) -> None:
    windows = prepared.windows
    found = {'token_odds': encoded.token_odds, 'taught': encoded.taught}
    read: dict[str, Any] = {name: table for name, table in found.items() if table is not None}
    with atomic_file(path) as file:
        np.savez(
            file,
            vectors=encoded.vectors,
            modality=np.array([w.modality for w in windows], np.str_),
            topic=np.array([w.topic for w in windows], np.str_),
            stamp_ns=np.array([w.stamp_ns for w in windows], np.int64),
            start_ns=np.array([w.start_ns for w in windows], np.int64),
            log_ns=np.array([w.log_ns for w in windows], np.int64),
            valid=np.array(prepared.valid, np.float32),
            invalid_reason=np.array(prepared.invalid_reason, np.str_),
            looked_at=np.array(prepared.looked_at),
            problems=np.array(report.notes.stored(), np.str_).reshape(-1, 3),
            **read,
        )


def _finished(store: Path, report: BagReport, progress: Progress) -> tuple[list[Path], int]:
    """Return the leading parts and their number of windows; restore their problems."""
    parts: list[Path] = []
    done = 0
    noted: list[list[str]] = []
    for path in sorted(store.glob('part-??????.npz')):
        try:
            with np.load(path) as part:
                looked_at, problems = int(part['looked_at']), part['problems'].tolist()
                reached = part['log_ns'][-1:]
        except (OSError, ValueError, KeyError, EOFError):
            break
        if path.name != f'part-{len(parts):06d}.npz':
            break
        parts.append(path)
        done += looked_at
        noted = problems  # each part contains the problems of all earlier ones
        for log_ns in reached:
            progress(int(log_ns))
    report.notes.restore(noted)
    return parts, done


def _load(parts: Sequence[Path]) -> Embeddings:
    columns: dict[str, list[NDArray[np.generic]]] = {
        name: [] for name in Embeddings.__dataclass_fields__
    }
    for path in parts:
        with np.load(path) as part:
            if len(part['stamp_ns']):
                for name, pieces in columns.items():
                    if name in part:
                        pieces.append(part[name])
    if not columns['vectors']:
        nothing = np.zeros(0, np.int64)
        names = np.zeros(0, np.str_)
        empty = np.zeros((0, 0), np.float32)
        shares = empty[:, 0:0].ravel()
        return Embeddings(empty, names, names, nothing, nothing, nothing, shares, names)
    return Embeddings(**{name: np.concatenate(found) for name, found in columns.items() if found})


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
    bank: PredicateBank | None,
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
    if source.regions:
        identity['regions'] = [str(region) for region in source.regions]
    if bank is not None:
        identity |= {'readouts': dict(binder.readout_ids), 'predicates': _digest(bank)}
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
