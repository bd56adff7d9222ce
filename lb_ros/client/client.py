"""`LanguageClient`: query sentences, read states and wait for states of running nodes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from std_srvs.srv import Trigger

from encoders import Predicate, State
from lb_ros.client.answers import (
    NotAnsweredError,
    PredicateStatus,
    TextAnswer,
    answers_from_message,
)
from lb_ros.client.guard import Guard, Watch
from lb_ros.client.heard import Ear, States
from lb_ros.client.requests import query_request, wait_goal
from lb_ros.client.teaching import Teaching
from lb_ros.ros.messages import predicate_from_message, predicate_message
from lb_ros.ros.stamps import to_ns
from lb_ros.srv import (
    AddPredicates,
    GetTime,
    ListPredicates,
    LoadModel,
    QueryText,
    RemovePredicates,
    SetPredicates,
)

# Time limit for embedding the sentences of a predicate while sensors load a busy machine.
PREDICATE_S = 0.1


class LanguageClient(Teaching):
    """A client of a running `predicates` node.

    In a program without a node:

        with LanguageClient() as client:
            print(client.query(['the drawer is open'])[0].fused)
            if client.wait_until('drawer_open', timeout_s=5):
                ...

    Inside a node, `LanguageClient(node)` joins its context and namespace. All methods may be
    called from any thread and callback, including callbacks of that node and of the client; only
    done callbacks of a future must not block. All clients of a context and namespace share one
    node and one thread, so an additional client costs nothing.

    Args:
        node: Node whose context and namespace to join; None to start ROS if it is not running.
        namespace: Namespace of the `predicates` node; if empty, that of `node`.
        timeout_s: How long to wait for the nodes and for each answer, seconds of wall time.

    Raises:
        ValueError: `namespace` is not valid.
    """

    def query(
        self,
        texts: Sequence[str] | str,
        *,
        modalities: Sequence[str] = (),
        max_age_ms: float = 1000.0,
        at_s: float | None = None,
        ago_s: float = 0.0,
    ) -> list[TextAnswer]:
        """Compare sentences with the newest evidence, or with that of a time in the past.

        Args:
            texts: One or more sentences.
            modalities: Use only these; all if empty.
            max_age_ms: Evidence older than this does not count.
            at_s: Time to ask about, seconds of the nodes' clock; None for now.
            ago_s: Alternative to `at_s`: seconds before now, by the nodes' clock.

        Returns:
            One answer per sentence.

        Raises:
            NotAnsweredError: No answer in time, or a sentence or modality is not usable.
        """
        answer = self.query_async(
            texts, modalities=modalities, max_age_ms=max_age_ms, at_s=at_s, ago_s=ago_s
        )
        return self._wait(answer)

    def query_async(
        self,
        texts: Sequence[str] | str,
        *,
        modalities: Sequence[str] = (),
        max_age_ms: float = 1000.0,
        at_s: float | None = None,
        ago_s: float = 0.0,
    ) -> Future[list[TextAnswer]]:
        """Like `query`, but return a future; its `result()` raises what `query` raises.

        It is a `concurrent.futures.Future`: call `result(timeout)`, add a done callback, or, in
        asyncio, `await asyncio.wrap_future(future)`. `cancel()` abandons the request. Done
        callbacks run on the thread that receives all answers and must not block.
        """
        listed = [texts] if isinstance(texts, str) else list(texts)
        request = query_request(
            listed, modalities=modalities, max_age_ms=max_age_ms, at_s=at_s, ago_s=ago_s
        )
        return self._call(
            QueryText, 'query', request, lambda response: answers_from_message(listed, response)
        )

    def wait_until(
        self,
        name: str,
        *,
        timeout_s: float = 30.0,
        state: State = State.TRUE,
        since_s: float | None = None,
        on_probability: Callable[[float], None] | None = None,
    ) -> bool:
        """Wait until a predicate has a state; return False if it has not within `timeout_s`.

        Args:
            name: Name of the predicate.
            timeout_s: Seconds of the nodes' clock; 0 or less waits without a limit.
            state: State to wait for.
            since_s: Count only a state that began after this time of the nodes' clock; to wait
                for a change, pass `since_s=client.now_s()`.
            on_probability: Called with the fused probability while waiting, on a thread of the
                client.

        Raises:
            GoneError: The node stopped or died.
            NotAnsweredError: There is no such node or predicate, or it is not active.
        """
        reached = self.wait_async(
            name,
            timeout_s=timeout_s,
            state=state,
            since_s=since_s,
            on_probability=on_probability,
        )
        return self._wait(reached)

    def wait_async(
        self,
        name: str,
        *,
        timeout_s: float = 30.0,
        state: State = State.TRUE,
        since_s: float | None = None,
        on_probability: Callable[[float], None] | None = None,
    ) -> Future[bool]:
        """Like `wait_until`, but return a future; see `query_async`.

        `cancel()` ends the wait, also at the node.
        """
        goal = wait_goal([name], state=state, timeout_s=timeout_s, since_s=since_s)
        return self._send(goal, on_probability)

    def wait_all(
        self,
        names: Sequence[str],
        *,
        timeout_s: float = 30.0,
        state: State = State.TRUE,
        since_s: float | None = None,
    ) -> bool:
        """Wait until all predicates have a state at the same time; see `wait_until`."""
        waits = self.wait_all_async(names, timeout_s=timeout_s, state=state, since_s=since_s)
        return self._wait(waits)

    def wait_all_async(
        self,
        names: Sequence[str],
        *,
        timeout_s: float = 30.0,
        state: State = State.TRUE,
        since_s: float | None = None,
    ) -> Future[bool]:
        """Like `wait_all`, but return a future; see `wait_async`."""
        return self._send(wait_goal(names, state=state, timeout_s=timeout_s, since_s=since_s))

    def wait_any(
        self,
        names: Sequence[str],
        *,
        timeout_s: float = 30.0,
        state: State = State.TRUE,
        since_s: float | None = None,
    ) -> str | None:
        """Wait until one of several predicates has a state; see `wait_until`.

        Returns:
            Name of the first that has it; None if none has within `timeout_s`.
        """
        waits = self.wait_any_async(names, timeout_s=timeout_s, state=state, since_s=since_s)
        return self._wait(waits)

    def wait_any_async(
        self,
        names: Sequence[str],
        *,
        timeout_s: float = 30.0,
        state: State = State.TRUE,
        since_s: float | None = None,
    ) -> Future[str | None]:
        """Like `wait_any`, but return a future; see `wait_async`."""
        goal = wait_goal(names, state=state, timeout_s=timeout_s, since_s=since_s, any_of=True)
        return self._send(goal, result=lambda reached, name: name if reached else None)

    def while_holds(
        self,
        name: str,
        on_end: Callable[[str], None] | None = None,
        *,
        state: State = State.TRUE,
    ) -> Guard:
        """Return a guard that ends when a predicate no longer has a state.

            with client.while_holds('gripper_holds_cup', on_end=stop) as guard:
                while moving():
                    guard.check()

        The guard ends once, at the first of these events: the predicate has another state,
        including UNKNOWN; the predicate is removed; the node stops or dies. If the predicate does
        not have the state at the start, the guard ends immediately.

        Args:
            name: Name of the predicate.
            on_end: Called once with the reason, on a thread of the client.
            state: State to keep.

        Raises:
            NotAnsweredError: No node published states within `timeout_s`, or it has died.
        """
        guard = Guard(
            self._listener.heard,
            name,
            state,
            on_end,
            dispatcher=self._dispatcher,
            on_close=lambda guard: self._closed(guard.close),
        )
        self._closes(guard.close)
        try:
            return guard.begin(self.timeout_s)
        except NotAnsweredError:
            guard.close()
            raise

    def states(self) -> dict[str, PredicateStatus]:
        """Return the states of all predicates by name, as last published; see their `age_s`.

        Raises:
            GoneError: The node that published them stopped or died.
            NotAnsweredError: No node publishes them within `timeout_s`.
        """
        self._check_thread()
        return self._listener.heard.states(self.timeout_s)

    def watch(
        self,
        callback: Callable[[dict[str, PredicateStatus]], None],
        *,
        on_gone: Callable[[str], None] | None = None,
    ) -> Watch:
        """Call `callback` with all states by name, now and whenever one changes.

        It is called on a thread of the client, one call after the other. The current states are
        passed immediately if they are known.

        Args:
            callback: Receives the states.
            on_gone: Called with the reason when the node stops or dies.

        Returns:
            A handle whose `close` ends the watch.
        """

        def pass_on(states: States) -> None:
            self._dispatcher.call(report, states)

        def report(states: States) -> None:
            if not ended.is_set():
                callback(states)

        def gone(reason: str) -> None:
            if on_gone is not None and not ended.is_set():
                self._dispatcher.call(on_gone, reason)

        def close() -> None:
            ended.set()
            self._listener.heard.remove(ear)
            self._closed(close)

        ended, ear = threading.Event(), Ear(pass_on, gone)
        states = self._listener.heard.add(ear)
        if states is not None:
            pass_on(states)
        self._closes(close)
        return Watch(close)

    def set(self, predicates: Sequence[Predicate | str]) -> list[str]:
        """Replace all predicates by these, all or none; a sentence stands for a predicate.

        Returns:
            Names of all predicates that are scored now.

        Raises:
            NotAnsweredError: One was refused and nothing changed, or there was no answer within
                `timeout_s` plus `PREDICATE_S` for each predicate.
        """
        return self._change(SetPredicates, 'predicates/set', predicates)

    def add(self, *predicates: Predicate | str) -> list[str]:
        """Score these predicates as well, all or none; replace those of the same names.

        Returns:
            Names of all predicates that are scored now.

        Raises:
            NotAnsweredError: One was refused and nothing changed, or there was no answer within
                `timeout_s` plus `PREDICATE_S` for each predicate.
        """
        return self._change(AddPredicates, 'predicates/add', predicates)

    def remove(self, *names: str) -> list[str]:
        """Stop scoring these predicates, all or none.

        Returns:
            Names of all predicates that are scored now.

        Raises:
            NotAnsweredError: No answer in time, or no predicate has one of the names.
        """
        request = RemovePredicates.Request(names=list(names))
        return self._wait(self._call(RemovePredicates, 'predicates/remove', request, _active))

    def now_s(self) -> float:
        """Return the time of the nodes' clock in seconds, from the node: also right in replay.

        Raises:
            NotAnsweredError: No answer in time.
        """
        asked = GetTime.Request()
        now = self._call(GetTime, 'predicates/time', asked, lambda r: to_ns(r.now) / 1e9)
        return self._wait(now)

    def predicates(self) -> list[Predicate]:
        """Return the predicates that are scored.

        Raises:
            NotAnsweredError: No answer in time.
        """

        def listed(response: Any) -> list[Predicate]:
            return [predicate_from_message(message) for message in response.predicates]

        request = ListPredicates.Request()
        return self._wait(self._call(ListPredicates, 'predicates/list', request, listed))

    def load_model(self, model: str, *, timeout_s: float = 120.0) -> str:
        """Change the model set of the running nodes; return the language space now in use.

        Raises:
            NotAnsweredError: No answer in time, or the set cannot be loaded and the old one stays.
        """
        request = LoadModel.Request(model=model)
        loaded = self._call(
            LoadModel, 'load_model', request, lambda r: str(r.language_space), answer_s=timeout_s
        )
        return self._wait(loaded)

    def tare(self, sensor: str) -> str:
        """Take what `wrench`, `joints` or `imu` measures now as the values while nothing acts.

        Raises:
            NotAnsweredError: No answer in time, or the sensor moves or sends no messages.
        """
        name = f'{sensor}_encoder/tare'
        return self._wait(self._call(Trigger, name, Trigger.Request(), lambda r: str(r.message)))

    def _change(self, kind: Any, name: str, predicates: Sequence[Predicate | str]) -> list[str]:
        messages = [
            predicate_message(Predicate.from_sentence(p) if isinstance(p, str) else p)
            for p in predicates
        ]
        limit_s = self.timeout_s + PREDICATE_S * len(predicates)
        request = kind.Request(predicates=messages)
        return self._wait(self._call(kind, name, request, _active, answer_s=limit_s))


def _active(response: Any) -> list[str]:
    return list(response.active)
