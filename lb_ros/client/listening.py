"""One node, executor and thread for all clients of a context and a namespace.

The thread runs every request as a coroutine, so any number of them can wait at the same time. A
request ends with its answer, its time limit, its cancellation, or the death of the node that
serves it, which the liveliness of `predicates/state` shows within `NODE_LEASE_S`.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from lb_ros.action import WaitForPredicate
from lb_ros.client.answers import GoneError, NotAnsweredError
from lb_ros.client.heard import CLOSED, Heard, States
from lb_ros.ros.namespaces import nobody_line
from lb_ros.ros.qos import MANY

TICK_S = 0.02  # interval at which time limits and the readiness of services are checked
SETTLE_S = 0.1  # how long an answer is held back until the published states show it
Result = TypeVar('Result')


@dataclass(eq=False)
class Limits:
    """Time limits of a request.

    Attributes:
        ready_s: Seconds to wait for a node that offers the service.
        answer_s: Seconds to wait for the answer after that.
    """

    ready_s: float
    answer_s: float = math.inf


@dataclass(eq=False)
class Listener:
    """Receives and sends for all clients of a namespace; see `lb_ros.client.shared_listener`.

    Args:
        context: Context of its node.
        namespace: Namespace of its node; None for that of the process's arguments.
    """

    context: Context
    namespace: str | None
    clients: int = 0

    def __post_init__(self) -> None:
        self.node = self._make_node()
        self.heard = Heard(self.node)
        self._pending: set[Future[Any]] = set()
        self._services: dict[str, Any] = {}
        self._ticking = 0
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._tick = self.node.create_timer(TICK_S, lambda: None, clock=steady, autostart=False)
        self._action = ActionClient(
            self.node,
            WaitForPredicate,
            'wait_for',
            goal_service_qos_profile=MANY,
            result_service_qos_profile=MANY,
            cancel_service_qos_profile=MANY,
            feedback_sub_qos_profile=MANY,
        )
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._closed = False
        self.thread = threading.Thread(target=self._listen, name='lb_ros client', daemon=True)
        self.thread.start()

    def _make_node(self) -> Node:
        # The name is unique in the graph, even if the process's arguments rename nodes.
        name = f'language_client_{uuid4().hex[:8]}'
        rules = [f'__node:={name}']
        if self.namespace is not None:
            rules.append(f'__ns:=/{self.namespace.strip("/")}')
        words = [word for rule in rules for word in ('-r', rule)]
        return Node(
            name,
            context=self.context,
            cli_args=['--ros-args', *words],
            start_parameter_services=False,
        )

    @property
    def is_alive(self) -> bool:
        """Whether the listener still runs."""
        return not self._closed and self.thread.is_alive() and bool(self.context.ok())

    def close(self) -> None:
        """Stop listening and end all open requests."""
        self._closed = True
        self._executor.shutdown()
        self.thread.join(timeout=5.0)
        with contextlib.suppress(Exception):  # the context may be shut down already
            self._action.destroy()  # otherwise it keeps the node alive
            self.node.destroy_node()

    def _listen(self) -> None:
        try:
            with contextlib.suppress(ExternalShutdownException):
                self._executor.spin()
        finally:
            self._closed = True
            self.heard.close()
            for answer in list(self._pending):
                _fail(answer, NotAnsweredError(CLOSED))

    def submit(
        self, work: Callable[[Future[Result]], Coroutine[Any, Any, Result]]
    ) -> Future[Result]:
        """Run a coroutine on the listener's thread; `work` gets the future that it completes."""
        answer: Future[Result] = Future()

        async def run() -> None:
            try:
                result = await work(answer)
            except Exception as error:  # an exception that escapes would end the executor
                _fail(answer, error)
            else:
                with contextlib.suppress(Exception):  # the future was cancelled
                    answer.set_result(result)
            finally:
                self._pending.discard(answer)

        self._pending.add(answer)
        answer.add_done_callback(lambda answer: self._executor.wake())
        self._executor.create_task(run)
        if not self.is_alive:
            _fail(answer, NotAnsweredError(CLOSED))
        return answer

    async def call(
        self, kind: Any, name: str, request: Any, *, limits: Limits, answer: Future[Any]
    ) -> Any:
        """Return the response of a service.

        Raises:
            GoneError: The node died before it answered.
            NotAnsweredError: No node offers the service, or none answered in time.
        """
        client = self._services.get(name)
        if client is None:
            client = self.node.create_client(kind, name, qos_profile=MANY)
            self._services[name] = client
        await self._ready(client.service_is_ready, name, limits.ready_s, answer)
        sent = client.call_async(request)
        try:
            await self._answered(sent.done, name, limits.answer_s, answer)
        finally:
            client.remove_pending_request(sent)
        return sent.result()

    async def wait(
        self,
        goal: WaitForPredicate.Goal,
        *,
        feedback: Callable[[Any], None],
        limits: Limits,
        answer: Future[Any],
    ) -> WaitForPredicate.Result | None:
        """Return the result of a goal of `wait_for`; None if the future was cancelled.

        Raises:
            GoneError: The node died meanwhile.
            NotAnsweredError: No node offers `wait_for`, or the goal was not accepted.
        """
        await self._ready(self._action.server_is_ready, 'wait_for', limits.ready_s, answer)
        sent = self._action.send_goal_async(goal, feedback_callback=feedback)
        await self._answered(sent.done, 'wait_for', limits.answer_s, answer)
        if not sent.done():  # cancelled before it was accepted
            sent.add_done_callback(_cancel_when_accepted)
            return None
        handle = sent.result()
        if not handle.accepted:
            raise NotAnsweredError(f'the wait for {goal.name!r} was not accepted')
        results: list[Any] = []
        while not answer.done() and not any(result.done() for result in results):
            # Request the result again after one of several nodes has died: the node with the goal
            # keeps waiting, any other answers at once that it does not know the goal.
            results.append(handle.get_result_async())
            await self._ended(results, answer)
            if self.heard.gone_s is not None and not any(result.done() for result in results):
                raise GoneError(self.heard.gone_line())
        if answer.done():
            handle.cancel_goal_async()
            return None
        result = self._result(next(r.result() for r in results if r.done()), goal)
        if result.reached:
            await self.settle(lambda states: _shows(states, goal))
        return result

    async def settle(self, shows: Callable[[States], bool]) -> None:
        """Wait until the states agree with an answer of the node, for `SETTLE_S` at most.

        States arrive on a separate topic; a caller that reads them next should see the same.
        """
        await self.until(lambda: shows(self.heard.known), SETTLE_S)

    async def _ended(self, results: list[Any], answer: Future[Any]) -> None:
        losses = self.heard.losses

        def holds() -> bool:
            lost = self.heard.losses != losses or self.heard.gone_s is not None
            return lost or answer.done() or any(result.done() for result in results)

        await self.until(holds)

    def _result(self, response: Any, goal: WaitForPredicate.Goal) -> WaitForPredicate.Result:
        if response.result.code == 0:  # this node does not know the goal: the one that did died
            raise GoneError(f'the node that waited for {goal.name!r} died; another has started')
        return response.result

    async def _ready(
        self, is_ready: Callable[[], bool], name: str, limit_s: float, answer: Future[Any]
    ) -> None:
        def holds() -> bool:
            return answer.done() or (self.heard.gone_s is None and is_ready())

        if not await self.until(holds, limit_s):
            if self.heard.gone_s is not None:
                raise GoneError(self.heard.gone_line())
            raise NotAnsweredError(nobody_line(self.node, name, limit_s))

    async def _answered(
        self, done: Callable[[], bool], name: str, limit_s: float, answer: Future[Any]
    ) -> None:
        def holds() -> bool:
            return done() or answer.done() or self.heard.gone_s is not None

        if not await self.until(holds, limit_s):
            raise NotAnsweredError(f'{name}: no answer within {limit_s:.1f} s')
        if not done() and not answer.done():
            raise GoneError(f'{name}: {self.heard.gone_line()}')

    async def until(self, holds: Callable[[], bool], limit_s: float = math.inf) -> bool:
        """Wait until a condition holds, for `limit_s` seconds at most; return whether it does."""
        end_s = time.monotonic() + limit_s
        if not holds():
            self._ticks(1 if limit_s < math.inf else 0)
            try:
                while not holds() and time.monotonic() < end_s:
                    await _Turn()
            finally:
                self._ticks(-1 if limit_s < math.inf else 0)
        return holds()

    def _ticks(self, change: int) -> None:
        # Each tick wakes the executor, which then checks every waiting request.
        self._ticking += change
        if change > 0 and self._ticking == 1:
            self._tick.reset()
        elif change < 0 and self._ticking == 0:
            self._tick.cancel()


def _shows(states: States, goal: WaitForPredicate.Goal) -> bool:
    """Return whether these states satisfy a goal."""
    names = [goal.name, *goal.more_names]
    have = [name for name in names if name in states and states[name].state == goal.state]
    return bool(have) if goal.any_of else len(have) == len(names)


class _Turn:
    """Awaitable that yields once, so that the executor runs everything else first."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def _fail(answer: Future[Any], error: Exception) -> None:
    with contextlib.suppress(Exception):  # the future was cancelled or has ended already
        answer.set_exception(error)


def _cancel_when_accepted(sent: Any) -> None:
    if sent.exception() is None and sent.result() is not None and sent.result().accepted:
        sent.result().cancel_goal_async()
