"""Embeddings of a bag, and their parts on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from encoders.atomic import atomic_file
from train.bags.reader import BagReport
from train.score.windows import Window

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
        facts: float16 `[N, F]`, the log-odds of all calibrated facts (`FactReader.log_odds`), 0
            where a sensor has no readout; None if they were not asked for.
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
    facts: NDArray[np.float16] | None = None

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
class Prepared:
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
class Encoded:
    """Vectors float32 `[n, D]` of windows, and what was read from their tokens."""

    vectors: NDArray[np.float32]
    token_odds: NDArray[np.float32] | None = None
    taught: NDArray[np.float32] | None = None
    facts: NDArray[np.float16] | None = None


def save_part(path: Path, encoded: Encoded, prepared: Prepared, report: BagReport) -> None:
    """Write a part with all problems so far, atomically."""
    windows = prepared.windows
    names = ('token_odds', 'taught', 'facts')
    read: dict[str, Any] = {n: table for n in names if (table := getattr(encoded, n)) is not None}
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


def finished_parts(store: Path, report: BagReport, progress: Progress) -> tuple[list[Path], int]:
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


def load_parts(parts: Sequence[Path]) -> Embeddings:
    """The embeddings of some parts, in order."""
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
