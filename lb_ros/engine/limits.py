"""Rate and age limits of sensors, and their priorities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of all sensors of a process; they may be replaced at runtime.

    Attributes:
        max_rate_hz: Upper limit of embeddings per second and sensor; 0 for none.
        max_age_ms: Messages that waited longer than this are dropped as stale.
        rates_hz: Upper limit by modality; 0 or missing: `max_rate_hz`.
        priorities: Priority by modality, 0 where missing. Sensors of a higher priority are encoded
            first if the due sensors do not fit one call, and shed last if memory runs out.
    """

    max_rate_hz: float = 0.0
    max_age_ms: float = 1000.0
    rates_hz: Mapping[str, float] = field(default_factory=dict)
    priorities: Mapping[str, int] = field(default_factory=dict)

    def period_s(self, modality: str) -> float:
        """Return the shortest average time between two embeddings of a sensor, in seconds."""
        rate_hz = self.rates_hz.get(modality, 0.0) or self.max_rate_hz
        return 1.0 / rate_hz if rate_hz > 0 else 0.0

    def priority(self, modality: str) -> int:
        """Return the priority of the sensors of a modality."""
        return self.priorities.get(modality, 0)
