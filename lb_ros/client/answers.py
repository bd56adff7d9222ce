"""Results of a client: answers to sentences, states of predicates, and errors."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from encoders import State, TrackedState
from lb_ros.srv import QueryText


class NotAnsweredError(RuntimeError):
    """The nodes did not answer in time, or refused; the message gives the reason.

    Attributes:
        refused: Reasons of the refused predicates, by name.
        code: Why a wait ended, a constant of `lb_ros/action/WaitForPredicate`, or 0.
    """

    def __init__(
        self, message: str, *, refused: dict[str, str] | None = None, code: int = 0
    ) -> None:
        super().__init__(message)
        self.refused = refused or {}
        self.code = code


class GoneError(NotAnsweredError):
    """The node stopped or died, before or after the request."""


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """The scores of one sentence; None where there is no evidence.

    Attributes:
        text: The sentence.
        fused: Probability from all informative modalities.
        probability, similarity: Probability and cosine similarity, by modality.
        ages_ms: Age of the evidence, by modality.
        reasons: Why a modality has no evidence or is not informative, by modality.
        calibrated: False where only the order of probabilities is meaningful.
    """

    text: str
    fused: float | None
    probability: dict[str, float | None]
    similarity: dict[str, float | None]
    ages_ms: dict[str, float | None]
    reasons: dict[str, str]
    calibrated: bool


@dataclass(frozen=True, slots=True)
class PredicateStatus:
    """The state of a predicate.

    Attributes:
        name: Name of the predicate.
        state: TRUE, FALSE or UNKNOWN.
        probability: Fused probability, 0..1; 0.5 without evidence.
        since_s: When the state began, seconds of the nodes' clock.
        reason: Reason for the state, in a few words.
        published_s: When the node published this, wall time in seconds since 1970.
    """

    name: str
    state: State
    probability: float
    since_s: float
    reason: str
    published_s: float

    @property
    def age_s(self) -> float:
        """Seconds since the node published this; it publishes states when one of them changes."""
        return max(0.0, time.time() - self.published_s)


def status_of(name: str, tracked: TrackedState, *, published_s: float) -> PredicateStatus:
    """The status of a state that was published at this wall time."""
    return PredicateStatus(
        name=name,
        state=tracked.state,
        probability=tracked.probability,
        since_s=tracked.since_ms * 1e-3,
        reason=tracked.reason,
        published_s=published_s,
    )


def answers_from_message(texts: Sequence[str], response: QueryText.Response) -> list[TextAnswer]:
    """Convert the response of `query` to one answer per sentence."""
    columns = list(response.modalities)
    reasons = {m: r for m, r in zip(columns, response.reasons, strict=True) if r}
    ages = {
        m: float(age) if m not in reasons or age != -1.0 else None
        for m, age in zip(columns, response.ages_ms, strict=True)
    }

    def row(values: Sequence[float], index: int) -> dict[str, float | None]:
        start = index * len(columns)
        cells = values[start : start + len(columns)]
        return {m: _known(v) for m, v in zip(columns, cells, strict=True)}

    return [
        TextAnswer(
            text=text,
            fused=_known(response.fused[index]),
            probability=row(response.probabilities, index),
            similarity=row(response.similarities, index),
            ages_ms=ages,
            reasons=reasons,
            calibrated=response.calibrated[index],
        )
        for index, text in enumerate(texts)
    ]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
