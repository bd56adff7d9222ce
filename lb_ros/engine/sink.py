"""Who receives the evidence of a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lb_ros.engine.arrival import Encoded


class Sink(Protocol):
    """Receives the embeddings of a worker, on its thread and while it holds no lock.

    In a process of nodes it is `lb_ros.nodes.process.NodeSink`.
    """

    def wants(self, modality: str) -> bool:
        """Whether anybody uses embeddings of a modality; messages of the others wait."""
        ...

    def receive(self, batch: Sequence[Encoded]) -> None:
        """Take the embeddings that were computed together; at least one."""
        ...
