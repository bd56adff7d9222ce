"""A part of an input's view, which is a sensor of its own, and its entry of `/diagnostics`."""

from __future__ import annotations

import threading

from encoders.regions import Region
from lb_ros.engine.health import Level, Status


class Part:
    """A region of an input, with the outcomes of its samples. Safe to use from several threads.

    Args:
        region: Where it is.

    Attributes:
        region: See above.
        name: Name of the sensor: `depth@gripper`.
    """

    def __init__(self, region: Region) -> None:
        self.region, self.name = region, region.sensor
        self._encoded = self._missing = 0
        self._why = ''
        self._lock = threading.Lock()

    def encoded(self, missing: str) -> None:
        """Count a sample; `missing` is why the part showed nothing in it, empty if it did."""
        with self._lock:
            self._encoded += 1
            self._missing += bool(missing)
            self._why = missing

    def status(self, whole: Status) -> Status:
        """Return its entry, given that of the input: `depth/image@gripper`."""
        with self._lock:
            values = {
                'sensor': self.name,
                'region': str(self.region),
                'encoded': str(self._encoded),
                'missing': str(self._missing),
            }
            level, message = whole.level, whole.message
            if self._why and level is Level.OK:
                level, message = Level.WARN, f'no evidence: {self._why}'
        return Status(level, f'{whole.name}@{self.region.name}', message, values)
