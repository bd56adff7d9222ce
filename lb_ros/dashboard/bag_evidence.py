"""Evidence of a bag with tokens: its windows are encoded again where they are needed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoders import Binder
from encoders.model_sets.evidence import Evidence
from encoders.predicates.history import DEFAULT_TOKENS_BYTES, Observation
from lb_ros.dashboard.answers import Moment

if TYPE_CHECKING:
    from train.score.parts import Embeddings

# Moments at which questions are answered from tokens: encoding them again takes seconds.
MAX_MOMENTS = 100
MIN_STEP_S = 0.3
MAX_AGE_NS = 1_000_000_000


class BagEvidence:
    """The evidence of a bag whose vectors are known. Thread-safe.

    Tokens are not stored, because they are 25 times the size of the vectors. Those of the windows
    that were used last are kept in memory, within a number of bytes.

    Args:
        binder: The model set.
        bag: Bag folder or file.
        found: The vectors of its windows.
        tokens_bytes: Largest size of the tokens that are kept.
        tell: Called with the share of the windows that were encoded again, 0..1; None when done.
    """

    def __init__(
        self,
        binder: Binder,
        bag: Path,
        found: Embeddings,
        *,
        tokens_bytes: int = DEFAULT_TOKENS_BYTES,
        tell: Callable[[float | None], object] = lambda share: None,
    ) -> None:
        self._binder, self._bag, self._found, self._tell = binder, bag, found, tell
        order = found.stamp_ns.argsort(kind='stable')
        self._rows = {
            str(topic): order[found.topic[order] == topic] for topic in np.unique(found.topic)
        }
        self._tokens_bytes, self._used_bytes = tokens_bytes, 0
        self._kept: OrderedDict[int, Evidence] = OrderedDict()
        self._lock = threading.Lock()

    def newest(self, modality: str, stamp_ns: int) -> tuple[int, Evidence]:
        """Stamp and evidence of the last window of a modality at a time.

        Raises:
            ValueError: There is none, or its tokens cannot be read.
        """
        rows = [r for r in self._newest(stamp_ns) if self._found.modality[r] == modality]
        if not rows:
            raise ValueError(f'the bag has no {modality} up to that time')
        row = max(rows, key=lambda each: self._found.stamp_ns[each])
        evidence = self._evidence([row])[row]
        if evidence.tokens is None:
            raise ValueError(f'that {modality} window could not be read again')
        return int(self._found.stamp_ns[row]), evidence

    def at(self, time_ns: int) -> dict[str, list[Evidence]]:
        """The newest evidence of every sensor at a time, by modality, if not older than 1 s."""
        rows = [r for r in self._newest(time_ns) if self._is_fresh(r, time_ns)]
        found: dict[str, list[Evidence]] = {}
        for row, evidence in self._evidence(rows).items():
            found.setdefault(str(self._found.modality[row]), []).append(evidence)
        return found

    def moments(self) -> list[Moment]:
        """Evenly spaced moments of the bag, with tokens."""
        first_ns, last_ns = int(self._found.stamp_ns.min()), int(self._found.stamp_ns.max())
        duration_s = (last_ns - first_ns) * 1e-9
        count = max(1, min(MAX_MOMENTS, int(duration_s / MIN_STEP_S)))
        times_ns = np.linspace(first_ns, last_ns, count + 1).round().astype(np.int64).tolist()
        by_time = {}
        used: set[int] = set()
        for time_ns in times_ns:
            rows = [r for r in self._newest(time_ns) if self._is_fresh(r, time_ns)]
            by_time[time_ns] = [row for row in rows if row not in used]
            used.update(rows)
        evidence = self._evidence(sorted(used))
        return [
            (
                max(int(self._found.stamp_ns[row]) for row in rows),
                {str(self._found.modality[row]): self._observed(row, evidence) for row in rows},
            )
            for rows in by_time.values()
            if rows
        ]

    def _observed(self, row: int, evidence: Mapping[int, Evidence]) -> Observation:
        return Observation(evidence[row], int(self._found.stamp_ns[row]))

    def _newest(self, time_ns: int) -> list[int]:
        """The last window of every topic up to a time."""
        found = []
        for rows in self._rows.values():
            place = int(np.searchsorted(self._found.stamp_ns[rows], time_ns, side='right'))
            if place:
                found.append(int(rows[place - 1]))
        return found

    def _is_fresh(self, row: int, time_ns: int) -> bool:
        return bool(time_ns - int(self._found.stamp_ns[row]) <= MAX_AGE_NS)

    def _evidence(self, rows: Sequence[int]) -> dict[int, Evidence]:
        """Evidence of some windows, with tokens where the model set has a readout of them."""
        with self._lock:
            known = {row: self._kept[row] for row in rows if row in self._kept}
            missing = [
                row
                for row in rows
                if row not in known and self._found.modality[row] in self._binder.readouts
            ]
            known |= self._again(missing) if missing else {}
            for row in rows:
                if row in known:
                    self._keep(row, known[row])
        return {row: known.get(row) or self._vector(row) for row in rows}

    def _again(self, rows: Collection[int]) -> dict[int, Evidence]:
        """Encode windows again; those that the bag no longer holds are missing."""
        from train.bags.folder import BagError
        from train.score.again import Place, evidence_again, windows_again

        found = self._found
        places = {
            Place(str(found.modality[r]), str(found.topic[r]), int(found.log_ns[r])): r
            for r in rows
        }
        self._tell(0.0)
        try:
            again = windows_again(self._bag, list(places), configs=self._binder.preprocessing)
            windows = ((places[place], window) for place, window in again)
            encoded = evidence_again(
                self._binder, windows, done=lambda count: self._tell(count / len(places))
            )
        except (BagError, OSError):  # it was moved meanwhile: its vectors are still known
            encoded = {}
        finally:
            self._tell(None)
        return {
            row: replace(each, invalid_reason=str(found.invalid_reason[row]))
            for row, each in encoded.items()
        }

    def _vector(self, row: int) -> Evidence:
        return Evidence(self._found.vectors[row], None, str(self._found.invalid_reason[row]))

    def _keep(self, row: int, evidence: Evidence) -> None:
        if evidence.tokens is None:
            return
        if row not in self._kept:
            self._used_bytes += evidence.tokens.nbytes
        self._kept[row] = evidence
        self._kept.move_to_end(row)
        while self._used_bytes > self._tokens_bytes:
            oldest = self._kept.popitem(last=False)[1]
            assert oldest.tokens is not None
            self._used_bytes -= oldest.tokens.nbytes
