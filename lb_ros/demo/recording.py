"""Scores, states and ground truth over time, and their agreement. Independent of ROS."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, median

from encoders import State
from encoders.predicates.metrics import auroc, average_precision, change_delays_s

# A truth at time t is compared with scores of sensor data from t until this much later.
MATCH_S = 0.15
FUSED = 'fused'


@dataclass(frozen=True, slots=True)
class Answer:
    """Probabilities of one predicate by modality, including `fused`."""

    sensed_s: float
    probability: dict[str, float]


@dataclass(frozen=True, slots=True)
class PredicateSummary:
    """Accuracy for one predicate in one modality (or `fused`); keys of the report."""

    name: str
    modality: str
    auroc: float | None
    average_precision: float | None
    positives: int
    negatives: int
    state_accuracy: float | None
    delay_s: float | None


@dataclass
class Recording:
    """All data received during a run.

    Attributes:
        answers: Probabilities by predicate, in order of time.
        truths: Pairs (time, value) by predicate, in order of time.
        states: Pairs (time of the change, state) by predicate, in order of time.
        latencies_ms: Time from sensor stamp to score, for each new evidence.
    """

    answers: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    truths: dict[str, list[tuple[float, bool]]] = field(default_factory=lambda: defaultdict(list))
    states: dict[str, list[tuple[float, State]]] = field(default_factory=lambda: defaultdict(list))
    latencies_ms: list[float] = field(default_factory=list)

    def state_at(self, name: str, time_s: float) -> State:
        """Return the state in effect at a time."""
        changes = self.states[name]
        index = bisect.bisect_right(changes, time_s, key=lambda change: change[0])
        return changes[index - 1][1] if index else State.UNKNOWN

    def answer_to(self, name: str, time_s: float) -> Answer | None:
        """Return the probabilities for data sensed at a time; None if none is close enough."""
        answers = self.answers[name]
        index = bisect.bisect_left(answers, time_s - 1e-6, key=lambda answer: answer.sensed_s)
        if index == len(answers) or answers[index].sensed_s > time_s + MATCH_S:
            return None
        return answers[index]

    def summarise(self) -> list[PredicateSummary]:
        """Return one summary per predicate and modality or `fused`; without truth, only names."""
        names = dict.fromkeys([*self.truths, *self.answers])
        return [line for name in names for line in self._summarise(name)]

    def _summarise(self, name: str) -> list[PredicateSummary]:
        pairs = [(t, value, self.answer_to(name, t)) for t, value in self.truths.get(name, [])]
        matched = [(t, value, answer) for t, value, answer in pairs if answer is not None]
        answers = [a for _, _, a in matched] if name in self.truths else self.answers[name]
        columns = dict.fromkeys(m for answer in answers for m in answer.probability)
        lines = []
        for column in sorted(columns, key=lambda name: (name == FUSED, name)):
            having = [(v, a.probability[column]) for _, v, a in matched if column in a.probability]
            truth, scores = [v for v, _ in having], [p for _, p in having]
            accuracy, delay_s = self._state_quality(name) if column == FUSED else (None, None)
            lines.append(
                PredicateSummary(
                    name=name,
                    modality=column,
                    auroc=auroc(truth, scores),
                    average_precision=average_precision(truth, scores),
                    positives=sum(truth),
                    negatives=len(truth) - sum(truth),
                    state_accuracy=accuracy,
                    delay_s=delay_s,
                )
            )
        return lines

    def _state_quality(self, name: str) -> tuple[float | None, float | None]:
        times = [t for t, _ in self.truths.get(name, [])]
        truth = [value for _, value in self.truths.get(name, [])]
        held = [self.state_at(name, t) for t in times]
        if not times:
            return None, None
        right = [s is (State.TRUE if v else State.FALSE) for s, v in zip(held, truth, strict=True)]
        known = [None if s is State.UNKNOWN else s is State.TRUE for s in held]
        delays = change_delays_s(times, truth, known)
        return mean(right), (mean(delays) if delays else None)


def medians(summaries: Sequence[PredicateSummary]) -> dict[str, float]:
    """Return the median AUROC by modality over predicates with positive and negative samples."""
    by_modality: dict[str, list[float]] = defaultdict(list)
    for line in summaries:
        if line.auroc is not None:
            by_modality[line.modality].append(line.auroc)
    return {name: round(median(values), 4) for name, values in by_modality.items()}


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which `share` of the values are; None without values."""
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
