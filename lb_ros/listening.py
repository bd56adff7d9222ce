"""One node, executor and thread for all clients of a context and a namespace.

The thread runs every request as a coroutine, so that any number of them wait at the same time. A
request ends with its answer, its time limit, its cancellation, or the death of the node that was
asked, which the liveliness of `predicates/state` shows within `LIVELINESS_S`.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from lb_ros.action import WaitForPredicate
from lb_ros.answers import GoneError, NotAnsweredError, PredicateStatus, status_from_message
from lb_ros.msg import PredicateStates
from lb_ros.namespaces import elsewhere_line
from lb_ros.qos import LATCHED, MANY, STATES

TICK_S = 0.02  # how often time limits and the readiness of services are checked
GRAPH_PERIOD_S = 0.5
NODE = 'predicates'
States = dict[str, PredicateStatus]
Result = TypeVar('Result')


@dataclass(eq=False)
class Ear:
    """Callbacks for states and for the death of the node; called on the listener's thread."""

    states: Callable[[States], None]
    gone: Callable[[str], None]


@dataclass(eq=False)
class Limits:
    """How long a request may wait.

    Attributes:
        ready_s: For a node that answers.
        answer_s: For the answer after that.
    """

    ready_s: float
    answer_s: float = math.inf


@dataclass(eq=False)
class Listener:
    """Listens and asks for all clients of a namespace; see `lb_ros.shared_listener`.

    Args:
        context: Of its node.
        namespace: Of its node; None for that of the process's arguments.
    """

    context: Context
    namespace: str | None
    clients: int = 0
    gone_s: float | None = field(default=None, init=False)
    losses: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.node = self._make_node()
        self._states: States | None = None
        self._awaits_states = False  # a node has started to live, and has sent none yet
        self._news = threading.Condition()
        self._ears: list[Ear] = []
        self._pending: set[Future[Any]] = set()
        self._services: dict[str, Any] = {}
        self._ticking = 0
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._tick = self.node.create_timer(TICK_S, lambda: None, clock=steady, autostart=False)
        self._subscribe(steady)
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
        # Names are unique in the graph, whatever the process was renamed to.
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

    def _subscribe(self, steady: Clock) -> None:
        topic, node = 'predicates/state', self.node
        events = SubscriptionEventCallbacks(liveliness=self._liveliness)
        try:
            node.create_subscription(
                PredicateStates, topic, self._store, STATES, event_callbacks=events
            )
        except UnsupportedEventTypeError:  # this middleware only shows the graph
            node.create_subscription(PredicateStates, topic, self._store, LATCHED)
            node.create_timer(GRAPH_PERIOD_S, self._look_at_graph, clock=steady)

    @property
    def is_alive(self) -> bool:
        """Whether it still listens."""
        return not self._closed and self.thread.is_alive() and bool(self.context.ok())

    def close(self) -> None:
        """Stop listening; all requests that are still open end."""
        self._closed = True
        self._executor.shutdown()
        self.thread.join(timeout=5.0)
        with contextlib.suppress(Exception):  # the context may have been shut down before
            self._action.destroy()  # it keeps the node alive otherwise
            self.node.destroy_node()

    def _listen(self) -> None:
        try:
            with contextlib.suppress(ExternalShutdownException):
                self._executor.spin()
        finally:
            self._closed = True
            for ear in list(self._ears):
                ear.gone('ROS was shut down, or the client was closed')
            for answer in list(self._pending):
                _fail(answer, NotAnsweredError('ROS was shut down, or the client was closed'))

    # States and life of the node

    def _store(self, message: PredicateStates, info: Any) -> None:
        sent_s = info['source_timestamp'] * 1e-9
        states = {s.name: status_from_message(s, published_s=sent_s) for s in message.states}
        self._publish(states)

    def _publish(self, states: States) -> None:
        with self._news:
            self._states, self._awaits_states, self.gone_s = states, False, None
            self._news.notify_all()
            ears = list(self._ears)
        for ear in ears:
            ear.states(dict(states))

    def _liveliness(self, event: Any) -> None:
        if event.alive_count_change > 0:
            self._found(is_known=event.not_alive_count_change < 0)
        elif event.alive_count_change < 0 or event.not_alive_count_change > 0:
            # Below 0 where this process has closed a subscription to the topic before: Fast DDS
            # does not tell the next one that the node is alive already, but that it has died.
            self._lost(is_last=event.alive_count <= 0)

    def _found(self, *, is_known: bool) -> None:
        """A node lives: one that had only fallen silent, or another, which sends its states."""
        was_gone, states = self.gone_s is not None, self._states
        if is_known and was_gone and states is not None:
            self._publish(states)
            return
        with self._news:
            self._awaits_states = True
            if was_gone:
                self._states, self.gone_s = None, None

    def _look_at_graph(self) -> None:
        count = self.node.count_publishers('predicates/state')
        if count and self.gone_s is not None:
            self._found(is_known=False)
        elif not count and self._states is not None and self.gone_s is None:
            self._lost(is_last=True)

    def _lost(self, *, is_last: bool) -> None:
        with self._news:
            self.losses += 1
            if not is_last:
                if self._awaits_states:  # those known are of the node that has died
                    self._states = None
                return
            self.gone_s = time.monotonic()
            self._news.notify_all()
            ears = list(self._ears)
        for ear in ears:
            ear.gone(self.gone_line())

    def gone_line(self) -> str:
        """That the node has died, and when this was noticed."""
        since_s = 0.0 if self.gone_s is None else time.monotonic() - self.gone_s
        return (
            f'the node {self.node.get_namespace().rstrip("/")}/{NODE} stopped or died '
            f'(noticed {since_s:.1f} s ago); start it again'
        )

    def states(self, timeout_s: float) -> States:
        """The states as last published by a node that lives; waits for the first.

        Raises:
            GoneError: The node has died.
            NotAnsweredError: No node published them in time.
        """
        with self._news:
            self._news.wait_for(
                lambda: self._states is not None or self.gone_s is not None, timeout_s
            )
            states, gone = self._states, self.gone_s is not None
        if gone:
            raise GoneError(self.gone_line())
        if states is None:
            raise NotAnsweredError(self.nobody('predicates/state', timeout_s))
        return dict(states)

    def add(self, ear: Ear) -> States | None:
        """Call its callbacks from now on; returns the states so far where the node lives."""
        with self._news:
            self._ears.append(ear)
            return None if self._states is None or self.gone_s is not None else dict(self._states)

    def remove(self, ear: Ear) -> None:
        """Call its callbacks no more."""
        with self._news:
            if ear in self._ears:
                self._ears.remove(ear)

    def nobody(self, name: str, timeout_s: float) -> str:
        """That no node offers or publishes `name`, and which namespaces have one that does."""
        where = self.node.get_namespace()
        return (
            f'no node offers {name} in namespace {where} within {timeout_s:.1f} s; '
            f'{elsewhere_line(self.node) or "is bringup running?"}'
        )

    # Requests

    def submit(
        self, work: Callable[[Future[Result]], Coroutine[Any, Any, Result]]
    ) -> Future[Result]:
        """Run a coroutine on the listener's thread; `work` gets the future that it completes."""
        answer: Future[Result] = Future()

        async def run() -> None:
            try:
                result = await work(answer)
            except Exception as error:  # one that escaped would end the executor
                _fail(answer, error)
            else:
                with contextlib.suppress(Exception):  # it was cancelled
                    answer.set_result(result)
            finally:
                self._pending.discard(answer)

        self._pending.add(answer)
        answer.add_done_callback(lambda answer: self._executor.wake())
        self._executor.create_task(run)
        if not self.is_alive:
            _fail(answer, NotAnsweredError('ROS was shut down, or the client was closed'))
        return answer

    async def call(
        self, kind: Any, name: str, request: Any, *, limits: Limits, answer: Future[Any]
    ) -> Any:
        """The response of a service.

        Raises:
            GoneError: The node died before it answered.
            NotAnsweredError: No node offers it, or none answered in time.
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
        """The result of a goal of `wait_for`; None where the future was cancelled.

        Raises:
            GoneError: The node died meanwhile.
            NotAnsweredError: No node offers `wait_for`, or it did not take the goal.
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
            # Asked again after one of several nodes has died: the node that has the goal goes on
            # waiting, another one answers at once that it does not know it.
            results.append(handle.get_result_async())
            await self._ended(results, answer)
            if self.gone_s is not None and not any(result.done() for result in results):
                raise GoneError(self.gone_line())
        if answer.done():
            handle.cancel_goal_async()
            return None
        return self._result(next(r.result() for r in results if r.done()), goal)

    async def _ended(self, results: list[Any], answer: Future[Any]) -> None:
        losses = self.losses

        def holds() -> bool:
            lost = self.losses != losses or self.gone_s is not None
            return lost or answer.done() or any(result.done() for result in results)

        await self.until(holds)

    def _result(self, response: Any, goal: WaitForPredicate.Goal) -> WaitForPredicate.Result:
        if response.result.code == 0:  # the node does not know the goal: another node has died
            raise GoneError(f'the node that waited for {goal.name!r} died; another has started')
        return response.result

    async def _ready(
        self, is_ready: Callable[[], bool], name: str, limit_s: float, answer: Future[Any]
    ) -> None:
        def holds() -> bool:
            return answer.done() or (self.gone_s is None and is_ready())

        if not await self.until(holds, limit_s):
            if self.gone_s is not None:
                raise GoneError(self.gone_line())
            raise NotAnsweredError(self.nobody(name, limit_s))

    async def _answered(
        self, done: Callable[[], bool], name: str, limit_s: float, answer: Future[Any]
    ) -> None:
        def holds() -> bool:
            return done() or answer.done() or self.gone_s is not None

        if not await self.until(holds, limit_s):
            raise NotAnsweredError(f'{name}: no answer within {limit_s:.1f} s')
        if not done() and not answer.done():
            raise GoneError(f'{name}: {self.gone_line()}')

    async def until(self, holds: Callable[[], bool], limit_s: float = math.inf) -> bool:
        """Wait until something holds, for so many seconds at most; whether it does."""
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
        # Each tick wakes the executor, which then looks at every request that waits.
        self._ticking += change
        if change > 0 and self._ticking == 1:
            self._tick.reset()
        elif change < 0 and self._ticking == 0:
            self._tick.cancel()


class _Turn:
    """Awaited once, it lets the executor do everything else first."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def _fail(answer: Future[Any], error: Exception) -> None:
    with contextlib.suppress(Exception):  # it was cancelled, or has ended already
        answer.set_exception(error)


def _cancel_when_accepted(sent: Any) -> None:
    if sent.exception() is None and sent.result() is not None and sent.result().accepted:
        sent.result().cancel_goal_async()
