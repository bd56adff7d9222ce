"""Teaching predicates of running nodes; a part of `LanguageClient`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lb_ros.client.asking import Asking
from lb_ros.ros.stamps import to_ns, to_stamp
from lb_ros.srv import ExportTaught, ImportTaught, TeachPredicate, UntaughtPredicate

# A fit of many presses takes a while next to sensors that load a busy machine.
FIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Taught:
    """What a predicate knows after a press, or after an undone one.

    Attributes:
        name: Name of the predicate.
        true_presses, false_presses: Presses per side.
        left_out: Balanced accuracy with each press left out in turn, and `left_out_low`,
            `left_out_high` its 95 % interval; None with fewer than two presses of a side.
        press: Identifies the press that was made, to undo it; empty after an undone one.
        shares: Sensors that now count with their share of the score, most important first.
        next: What to press next, in words; may be empty.
        next_s: The moment that `next` names, seconds of the nodes' clock; None for none.
    """

    name: str
    true_presses: int
    false_presses: int
    left_out: float | None
    left_out_low: float | None
    left_out_high: float | None
    press: str = ''
    shares: tuple[tuple[str, float], ...] = ()
    next: str = ''
    next_s: float | None = None

    def __str__(self) -> str:
        """One line: `7 true, 6 false; 0.93 [0.76, 0.99] left out; depth 80 %, image 20 %`."""
        parts = [f'{self.true_presses} true, {self.false_presses} false']
        if self.left_out is not None:
            parts.append(
                f'{self.left_out:.2f} [{self.left_out_low:.2f}, {self.left_out_high:.2f}] left out'
            )
        parts.append(', '.join(f'{name} {share:.0%}' for name, share in self.shares))
        return '; '.join(filter(None, (*parts, self.next)))


class Teaching(Asking):
    """The teaching part of a client."""

    def teach(
        self,
        name: str,
        truth: bool,
        *,
        at_s: float | None = None,
        ago_s: float = 0.0,
        seconds: float = 0.0,
    ) -> Taught:
        """Say that a predicate is true or false now, or was at a time in the past.

        Args:
            name: Name of the predicate; add a new one first.
            truth: Whether it is true.
            at_s: The time, seconds of the nodes' clock; None for now.
            ago_s: Alternative to `at_s`: seconds before now, by the nodes' clock.
            seconds: Length of the stretch that ends at this time and counts as one press.

        Raises:
            NotAnsweredError: No answer in time, or no sensor had valid evidence at that time.
            ValueError: Both `at_s` and `ago_s` are given.
        """
        if at_s is not None and ago_s:
            raise ValueError('at_s and ago_s both name the moment; give one of them')
        request = TeachPredicate.Request(
            name=name, truth=bool(truth), ago_s=float(ago_s), seconds=float(seconds)
        )
        if at_s is not None:
            request.at = to_stamp(round(at_s * 1e9))

        def made(response: Any) -> Taught:
            shares = zip(response.sensors, response.shares, strict=True)
            return Taught(
                name,
                *_counts(response),
                press=response.press,
                shares=tuple((sensor, float(share)) for sensor, share in shares),
                next=response.next,
                next_s=to_ns(response.next_at) / 1e9 or None,
            )

        limit_s = self.timeout_s + FIT_S
        return self._wait(
            self._call(TeachPredicate, 'predicates/teach', request, made, answer_s=limit_s)
        )

    def untaught(self, name: str, *, press: str = '', everything: bool = False) -> Taught:
        """Undo the last press of a predicate, one press, or all of them.

        Args:
            name: Name of the predicate.
            press: The press, `Taught.press`; empty for the last one.
            everything: Undo all presses.

        Raises:
            NotAnsweredError: No answer in time, or there is no such press.
        """
        request = UntaughtPredicate.Request(name=name, press=press, all=everything)
        return self._wait(
            self._call(
                UntaughtPredicate,
                'predicates/untaught',
                request,
                lambda response: Taught(name, *_counts(response)),
                answer_s=self.timeout_s + FIT_S,
            )
        )

    def export_taught(self, *names: str) -> bytes:
        """Return what was taught, as the content of a file; of all predicates without names.

        Raises:
            NotAnsweredError: No answer in time, or nothing was taught.
        """
        request = ExportTaught.Request(names=list(names))
        found = self._call(
            ExportTaught, 'predicates/export', request, lambda response: bytes(response.content)
        )
        return self._wait(found)

    def import_taught(self, content: bytes) -> list[str]:
        """Add what was taught elsewhere with the same model set; return the predicates' names.

        Raises:
            NotAnsweredError: No answer in time, or it is of another model set, or damaged.
        """
        request = ImportTaught.Request(content=content)
        return self._wait(
            self._call(
                ImportTaught,
                'predicates/import',
                request,
                lambda response: list(response.imported),
                answer_s=self.timeout_s + FIT_S,
            )
        )


def _counts(response: Any) -> tuple[int, int, float | None, float | None, float | None]:
    estimate = (response.left_out, response.left_out_low, response.left_out_high)
    known = [None if math.isnan(value) else float(value) for value in estimate]
    return response.true_presses, response.false_presses, *known
