"""A sink that keeps what it receives."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lb_ros.engine.arrival import Encoded


@dataclass
class QueueSink:
    """Puts every embedding into a queue."""

    queue: queue.Queue[Encoded] = field(default_factory=queue.Queue)
    wants: Callable[[str], bool] = lambda modality: True
    wants_tokens: Callable[[str], bool] = lambda modality: True

    def receive(self, batch: Sequence[Encoded]) -> None:
        for encoded in batch:
            self.queue.put(encoded)
