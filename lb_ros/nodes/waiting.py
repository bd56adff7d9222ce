"""The action `wait_for`: goals that end when predicates reach a state."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from encoders import State, TrackedState
from encoders.predicates.tracks import Tracks
from lb_ros.action import WaitForPredicate
from lb_ros.ros.messages import state_message
from lb_ros.ros.qos import MANY
from lb_ros.ros.stamps import to_ns

FEEDBACK_PERIOD_S = 0.1
States = Mapping[str, TrackedState]
Result: TypeAlias = WaitForPredicate.Result


@dataclass
class _Goal:
    handle: ServerGoalHandle
    ended: Future
    limit_ns: int | None
    told_s: float = -math.inf
    told: tuple[str, float, int] | None = None

    @property
    def names(self) -> list[str]:
        request = self.handle.request
        return [request.name, *request.more_names]


class Waiting:
    """Serves `wait_for`; call `serve` after every evaluation.

    Args:
        node: Offers the action; its clock measures `timeout_s`.
        states: Returns the states of all predicates; None while the node is not active.
        evaluate: Requests an evaluation soon.
        callback_group: Callback group of the action server.
    """

    def __init__(
        self,
        node: Node,
        *,
        states: Callable[[], Awaitable[Tracks | None]],
        evaluate: Callable[[], None],
        callback_group: CallbackGroup,
    ) -> None:
        self._node, self._states, self._evaluate = node, states, evaluate
        self._goals: list[_Goal] = []
        self._server = ActionServer(
            node,
            WaitForPredicate,
            'wait_for',
            self._execute,
            cancel_callback=self._cancel,
            callback_group=callback_group,
            goal_service_qos_profile=MANY,
            result_service_qos_profile=MANY,
            cancel_service_qos_profile=MANY,
        )

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._evaluate()
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> Result:
        request, states = handle.request, await self._states()
        refused = _refusal(request, states, self._node.get_name())
        if refused is not None or states is None:
            handle.abort()
            return refused
        timeout_ns = request.timeout_s * 1e9
        limit_ns = round(self._now_ns() + timeout_ns) if 0 < timeout_ns < math.inf else None
        goal = _Goal(handle, Future(), limit_ns)
        self._goals.append(goal)
        # The last evaluation is valid until new evidence or a deadline causes another one.
        if states.scores is None or not self._reached(goal, states):
            self._evaluate()
        result: Result = await goal.ended
        if result.code == Result.CANCELLED:
            handle.canceled()
        elif result.reached:
            handle.succeed()
        else:
            handle.abort()
        return result

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    @property
    def limit_ns(self) -> int | None:
        """Time of the node's clock at which the next goal times out; None without a limit."""
        return min((g.limit_ns for g in self._goals if g.limit_ns is not None), default=None)

    def shift(self, delta_ns: int) -> None:
        """Shift all limits after a jump of the node's clock; goals keep their remaining time."""
        for goal in self._goals:
            if goal.limit_ns is not None:
                goal.limit_ns += delta_ns

    def serve(self, states: States) -> None:
        """End goals that are reached, cancelled or timed out; send feedback to the others."""
        now_s, now_ns = time.monotonic(), self._now_ns()
        for goal in list(self._goals):
            gone = [name for name in goal.names if name not in states]
            if gone:
                self._end(goal, Result.UNKNOWN_PREDICATE, f'predicate {gone[0]!r} was removed')
            elif self._reached(goal, states):
                continue
            elif goal.handle.is_cancel_requested:
                self._end(goal, Result.CANCELLED, 'cancelled', _telling(goal, states))
            elif goal.limit_ns is not None and now_ns >= goal.limit_ns:
                name, tracked = found = _telling(goal, states)
                timeout_s = goal.handle.request.timeout_s
                still = f'{name} still {tracked.state.name} after {timeout_s:.1f} s'
                self._end(goal, Result.TIMEOUT, f'{still}: {tracked.reason}', found)
            else:
                _report(goal, *_telling(goal, states), now_s)

    def _reached(self, goal: _Goal, states: States) -> bool:
        """End the goal if its state is reached; return whether it is."""
        request = goal.handle.request
        have = [name for name in goal.names if _has(request, states[name])]
        if not (have if request.any_of else len(have) == len(goal.names)):
            return False
        self._end(goal, Result.REACHED, '', (have[0], states[have[0]]))
        return True

    def give_up(self, reason: str) -> None:
        """End all goals unreached, with a reason."""
        for goal in list(self._goals):
            self._end(goal, Result.NOT_ACTIVE, reason)

    def _end(
        self, goal: _Goal, code: int, message: str, found: tuple[str, TrackedState] | None = None
    ) -> None:
        self._goals.remove(goal)
        result = _result(code, message)
        result.probability = 0.5
        if found is not None:
            result.probability = found[1].probability
            result.state = state_message(*found)
        goal.ended.set_result(result)


def _result(code: int, message: str) -> Result:
    return Result(code=code, reached=code == Result.REACHED, message=message)


def _refusal(request: WaitForPredicate.Goal, states: Tracks | None, node: str) -> Result | None:
    """Return the result that refuses a goal; None for a valid goal."""
    if states is None:
        return _result(Result.NOT_ACTIVE, f'{node} is not active')
    for name in (request.name, *request.more_names):
        if name not in states.index:
            return _result(Result.UNKNOWN_PREDICATE, f'no predicate {name!r}')
    if request.state not in set(State):
        message = f'no state {request.state}, expected 0 UNKNOWN, 1 FALSE or 2 TRUE'
        return _result(Result.INVALID, message)
    if math.isnan(request.timeout_s):
        return _result(Result.INVALID, 'timeout_s must be a number')
    return None


def _has(request: WaitForPredicate.Goal, tracked: TrackedState) -> bool:
    """Return whether a predicate has the goal's state and, with `since`, got it after that."""
    since_ns = to_ns(request.since)
    return tracked.state == request.state and (
        not since_ns or round(tracked.since_ms * 1e6) > since_ns
    )


def _telling(goal: _Goal, states: States) -> tuple[str, TrackedState]:
    """Return the first predicate that does not have the goal's state, with its current state."""
    name = next((n for n in goal.names if not _has(goal.handle.request, states[n])), goal.names[0])
    return name, states[name]


def _report(goal: _Goal, name: str, tracked: TrackedState, now_s: float) -> None:
    seen = (name, tracked.probability, int(tracked.state))
    if seen == goal.told or now_s - goal.told_s < FEEDBACK_PERIOD_S:
        return
    goal.told, goal.told_s = seen, now_s
    state = state_message(name, tracked)
    goal.handle.publish_feedback(
        WaitForPredicate.Feedback(probability=tracked.probability, state=state)
    )
