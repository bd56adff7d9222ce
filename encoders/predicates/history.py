"""Recent evidence of all sensors: vectors by age, tokens within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace

from encoders.model_sets.evidence import Evidence, Tokens
from encoders.predicates.bank import PredicateBank
from encoders.predicates.parameters import Bools, Floats

# Values by predicate, and which were read from tokens; see `PredicateBank.read`.
Read = tuple[Floats, Bools]

Sensor = tuple[str, str]  # modality and source
# A stamp this much older than the last one means that the source restarted.
RESTART_MS = 1000.0
MAX_KEPT = 100_000  # observations per sensor, regardless of `span_s`
MB = 1_000_000
DEFAULT_TOKENS_BYTES = 64 * MB


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """Evidence of a sensor with its stamp.

    `known` is what a bank read of it before, and that bank; None if it is to be read.
    """

    evidence: Evidence
    stamp_ns: int
    known: tuple[PredicateBank, Read] | None = None


Found = list[tuple[Sensor, Observation]]


class History:
    """The evidence of the last seconds. Not thread-safe.

    A vector takes 1.5 KB, tokens 38 KB or more: where they do not fit, the oldest tokens of all
    sensors are dropped, and their vectors stay. The newest evidence always keeps its tokens.

    Args:
        span_s: Time for which evidence is kept.
        tokens_bytes: Largest size of all tokens except the newest of each sensor.

    Attributes:
        span_s, tokens_bytes: See above; changes apply from the next `add` on.
        used_bytes: Size of the tokens that are kept, except the newest of each sensor.
    """

    def __init__(self, *, span_s: float, tokens_bytes: int = DEFAULT_TOKENS_BYTES) -> None:
        self.span_s, self.tokens_bytes, self.used_bytes = span_s, tokens_bytes, 0
        self._sensors: dict[Sensor, deque[Observation]] = {}
        # Tokens of everything except the newest evidence, in order of arrival.
        self._tokens: OrderedDict[int, Tokens] = OrderedDict()

    def add(self, sensor: Sensor, observation: Observation) -> None:
        """Add evidence; one slightly older than the last of its sensor is ignored."""
        kept = self._sensors.setdefault(sensor, deque())
        stamp_ns = observation.stamp_ns
        if kept and stamp_ns < kept[-1].stamp_ns:
            if (kept[-1].stamp_ns - stamp_ns) * 1e-6 < RESTART_MS:
                return
            while kept:
                self._forget(kept.popleft())
        if kept:
            kept[-1] = self._without_tokens(kept[-1])
        kept.append(observation)
        oldest_ns = stamp_ns - self.span_s * 1e9
        while len(kept) > MAX_KEPT or (len(kept) > 1 and kept[0].stamp_ns < oldest_ns):
            self._forget(kept.popleft())
        while self.used_bytes > self.tokens_bytes:
            self.used_bytes -= self._tokens.popitem(last=False)[1].nbytes

    def newest(self) -> Found:
        """The newest evidence of every sensor."""
        return [(sensor, kept[-1]) for sensor, kept in self._sensors.items()]

    def at(self, at_ns: int, *, max_age_ms: float) -> Found:
        """The newest evidence of every sensor at a time, if it was not older than `max_age_ms`."""
        found = []
        for sensor, kept in self._sensors.items():
            until = next((o for o in reversed(kept) if o.stamp_ns <= at_ns), None)
            if until is not None and (at_ns - until.stamp_ns) * 1e-6 <= max_age_ms:
                found.append((sensor, self._with_tokens(until)))
        return found

    def everything(self) -> Found:
        """All evidence, in order of its stamps."""
        found = [
            (sensor, self._with_tokens(observation))
            for sensor, kept in self._sensors.items()
            for observation in kept
        ]
        return sorted(found, key=lambda pair: pair[1].stamp_ns)

    def clear(self) -> None:
        """Delete everything."""
        self._sensors.clear()
        self._tokens.clear()
        self.used_bytes = 0

    def _without_tokens(self, observation: Observation) -> Observation:
        """Move the tokens of an observation to those that may be dropped."""
        tokens = observation.evidence.tokens
        if tokens is None:
            return observation
        kept = replace(observation, evidence=replace(observation.evidence, tokens=None))
        self._tokens[id(kept)] = tokens
        self.used_bytes += tokens.nbytes
        return kept

    def _with_tokens(self, observation: Observation) -> Observation:
        tokens = self._tokens.get(id(observation))
        if tokens is None:
            return observation
        return replace(observation, evidence=replace(observation.evidence, tokens=tokens))

    def _forget(self, observation: Observation) -> None:
        tokens = self._tokens.pop(id(observation), None)
        if tokens is not None:
            self.used_bytes -= tokens.nbytes
