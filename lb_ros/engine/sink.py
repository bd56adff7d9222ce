"""Interface of the receiver of a worker's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lb_ros.engine.arrival import Encoded


class Sink(Protocol):
    """Receives the embeddings of a worker; called on its thread while it holds no lock.

    The nodes of a process implement it as `lb_ros.nodes.process.NodeSink`.
    """

    def wants(self, sensor: str) -> bool:
        """Return whether embeddings of a modality or a part of its view are used.

        Messages of which nothing is used wait.
        """
        ...

    def wants_tokens(self, sensor: str) -> bool:
        """Return whether the tokens of a sensor are used, where the model set has a readout."""
        ...

    def receive(self, batch: Sequence[Encoded]) -> None:
        """Accept embeddings that were computed together; at least one."""
        ...
