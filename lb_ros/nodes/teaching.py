"""Services that teach predicates, undo presses, and export and import what was taught."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rclpy.callback_groups import CallbackGroup

from encoders import ModelSetError, Predicate, PredicateBank, PredicateError, SpaceError
from encoders.one_core import on_one_core
from encoders.predicates.lessons import Lesson, Lessons, press_of
from encoders.predicates.scoring import Scoring
from encoders.predicates.suggestion import suggest
from encoders.predicates.taught_file import (
    from_bytes,
    replace_lessons,
    to_bytes,
)
from lb_ros.ros.lifecycle import elsewhere
from lb_ros.ros.qos import MANY
from lb_ros.ros.refusals import Serve
from lb_ros.ros.stamps import to_ns, to_stamp
from lb_ros.srv import ExportTaught, ImportTaught, TeachPredicate, UntaughtPredicate

if TYPE_CHECKING:
    from lb_ros.nodes.predicates_node import PredicatesNode

# A press keeps at most this many moments of its stretch.
FRAMES = 8
MAX_AGE_MS = 1000.0
ERRORS = (ValueError, KeyError, OSError, ModelSetError, SpaceError)
Response: TypeAlias = (
    TeachPredicate.Response
    | UntaughtPredicate.Response
    | ExportTaught.Response
    | ImportTaught.Response
)


class TeachingServices:
    """Offers `predicates/teach`, `untaught`, `export` and `import`.

    Args:
        node: Node `predicates`.
        watched: Wraps the callback of a service, given the service's name.
        scoring: Returns the current scoring; None if the node is not active.
        changed: Called after every change.
        path: Returns the file that keeps what was taught.
        pool: Thread that reads and writes what is exported and imported.
        changes: Callback group of the changes of predicates, which run one at a time.
    """

    def __init__(
        self,
        node: PredicatesNode,
        *,
        watched: Callable[[str, Serve], Serve],
        scoring: Callable[[], Scoring | None],
        changed: Callable[[], None],
        path: Callable[[], Path],
        pool: ThreadPoolExecutor,
        changes: CallbackGroup,
    ) -> None:
        self._node, self._scoring, self._changed = node, scoring, changed
        self._path = path
        # A person waits for the answer to a press, which is short work: at a low priority it took
        # seconds on a busy machine, and held the interpreter meanwhile.
        presses = ThreadPoolExecutor(1, thread_name_prefix='press')
        for kind, name, work, place in (
            (TeachPredicate, 'teach', self._teach, presses),
            (UntaughtPredicate, 'untaught', self._untaught, presses),
            (ExportTaught, 'export', self._export, pool),
            (ImportTaught, 'import', self._import, pool),
        ):
            node.create_service(
                kind,
                f'predicates/{name}',
                watched(f'predicates/{name}', self._serving(work, place)),
                callback_group=changes,
                qos_profile=MANY,
            )

    def _serving(
        self, work: Callable[[Scoring, Response, object], None], pool: ThreadPoolExecutor
    ) -> Serve:
        """A callback that does some work on a pool and turns errors into messages."""

        async def serve(request: object, response: Response) -> Response:
            await self._node.transitions.settled()
            scoring = self._scoring()
            if scoring is None:
                response.message = f'{self._node.get_name()} is not active'
                return response

            def attempt() -> str:
                try:
                    with on_one_core():
                        work(scoring, response, request)
                except ERRORS as error:
                    told = error.args[0] if isinstance(error, KeyError) else error
                    return ' '.join(str(told).split()) or type(error).__name__
                return ''

            response.message = await elsewhere(self._node, pool, attempt)
            response.success = not response.message
            return response

        return serve

    def _use(self, scoring: Scoring, bank: PredicateBank) -> None:
        """Keep what was taught, then use it: what is not kept would be lost at the next start."""
        moved = replace_lessons(self._path(), bank.lessons)
        if moved is not None:
            self._node.get_logger().warning(
                f'{self._path()} was of another model set, or damaged; it is now {moved.name}'
            )
        scoring.replace(bank)
        self._changed()

    def _teach(
        self, scoring: Scoring, response: Response, request: TeachPredicate.Request
    ) -> None:
        lesson = _lesson(scoring.bank, request.name)
        now_ns = self._node.get_clock().now().nanoseconds
        times_ns = _times(request, now_ns, scoring.history_s)
        moments = [scoring.at(time_ns, max_age_ms=MAX_AGE_MS) for time_ns in times_ns]
        frames = [scoring.bank.frame(request.name, moment.evidence) for moment in moments]
        press = press_of(frames, truth=bool(request.truth), stamp_ns=times_ns[-1])
        bank = scoring.bank.copy()
        bank.teach(lesson.adding(press))
        self._use(scoring, bank)
        response.press = press.key
        _describe(response, bank, request.name)
        taught = bank.taught[request.name]
        response.sensors = list(taught.sensors)
        response.shares = [float(share) for share in taught.sensors.values()]
        suggested = suggest(scoring, request.name, now_ns=now_ns)
        response.next = suggested.text
        response.next_at = to_stamp(suggested.stamp_ns)

    def _untaught(
        self, scoring: Scoring, response: Response, request: UntaughtPredicate.Request
    ) -> None:
        lesson = _lesson(scoring.bank, request.name)
        if not lesson.presses:
            raise PredicateError(f'predicate {request.name!r} has no presses')
        keys = [press.key for press in lesson.presses]
        gone = keys if request.all else [request.press or keys[-1]]
        bank = scoring.bank.copy()
        bank.teach(lesson.without(gone))
        self._use(scoring, bank)
        _describe(response, bank, request.name)

    def _export(self, scoring: Scoring, response: Response, request: ExportTaught.Request) -> None:
        lessons = scoring.bank.lessons
        names = list(request.names) or list(lessons.by_name)
        chosen = lessons.only(names)
        if not names:
            raise PredicateError('nothing was taught')
        response.content = to_bytes(chosen)
        response.exported = names

    def _import(self, scoring: Scoring, response: Response, request: ImportTaught.Request) -> None:
        new = from_bytes(bytes(request.content), where='the imported file')
        new.check(scoring.bank.binder, where='the imported file')
        before = _presses(scoring.bank)
        merged = scoring.bank.lessons.merged(new.for_readouts(scoring.bank.binder))
        bank = scoring.bank.copy()
        known = {predicate.name: predicate for predicate in bank.predicates}
        for name, lesson in new.by_name.items():
            if name in known and not lesson.fits(known[name]):
                raise PredicateError(
                    f'predicate {name!r}: taught with other sentences there '
                    f'({lesson.predicate.positive[0]!r}); rename one of them'
                )
        bank.extend([le.predicate for name, le in new.by_name.items() if name not in known])
        bank.teach(*(merged.by_name[name] for name in new.by_name))
        self._use(scoring, bank)
        response.imported = list(new.by_name)
        response.presses = _presses(bank) - before


def with_taught(predicates: Sequence[Predicate], lessons: Lessons | None) -> list[Predicate]:
    """The predicates, and those that were taught after they had been added while running."""
    known = {predicate.name for predicate in predicates}
    taught = {} if lessons is None else lessons.by_name
    return [*predicates, *(le.predicate for name, le in taught.items() if name not in known)]


def _presses(bank: PredicateBank) -> int:
    return sum(len(lesson.presses) for lesson in bank.lessons.by_name.values())


def _lesson(bank: PredicateBank, name: str) -> Lesson:
    """What a predicate was taught so far."""
    known = {predicate.name: predicate for predicate in bank.predicates}
    if name not in known:
        raise PredicateError(f'no predicate {name!r}; add it first (predicates/add)')
    lesson = bank.lessons.by_name.get(name)
    return lesson if lesson and lesson.fits(known[name]) else Lesson(known[name])


def _times(request: TeachPredicate.Request, now_ns: int, history_s: float) -> Sequence[int]:
    """The moments of a press, in order."""
    for name in ('ago_s', 'seconds'):
        value = float(getattr(request, name))
        if not 0 <= value < math.inf:
            raise PredicateError(f'{name} must be 0 or more, not {value}')
    end_ns = to_ns(request.at) or now_ns - round(request.ago_s * 1e9)
    length_ns = round(request.seconds * 1e9)
    if end_ns > now_ns:
        raise PredicateError(f'that moment is {(end_ns - now_ns) * 1e-9:.1f} s in the future')
    back_s = (now_ns - end_ns + length_ns) * 1e-9
    if back_s > history_s:
        raise PredicateError(
            f'{back_s:.1f} s ago is further back than the {history_s:.1f} s that are kept '
            f'(parameter history_s)'
        )
    count = FRAMES if length_ns else 1
    return [end_ns - round(length_ns * (count - 1 - n) / max(1, count - 1)) for n in range(count)]


def _describe(
    response: TeachPredicate.Response | UntaughtPredicate.Response, bank: PredicateBank, name: str
) -> None:
    """Presses per side, and the estimate."""
    taught = bank.taught.get(name)
    counts = (0, 0) if taught is None else taught.lesson.counts
    response.true_presses, response.false_presses = counts
    head = None if taught is None else taught.head
    found = None if head is None else head.estimate
    nothing = math.nan
    response.left_out = nothing if found is None else found.accuracy
    response.left_out_low = nothing if found is None else found.low
    response.left_out_high = nothing if found is None else found.high
