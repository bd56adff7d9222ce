"""What to press next: the side that is missing, or the recent moment that is least certain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from encoders.predicates.scoring import Scoring

# Recent moments that are compared.
MOMENTS = 8
MAX_AGE_MS = 1000.0
# A side with fewer than this share of the other's presses is missing.
BALANCE = 0.5
# A moment that is further from 0.5 is certain enough.
CERTAIN = 0.35


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What to press next.

    Attributes:
        text: In words; empty if nothing would help clearly.
        stamp_ns: The moment to label; 0 for none.
    """

    text: str
    stamp_ns: int = 0


def suggest(scoring: Scoring, name: str, *, now_ns: int) -> Suggestion:
    """Suggest the next press of a taught predicate.

    Args:
        scoring: Its bank and the recent evidence.
        name: Name of the predicate.
        now_ns: Current time.
    """
    bank = scoring.bank
    taught = bank.taught.get(name)
    missing = missing_side(*((0, 0) if taught is None else taught.lesson.counts))
    if missing:
        return Suggestion(missing)
    back_ns = [round(scoring.history_s * 1e9 * number / MOMENTS) for number in range(MOMENTS)]
    moments = [scoring.at(now_ns - ns, max_age_ms=MAX_AGE_MS).evidence for ns in back_ns]
    scores = [found[0] for found in bank.only(name).score_all(moments)]
    unsure = least_certain(
        (now_ns - ns, score.fused)
        for ns, score in zip(back_ns, scores, strict=True)
        if score.can_tell
    )
    if unsure is None:
        return Suggestion('')
    time_ns, fused = unsure
    ago_s = (now_ns - time_ns) * 1e-9
    return Suggestion(f'least certain: {ago_s:.1f} s ago ({fused:.2f})', time_ns)


def missing_side(yes: int, no: int) -> str:
    """The side that has far fewer presses than the other, in words; empty if neither has."""
    for side, mine, other in (('true', yes, no), ('false', no, yes)):
        if mine == 0 or mine < BALANCE * other:
            return f'press {side} ({mine} so far, {other} of the other)'
    return ''


def least_certain(moments: Iterable[tuple[int, float]]) -> tuple[int, float] | None:
    """The time and probability that is nearest to 0.5; None if all are certain enough."""
    best = min(moments, key=lambda moment: (abs(moment[1] - 0.5), moment[0]), default=None)
    return None if best is None or abs(best[1] - 0.5) > CERTAIN else best
