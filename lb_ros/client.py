"""Ask running nodes from Python: sentences, states, and waiting for a state."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from encoders import Predicate, State
from lb_ros.action import WaitForPredicate
from lb_ros.answers import (
    NotAnsweredError,
    PredicateStatus,
    TextAnswer,
    answers_from_message,
    status_from_message,
)
from lb_ros.dds_profile import use_dds_profile
from lb_ros.messages import predicate_from_message, predicate_message
from lb_ros.msg import PredicateStates
from lb_ros.qos import LATCHED
from lb_ros.srv import (
    AddPredicates,
    ListPredicates,
    LoadModel,
    QueryText,
    RemovePredicates,
    SetPredicates,
)
from lb_ros.stamps import to_stamp

__all__ = ['LanguageClient', 'NotAnsweredError', 'PredicateStatus', 'TextAnswer', 'Watch']

# What embedding a predicate's sentences may take, beside busy sensors on a busy machine.
PREDICATE_S = 0.1


@dataclass
class Watch:
    """A running `watch`; call `close` to end it."""

    close: Callable[[], None] = field(repr=False)


class LanguageClient:
    """A client of a running `predicates` node.

    On its own:

        with LanguageClient() as client:
            print(client.query(['the drawer is open'])[0].fused)
            if client.wait_until('drawer_open', timeout_s=5):
                ...

    Inside a node, `LanguageClient(node)` joins its context and namespace. All methods may be
    called from anywhere, also from a callback of that node: the client listens on a thread of its
    own, whether or not the node is being spun.

    Args:
        node: The node it works for; None to start ROS where it has not been.
        namespace: Of the `predicates` node; that of `node` where empty.
        timeout_s: How long to wait for the nodes and for each answer.
    """

    def __init__(
        self, node: Node | None = None, *, namespace: str = '', timeout_s: float = 5.0
    ) -> None:
        self.timeout_s = timeout_s
        context = None if node is None else node.context
        self._started_ros = context is None and not rclpy.ok()
        if self._started_ros:
            use_dds_profile()
            rclpy.init()
        name = 'language_client' if node is None else f'{node.get_name()}_language_client'
        within = namespace or (node.get_namespace() if node is not None else None)
        self._node = Node(
            name, namespace=within, context=context, use_global_arguments=node is None
        )
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._services: dict[str, Any] = {}
        self._action: ActionClient | None = None
        self._lock = threading.RLock()
        self._states: dict[str, PredicateStatus] | None = None
        self._heard = threading.Condition()
        self._watchers: list[Callable[[dict[str, PredicateStatus]], None]] = []
        self._node.create_subscription(PredicateStates, 'predicates/state', self._store, LATCHED)
        self._thread = threading.Thread(target=self._listen, name=name, daemon=True)
        self._thread.start()

    def __enter__(self) -> LanguageClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._thread.join(timeout=self.timeout_s)
        self._node.destroy_node()
        if self._started_ros:
            rclpy.try_shutdown()

    def query(
        self,
        texts: Sequence[str] | str,
        *,
        modalities: Sequence[str] = (),
        max_age_ms: float = 1000.0,
        at_s: float | None = None,
    ) -> list[TextAnswer]:
        """Compare sentences with the newest evidence, or with that of a past moment.

        Args:
            texts: One or more sentences.
            modalities: Ask only these; all where empty.
            max_age_ms: Evidence older than this does not count.
            at_s: The moment, seconds of the nodes' clock; now where None.

        Returns:
            An answer per sentence.

        Raises:
            NotAnsweredError: No answer in time, or a sentence or modality is not usable.
        """
        listed = [texts] if isinstance(texts, str) else list(texts)
        request = QueryText.Request(
            texts=listed, modalities=list(modalities), max_age_ms=float(max_age_ms)
        )
        if at_s is not None:
            request.at = to_stamp(round(at_s * 1e9))
        return answers_from_message(listed, self._call(QueryText, 'query', request))

    def wait_until(
        self,
        name: str,
        *,
        timeout_s: float = 30.0,
        state: State = State.TRUE,
        on_probability: Callable[[float], None] | None = None,
    ) -> bool:
        """Wait until a predicate has a state; False where it does not within `timeout_s`.

        Args:
            name: Of the predicate.
            timeout_s: 0 or less waits for ever.
            state: To wait for.
            on_probability: Called with the fused probability while waiting.

        Raises:
            NotAnsweredError: There is no such node or predicate, or the node was stopped.
        """
        client = self._action_client()
        goal = WaitForPredicate.Goal(name=name, state=int(state), timeout_s=float(timeout_s))
        ended = threading.Event()

        def feedback(message: Any) -> None:
            if on_probability is not None:
                on_probability(message.feedback.probability)

        sent = client.send_goal_async(goal, feedback_callback=feedback)
        handle = self._wait(sent, self.timeout_s, 'wait_for')
        if not handle.accepted:
            raise NotAnsweredError(f'the wait for {name!r} was not accepted')
        result = handle.get_result_async()
        result.add_done_callback(lambda future: ended.set())
        limit_s = timeout_s + self.timeout_s if timeout_s > 0 else math.inf
        try:
            self._wait(result, limit_s, 'wait_for')
        except BaseException:  # also Ctrl-C: nobody waits for the goal any more
            handle.cancel_goal_async()
            raise
        found = result.result().result
        if not found.reached and not found.message.startswith('still '):
            raise NotAnsweredError(found.message)
        return bool(found.reached)

    def states(self) -> dict[str, PredicateStatus]:
        """The states of all predicates by name, as last published.

        Raises:
            NotAnsweredError: No node publishes them.
        """
        with self._heard:
            heard = self._heard.wait_for(lambda: self._states is not None, self.timeout_s)
            states = dict(self._states or {})
        if not heard:
            raise NotAnsweredError(f'no states within {self.timeout_s:.1f} s; is bringup running?')
        if not self._node.count_publishers('predicates/state'):
            raise NotAnsweredError('the node that published the states has gone')
        return states

    def watch(self, callback: Callable[[dict[str, PredicateStatus]], None]) -> Watch:
        """Call `callback` with all states by name, now and whenever one changes.

        It is called on the client's thread. The states before the first change come at once
        where they are known.

        Returns:
            A handle whose `close` ends it.
        """
        with self._heard:
            self._watchers.append(callback)
            states = None if self._states is None else dict(self._states)
        if states is not None:
            self._executor.create_task(self._tell, callback, states)

        def close() -> None:
            with self._heard:
                if callback in self._watchers:
                    self._watchers.remove(callback)

        return Watch(close)

    def set(self, predicates: Sequence[Predicate | str]) -> list[str]:
        """Score these predicates instead of all others, all or none; sentences will do.

        Returns:
            Names of all that are scored now.

        Raises:
            NotAnsweredError: One was refused, and nothing has changed; or there was no answer
                within `timeout_s` and `PREDICATE_S` for each predicate.
        """
        return self._change(SetPredicates, 'predicates/set', predicates)

    def add(self, *predicates: Predicate | str) -> list[str]:
        """Score these predicates as well, all or none; those of the same names are replaced.

        Returns:
            Names of all that are scored now.

        Raises:
            NotAnsweredError: One was refused, and nothing has changed; or there was no answer
                within `timeout_s` and `PREDICATE_S` for each predicate.
        """
        return self._change(AddPredicates, 'predicates/add', predicates)

    def remove(self, *names: str) -> list[str]:
        """Score these predicates no more, all or none.

        Returns:
            Names of all that are scored now.

        Raises:
            NotAnsweredError: No answer in time, or there is none of a name.
        """
        request = RemovePredicates.Request(names=list(names))
        return list(self._call(RemovePredicates, 'predicates/remove', request).active)

    def now_s(self) -> float:
        """The present, seconds of this node's clock."""
        return float(self._node.get_clock().now().nanoseconds * 1e-9)

    def predicates(self) -> list[Predicate]:
        """The predicates that are scored.

        Raises:
            NotAnsweredError: No answer in time.
        """
        response = self._call(ListPredicates, 'predicates/list', ListPredicates.Request())
        return [predicate_from_message(message) for message in response.predicates]

    def load_model(self, model: str, *, timeout_s: float = 120.0) -> str:
        """Change the model set of the running nodes; returns the language space now in use.

        Raises:
            NotAnsweredError: No answer in time, or it cannot be loaded; the old one stays.
        """
        request = LoadModel.Request(model=model)
        response = self._call(LoadModel, 'load_model', request, timeout_s=timeout_s)
        return str(response.language_space)

    def _change(self, kind: Any, name: str, predicates: Sequence[Predicate | str]) -> list[str]:
        request = kind.Request(predicates=_messages(predicates))
        limit_s = self.timeout_s + PREDICATE_S * len(predicates)
        return list(self._call(kind, name, request, timeout_s=limit_s).active)

    def _listen(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _store(self, message: PredicateStates) -> None:
        states = {state.name: status_from_message(state) for state in message.states}
        with self._heard:
            self._states = states
            self._heard.notify_all()
            watchers = list(self._watchers)
        for callback in watchers:
            self._tell(callback, dict(states))

    def _tell(
        self,
        callback: Callable[[dict[str, PredicateStatus]], None],
        states: dict[str, PredicateStatus],
    ) -> None:
        try:
            callback(states)
        except Exception as error:  # the client's thread must outlive it
            self._node.get_logger().error(f'a watcher failed: {type(error).__name__}: {error}')

    def _action_client(self) -> ActionClient:
        with self._lock:
            if self._action is None:
                self._action = ActionClient(self._node, WaitForPredicate, 'wait_for')
        if not self._action.wait_for_server(self.timeout_s):
            raise NotAnsweredError(
                f'no node offers wait_for within {self.timeout_s:.1f} s; is bringup running?'
            )
        return self._action

    def _call(self, kind: Any, name: str, request: Any, *, timeout_s: float = 0.0) -> Any:
        with self._lock:
            client = self._services.get(name)
            if client is None:
                client = self._services[name] = self._node.create_client(kind, name)
        if not client.wait_for_service(self.timeout_s):
            raise NotAnsweredError(
                f'no node offers {name} within {self.timeout_s:.1f} s; is bringup running?'
            )
        response = self._wait(client.call_async(request), timeout_s or self.timeout_s, name)
        if not response.success:
            reasons = getattr(response, 'reasons', ())
            names = getattr(response, 'refused', ())
            raise NotAnsweredError(
                response.message, refused=dict(zip(names, reasons, strict=True))
            )
        return response

    def _wait(self, future: Any, timeout_s: float, name: str) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda future: done.set())
        limit_s = time.monotonic() + timeout_s
        while not done.wait(max(0.0, min(1.0, limit_s - time.monotonic()))):
            if time.monotonic() >= limit_s:
                raise NotAnsweredError(f'{name}: no answer within {timeout_s:.1f} s')
            if not self._thread.is_alive():
                raise NotAnsweredError(f'{name}: the client was closed')
        return future.result()


def _messages(predicates: Sequence[Predicate | str]) -> list[Any]:
    return [
        predicate_message(Predicate.from_sentence(p) if isinstance(p, str) else p)
        for p in predicates
    ]
