"""The action `wait_for`: goals that end when a predicate has a state."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from encoders import State, TrackedState
from lb_ros.action import WaitForPredicate
from lb_ros.messages import state_message

FEEDBACK_PERIOD_S = 0.1
Result = WaitForPredicate.Result


@dataclass
class _Goal:
    handle: ServerGoalHandle
    ended: Future
    limit_s: float
    told_s: float = -math.inf
    told: tuple[float, int] | None = None


class Waiting:
    """Serves `wait_for`; call `serve` after every evaluation.

    Args:
        node: Offers the action.
        known: Names of the predicates that are scored; None while the node is not active.
        evaluate: Asked for an evaluation soon.
    """

    def __init__(
        self,
        node: Node,
        *,
        known: Callable[[], Awaitable[set[str] | None]],
        evaluate: Callable[[], None],
    ) -> None:
        self._node, self._known, self._evaluate = node, known, evaluate
        self._goals: list[_Goal] = []
        self._server = ActionServer(
            node,
            WaitForPredicate,
            'wait_for',
            self._execute,
            cancel_callback=self._cancel,
        )

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._evaluate()
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> Result:
        request, known = handle.request, await self._known()
        refused = _refusal(request, known, self._node.get_name())
        if refused:
            handle.abort()
            return Result(message=refused)
        limit_s = time.monotonic() + request.timeout_s if request.timeout_s > 0 else math.inf
        goal = _Goal(handle, Future(), limit_s)
        self._goals.append(goal)
        self._evaluate()
        result: Result = await goal.ended
        if handle.is_cancel_requested and not result.reached:
            handle.canceled()
        elif result.reached:
            handle.succeed()
        else:
            handle.abort()
        return result

    @property
    def limit_s(self) -> float:
        """When the next goal runs out of time, monotonic seconds; infinite where none does."""
        return min((goal.limit_s for goal in self._goals), default=math.inf)

    def serve(self, states: Mapping[str, TrackedState]) -> None:
        """End the goals whose state is there or whose time is over; tell the others."""
        now_s = time.monotonic()
        for goal in list(self._goals):
            request = goal.handle.request
            tracked = states.get(request.name)
            if tracked is None:
                self._end(goal, tracked, f'predicate {request.name!r} was removed')
            elif tracked.state == request.state:
                self._end(goal, tracked, '')
            elif goal.handle.is_cancel_requested:
                self._end(goal, tracked, 'canceled')
            elif now_s >= goal.limit_s:
                still = f'still {tracked.state.name} after {request.timeout_s:.1f} s'
                self._end(goal, tracked, f'{still}: {tracked.reason}')
            else:
                _tell(goal, tracked, now_s)

    def give_up(self, reason: str) -> None:
        """End all goals without their states."""
        for goal in list(self._goals):
            self._end(goal, None, reason)

    def _end(self, goal: _Goal, tracked: TrackedState | None, message: str) -> None:
        self._goals.remove(goal)
        result = Result(reached=not message, message=message, probability=0.5)
        if tracked is not None:
            result.probability = tracked.probability
            result.state = state_message(goal.handle.request.name, tracked)
        goal.ended.set_result(result)


def _refusal(request: WaitForPredicate.Goal, known: set[str] | None, node: str) -> str:
    if known is None:
        return f'{node} is not active'
    if request.name not in known:
        return f'no predicate {request.name!r}'
    if request.state not in set(State):
        return f'no state {request.state}, expected 0 UNKNOWN, 1 FALSE or 2 TRUE'
    if math.isnan(request.timeout_s):
        return 'timeout_s must be a number'
    return ''


def _tell(goal: _Goal, tracked: TrackedState, now_s: float) -> None:
    seen = (tracked.probability, int(tracked.state))
    if seen == goal.told or now_s - goal.told_s < FEEDBACK_PERIOD_S:
        return
    goal.told, goal.told_s = seen, now_s
    state = state_message(goal.handle.request.name, tracked)
    goal.handle.publish_feedback(
        WaitForPredicate.Feedback(probability=tracked.probability, state=state)
    )
