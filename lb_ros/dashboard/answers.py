"""Answers to one predicate over time, from evidence of the past and of the present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from encoders import Binder, Predicate, PredicateBank, PredicateScore, State
from encoders.predicates.fusion import caveats, taught_reason
from encoders.predicates.history import Found, Observation
from encoders.predicates.lessons import Lessons
from encoders.predicates.scoring import Scoring

FUSED = 'fused'
# Number of earlier times at which a new question is answered, including the newest.
QUESTION_MOMENTS = 800
HISTORY_S = 2.0  # only the newest evidence is used

# A time, and the new evidence of each modality up to then.
Moment = tuple[int, Mapping[str, Observation]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a predicate at one time.

    Attributes:
        time_ns: The time.
        series: Probabilities by series: `fused`, None where no sensor is informative, and the
            modalities with new evidence.
        state: Name of the state.
        caveats: As from `encoders.predicates.fusion.caveats`.
        taught: As from `encoders.predicates.fusion.taught_reason`.
    """

    time_ns: int
    series: Mapping[str, float | None]
    state: str
    caveats: Mapping[str, str]
    taught: str


def series_of(score: PredicateScore, fresh: Sequence[str]) -> dict[str, float | None]:
    """Probabilities by series, as in `Answer`; `fresh` are the modalities with new evidence."""
    own = {name: score.probability[name] for name in fresh if name in score.probability}
    return {FUSED: score.fused if score.can_tell else None, **own}


class Answering:
    """Answers one predicate from the evidence that it is given, in order of time.

    Args:
        predicate: The predicate.
        binder: The model set of the evidence.
        lessons: What it was taught.

    Raises:
        PredicateError, ModelSetError: The predicate is invalid, or was taught to another set.
    """

    def __init__(
        self, predicate: Predicate, binder: Binder, *, lessons: Lessons | None = None
    ) -> None:
        self.name = predicate.name
        bank = PredicateBank([predicate], binder, lessons=lessons)
        self._scoring = Scoring(bank, history_s=HISTORY_S)

    def at(self, time_ns: int, fresh: Mapping[str, Observation]) -> Answer:
        """The answer at a time, given the evidence since the last one by modality."""
        for modality, observed in fresh.items():
            self._scoring.receive(
                modality,
                observed.evidence.vector,
                stamp_ns=observed.stamp_ns,
                space=self._scoring.bank.space,
                invalid_reason=observed.evidence.invalid_reason,
                tokens=observed.evidence.tokens,
            )
        evaluation = self._scoring.evaluate(time_ns)
        score = evaluation.scores[0]
        return Answer(
            time_ns,
            series_of(score, tuple(fresh)),
            State(evaluation.states[self.name].state).name,
            caveats(score.probability, calibrated=score.calibrated, reasons=score.reasons),
            taught_reason(score.reasons),
        )


def moments_of(evidence: Found, *, at_most: int = QUESTION_MOMENTS) -> list[Moment]:
    """About `at_most` moments, of which the last is that of the newest evidence.

    Args:
        evidence: In order of stamps.
        at_most: Number of moments; at each, only the newest evidence of a modality counts.
    """
    stride = max(1, len(evidence) // at_most)
    found: list[Moment] = []
    newest: dict[str, Observation] = {}
    for left, (sensor, seen) in zip(range(len(evidence) - 1, -1, -1), evidence, strict=True):
        newest[sensor[0]] = seen
        if left % stride == 0:
            found.append((seen.stamp_ns, newest))
            newest = {}
    return found
