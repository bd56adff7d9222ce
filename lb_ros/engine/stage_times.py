"""Processing times of recent messages in each stage, for `/diagnostics`."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

KEPT = 256


class StageTimes:
    """Most recent times of every stage. Safe to use from several threads."""

    def __init__(self) -> None:
        self._times_ms: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, **stages_ms: float) -> None:
        """Record the time that a message took in some stages, in milliseconds."""
        with self._lock:
            for stage, took_ms in stages_ms.items():
                self._times_ms.setdefault(stage, deque(maxlen=KEPT)).append(took_ms)

    def values(self) -> dict[str, str]:
        """Return medians and 95th percentiles: `encode_ms_p50`, `encode_ms_p95` and so on."""
        with self._lock:
            kept = {stage: list(times) for stage, times in self._times_ms.items()}
        return {
            f'{stage}_ms_p{share}': f'{np.percentile(times, share):.2f}'
            for stage, times in kept.items()
            for share in (50, 95)
        }
