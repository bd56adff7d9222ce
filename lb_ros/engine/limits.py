"""What sensors may use of the engine, and who comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of all sensors of a process; they may be replaced while it works.

    Attributes:
        max_rate_hz: Upper limit of embeddings per second and sensor; 0 for none.
        max_age_ms: Messages that waited longer than this are dropped as stale.
        rates_hz: Modality to an upper limit of its own; 0 or missing: `max_rate_hz`.
        priorities: Modality to its priority, 0 where missing. The sensors of a higher one are
            encoded first where not all that are due fit one call, and shed last where memory runs
            out.
    """

    max_rate_hz: float = 0.0
    max_age_ms: float = 1000.0
    rates_hz: Mapping[str, float] = field(default_factory=dict)
    priorities: Mapping[str, int] = field(default_factory=dict)

    def period_s(self, modality: str) -> float:
        """Shortest time between two embeddings of a sensor, on average."""
        rate_hz = self.rates_hz.get(modality, 0.0) or self.max_rate_hz
        return 1.0 / rate_hz if rate_hz > 0 else 0.0

    def priority(self, modality: str) -> int:
        """Of the sensors of a modality."""
        return self.priorities.get(modality, 0)
