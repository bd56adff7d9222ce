"""What a client returns: answers to sentences, states, and why there is no answer."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from encoders import State
from lb_ros.msg import PredicateState
from lb_ros.ros.stamps import to_ns
from lb_ros.srv import QueryText


class NotAnsweredError(RuntimeError):
    """The nodes did not answer in time, or refused; the text says why.

    Attributes:
        refused: Name to reason of the predicates that were refused.
        code: Why a wait ended, a constant of `lb_ros/action/WaitForPredicate`, or 0.
    """

    def __init__(
        self, message: str, *, refused: dict[str, str] | None = None, code: int = 0
    ) -> None:
        super().__init__(message)
        self.refused = refused or {}
        self.code = code


class GoneError(NotAnsweredError):
    """The node stopped or died, before or after it was asked."""


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """What the sensors say about one sentence; None where there is no evidence.

    Attributes:
        text: The sentence.
        fused: Probability from all modalities that can tell.
        probability, similarity: By modality.
        ages_ms: Of the evidence, by modality.
        reasons: Modality to why it has no evidence or cannot tell.
        calibrated: False where only the order of probabilities means something.
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
    """Whether a predicate is held to be true.

    Attributes:
        name: Of the predicate.
        state: TRUE, FALSE or UNKNOWN.
        probability: Fused, 0..1; 0.5 without evidence.
        since_s: When the state began, seconds of the nodes' clock.
        reason: Why, in a few words.
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
        """How long ago the node published this; states are published when one of them changes."""
        return max(0.0, time.time() - self.published_s)


def status_from_message(message: PredicateState, *, published_s: float) -> PredicateStatus:
    """A state that was published at this wall time."""
    return PredicateStatus(
        name=message.name,
        state=State(message.state),
        probability=message.probability,
        since_s=to_ns(message.since) / 1e9,
        reason=message.reason,
        published_s=published_s,
    )


def answers_from_message(texts: Sequence[str], response: QueryText.Response) -> list[TextAnswer]:
    """The reply of `query`, an answer per sentence."""
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
