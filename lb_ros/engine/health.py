"""Health of one input: counts of every kind of fault, rates, delay, and throttled log lines."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum

from lb_ros.engine.slot import Counters
from lb_ros.engine.throttle import Clock, Throttle

Log = Callable[[str], None]

# All kinds of faults. The list is fixed, so that counters and log throttles are bounded.
FAULTS: dict[str, str] = {
    'encoding': 'unknown encoding, or one of another sensor',
    'size': 'the size does not fit the bytes',
    'content': 'damaged content',
    'no_stamp': 'stamp 0: the time of arrival is used',
    'future': 'stamp in the future',
    'stale': 'older than max_age_ms',
    'backwards': 'stamp before the last one',
    'no_pixel': 'no valid pixel',
    'unit': 'depth in the wrong unit',
    'temperature': 'the picture shows no temperatures',
    'mosaic': 'a Bayer mosaic without its pattern',
    'range': 'a black picture',
    'repaired': 'the message contradicts itself and is read as it must be meant',
    'flat': 'the same value everywhere',
    'saturated': 'most pixels at the end of the scale',
    'frozen': 'the same picture again and again',
    'clipping': 'sound at full scale',
    'gap': 'missing sound or values',
    'repeated': 'stamps that repeat',
    'masked': 'channels without values that can be used',
    'rate': 'too few messages per second',
    'frame': 'a frame other than in training',
    'untared': 'values where nothing acts are not those of a tared sensor',
    'untrained': 'channels for which the encoder was not trained',
    'drift': 'slow changes since the sensor was tared',
    'joints': 'joints that are missing by name',
    'order': 'its stream began again before it was decoded',
    'qos': 'a publisher with incompatible quality of service',
    'type': 'a publisher with another message type',
    'not_finite': 'the embedding is not finite',
    'slow': 'later than latency_budget_ms',
    'memory': 'the device is out of memory',
    'shed': 'shed for want of memory',
    'internal': 'an error of this program',
}
HOLD_S = 5.0  # a fault is reported this long after it was last seen
WINDOW = 100  # messages over which rates are computed
REPAIRED = frozenset({'no_stamp', 'backwards', 'flat', 'saturated', 'frozen', 'clipping', 'gap',
                      'unit', 'qos', 'type', 'slow', 'temperature', 'mosaic', 'range',
                      'repaired', 'repeated', 'masked', 'rate', 'frame',
                      'untared', 'untrained', 'drift', 'joints'})  # fmt: skip
# Faults that last until a sensor is set up differently: logged once per uninterrupted occurrence.
STANDING = frozenset({'temperature', 'unit', 'mosaic', 'range', 'repaired', 'repeated', 'masked',
                      'rate', 'frame', 'untared', 'untrained', 'drift', 'joints'})  # fmt: skip


class Level(IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True, slots=True)
class Status:
    """One entry of `/diagnostics`."""

    level: Level
    name: str
    message: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Expectation:
    """Requirements on an input.

    Attributes:
        rate_hz: Expected messages per second; 0 for any.
        tolerance: Accepted relative deviation of the rate, 0..1.
        silent_after_s: Time without a message after which the input is stale.
        latency_budget_ms: Longest accepted time from arrival to the embedding.
    """

    rate_hz: float = 0.0
    tolerance: float = 0.1
    silent_after_s: float = 2.0
    latency_budget_ms: float = 500.0


class InputHealth:
    """Health of one input. Safe to use from several threads.

    Args:
        name: Name of the sensor, the prefix of log lines.
        topic: Name of the topic in diagnostics.
        log: Receives warnings, at most one per kind of fault in `LOG_PERIOD_S`.
        expectation: Requirements on the input.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        topic: str,
        log: Log,
        expectation: Expectation | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.name, self.topic = name, topic
        self._log, self._clock = log, clock
        self._expectation = expectation or Expectation()
        self._lock = threading.Lock()
        self._faults = Throttle(clock)
        self._seen_s: dict[str, float] = {}
        self._lines: dict[str, str] = {}
        self._arrivals_s: deque[float] = deque(maxlen=WINDOW)
        self._stamps_s: deque[float] = deque(maxlen=WINDOW)
        self._delay_ms = self._latency_ms = math.nan
        self._began_s = clock()
        self._was_silent = False

    @property
    def faults(self) -> dict[str, int]:
        """Number of occurrences of each kind of fault."""
        with self._lock:
            return dict(self._faults.counts)

    def arrived(self, *, stamp_ns: int, now_ns: int, arrived_s: float | None = None) -> None:
        """Record the arrival of a message, whether or not it is encoded later.

        Args:
            stamp_ns: Stamp of the message.
            now_ns: Time of arrival on the ROS clock.
            arrived_s: The same on the monotonic clock; None for now.
        """
        with self._lock:
            self._arrivals_s.append(self._clock() if arrived_s is None else arrived_s)
            self._stamps_s.append(stamp_ns * 1e-9)
            self._delay_ms = (now_ns - stamp_ns) * 1e-6

    def note(self, fault: str, line: str) -> None:
        """Count a fault and log it, unless the same kind was logged recently.

        Args:
            fault: One of `FAULTS`.
            line: Description of the fault and of the remedy.
        """
        with self._lock:
            if fault not in FAULTS:
                raise KeyError(f'no such fault: {fault!r}')
            now_s, before_s = self._clock(), self._seen_s.get(fault, -math.inf)
            self._seen_s[fault], self._lines[fault] = now_s, line
            if fault in STANDING and now_s - before_s <= HOLD_S:
                self._faults.counts[fault] += 1
                return
            again = self._faults.note(fault)
        if again is None:
            return
        end = '' if fault in REPAIRED else '; such messages are skipped and counted'
        self._log(f'{self.name}: topic {self.topic}: {line}{end}{again}')

    def delivered(self, latency_ms: float) -> None:
        """Record an embedding and its latency since the arrival of its message."""
        with self._lock:
            self._latency_ms = latency_ms
        if latency_ms > self._expectation.latency_budget_ms:
            self.note('slow', f'the embedding came {latency_ms:.0f} ms after the message')

    def watch_silence(self, why: Callable[[], str]) -> None:
        """Log once when the input falls silent and once when it returns; call regularly.

        Args:
            why: Describes the state of the publishers.
        """
        silent_s = self._silent_s()
        is_silent = silent_s > self._expectation.silent_after_s
        if is_silent is self._was_silent:
            return
        self._was_silent = is_silent
        if is_silent:
            self._log(f'{self.name}: topic {self.topic}: silent for {silent_s:.1f} s: {why()}')
        else:
            self._log(f'{self.name}: topic {self.topic}: messages arrive again')

    def status(self, counters: Counters, *, why_silent: Callable[[], str]) -> Status:
        """Return the entry of `/diagnostics`, with the keys that greenwave_monitor reads.

        Args:
            counters: Outcomes of the input's messages.
            why_silent: Describes the state of the publishers.
        """
        silent_s = self._silent_s()
        with self._lock:
            now_s = self._clock()
            active = [f for f, seen_s in self._seen_s.items() if now_s - seen_s <= HOLD_S]
            node_hz, stamp_hz = _rate_hz(self._arrivals_s), _rate_hz(self._stamps_s)
            lines = {fault: self._lines[fault] for fault in active}
            values = {
                'frame_rate_node': f'{node_hz:.3f}',
                'frame_rate_msg': f'{stamp_hz:.3f}',
                'current_delay_from_realtime_ms': _number(self._delay_ms),
                'latency_ms': _number(self._latency_ms),
                'expected_frequency': f'{self._expectation.rate_hz:.3f}',
                'tolerance': f'{self._expectation.tolerance:.3f}',
                'sensor': self.name,
                'silent_s': f'{silent_s:.1f}',
                **{name: str(count) for name, count in asdict(counters).items()},
                **{f'fault_{name}': str(count) for name, count in self._faults.counts.items()},
            }
        level, message = Level.OK, 'ok'
        if silent_s > self._expectation.silent_after_s:
            level, message = Level.STALE, f'silent for {silent_s:.1f} s: {why_silent()}'
        elif active:
            level = Level.ERROR if 'shed' in active else Level.WARN
            message = '; '.join(f'{FAULTS[fault]}: {lines[fault]}' for fault in active)
        elif self._is_off_rate(node_hz):
            level = Level.WARN
            message = f'{node_hz:.1f} Hz, expected {self._expectation.rate_hz:.1f} Hz'
        return Status(level, self.topic, message, values)

    def _silent_s(self) -> float:
        with self._lock:
            last_s = self._arrivals_s[-1] if self._arrivals_s else self._began_s
            return self._clock() - last_s

    def _is_off_rate(self, rate_hz: float) -> bool:
        wanted = self._expectation
        return bool(wanted.rate_hz) and abs(rate_hz - wanted.rate_hz) > (
            wanted.tolerance * wanted.rate_hz
        )


def _rate_hz(times_s: deque[float]) -> float:
    if len(times_s) < 2 or times_s[-1] <= times_s[0]:
        return 0.0
    return (len(times_s) - 1) / (times_s[-1] - times_s[0])


def _number(value: float) -> str:
    return 'N/A' if math.isnan(value) else f'{value:.3f}'
