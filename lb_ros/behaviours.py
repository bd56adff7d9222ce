"""Behaviours for py_trees: a condition, a wait and a guard on predicates.

    from lb_ros.behaviours import Condition, Guard, Wait

    root = py_trees.composites.Sequence('fetch', memory=True)
    root.add_children([Wait('drawer_open', timeout_s=10.0), Guard('gripper_holding', carry)])
    tree = py_trees.trees.BehaviourTree(root)
    tree.setup(node=node)  # py_trees_ros passes its node automatically

`setup` accepts `node` (a node of rclpy, whose context and namespace are joined), `namespace` (of
the `predicates` node) and `timeout_s`; all are optional. All behaviours that are set up with the
same node and namespace share one `LanguageClient`, which `shutdown` of the last one closes.

`setup` waits for the first states and raises `NotAnsweredError` if no node publishes them. A tick
never blocks: it reads the states that have arrived. A behaviour whose node has died fails, and its
`feedback_message` gives the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

try:
    from py_trees.behaviour import Behaviour
    from py_trees.common import Status
    from py_trees.decorators import Decorator
except ImportError as error:
    raise ImportError(
        'lb_ros.behaviours needs py_trees: pip install "lb_ros[behaviours]" '
        '(or apt install ros-$ROS_DISTRO-py-trees)'
    ) from error

from encoders import State
from lb_ros.client import Guard as Hold
from lb_ros.client import LanguageClient, NotAnsweredError, PredicateStatus

__all__ = ['Condition', 'Guard', 'Wait']

TIMEOUT_S = 5.0
# The start times of states are floats; this exceeds their rounding error.
ROUNDING_S = 1e-6


@dataclass
class _Shared:
    client: LanguageClient
    users: int = 0


_Key = tuple[Any, str]
_shared: dict[_Key, _Shared] = {}
_lock = threading.Lock()


def _acquire(key: _Key, timeout_s: float) -> LanguageClient:
    node, namespace = key
    with _lock:
        if key not in _shared:
            client = LanguageClient(node, namespace=namespace, timeout_s=timeout_s)
            _shared[key] = _Shared(client)
        _shared[key].users += 1
        return _shared[key].client


def _release(key: _Key) -> None:
    with _lock:
        found = _shared[key]
        found.users -= 1
        if found.users:
            return
        del _shared[key]
    found.client.close()


class _Asking:
    """Mixin of a behaviour that depends on one predicate and uses the client of its tree."""

    name: str

    def _ask_about(self, predicate: str, state: State, namespace: str) -> None:
        """Set the predicate and the state; called once, by the constructor."""
        if not predicate:
            raise ValueError(f'behaviour {self.name!r}: the name of the predicate is empty')
        self.predicate, self.state = predicate, State(state)
        self._namespace = namespace
        self._key: _Key | None = None
        self._client: LanguageClient | None = None

    def setup(self, **kwargs: Any) -> None:
        """Join the client of the tree and wait for the first states.

        Raises:
            NotAnsweredError: No node published states within `timeout_s`.
        """
        self.shutdown()
        key = (kwargs.get('node'), self._namespace or kwargs.get('namespace', ''))
        client = _acquire(key, kwargs.get('timeout_s', TIMEOUT_S))
        try:
            client.states()
        except BaseException:
            _release(key)
            raise
        self._key, self._client = key, client

    def shutdown(self) -> None:
        """Release the client, which is closed after the last behaviour."""
        key, self._key, self._client = self._key, None, None
        if key is not None:
            _release(key)

    @property
    def client(self) -> LanguageClient:
        """Client that the behaviours of the tree share.

        Raises:
            RuntimeError: The behaviour has not been set up.
        """
        if self._client is None:
            raise RuntimeError(f'behaviour {self.name!r} was not set up: call tree.setup() first')
        return self._client

    def _status(self) -> PredicateStatus:
        """Return the last published state of the predicate.

        Raises:
            NotAnsweredError: The node has died, or it does not score this predicate.
        """
        states = self.client.states()  # does not block: `setup` has received the first states
        if self.predicate not in states:
            raise NotAnsweredError(f'no predicate {self.predicate!r} is scored')
        return states[self.predicate]


class Condition(_Asking, Behaviour):
    """SUCCESS while a predicate has a state, FAILURE while it has another one.

    Args:
        predicate: Name of the predicate.
        state: Required state.
        unknown: Status while the state is UNKNOWN because no sensor has fresh evidence: RUNNING,
            so that the tree waits for a sensor instead of acting without evidence, or FAILURE. It
            has no effect if `state` is UNKNOWN.
        name: Name of the behaviour; the predicate's if empty.
        namespace: Namespace of the `predicates` node; the one given to `setup` if empty.

    Raises:
        ValueError: `unknown` is neither RUNNING nor FAILURE, or `predicate` is empty.
    """

    def __init__(
        self,
        predicate: str,
        *,
        state: State = State.TRUE,
        unknown: Status = Status.RUNNING,
        name: str = '',
        namespace: str = '',
    ) -> None:
        if unknown not in (Status.RUNNING, Status.FAILURE):
            raise ValueError(f'unknown must be Status.RUNNING or Status.FAILURE, not {unknown}')
        Behaviour.__init__(self, name=name or predicate)
        self._ask_about(predicate, state, namespace)
        self._unknown = unknown

    def update(self) -> Status:
        """Return the status for the last published state."""
        try:
            found = self._status()
        except NotAnsweredError as error:
            self.feedback_message = str(error)
            return Status.FAILURE
        self.feedback_message = _line(found)
        if found.state is self.state:
            return Status.SUCCESS
        return self._unknown if found.state is State.UNKNOWN else Status.FAILURE


class Wait(_Asking, Behaviour):
    """RUNNING until a predicate has a state, then SUCCESS; FAILURE after `timeout_s`.

    UNKNOWN does not end the wait. The node evaluates the wait itself, so a state that lasts less
    than the period of the ticks is detected as well.

    Args:
        predicate: Name of the predicate.
        state: State to wait for.
        timeout_s: Seconds of the nodes' clock; 0 or less waits without a limit.
        new: Wait for the state to begin: a state that holds already when the wait begins does not
            count. For events such as `something_dropped`.
        name: Name of the behaviour; `wait for` and the predicate's name if empty.
        namespace: Namespace of the `predicates` node; the one given to `setup` if empty.
    """

    def __init__(
        self,
        predicate: str,
        *,
        state: State = State.TRUE,
        timeout_s: float = 30.0,
        new: bool = False,
        name: str = '',
        namespace: str = '',
    ) -> None:
        Behaviour.__init__(self, name=name or f'wait for {predicate}')
        self._ask_about(predicate, state, namespace)
        self._timeout_s, self._new = timeout_s, new
        self._answer: Future[bool] | None = None
        self._failure = ''

    def initialise(self) -> None:
        """Send the wait to the node."""
        self._failure = ''
        try:
            began_s = self._status().since_s
        except NotAnsweredError as error:
            self._failure = str(error)
            return
        self._answer = self.client.wait_async(
            self.predicate,
            state=self.state,
            timeout_s=self._timeout_s,
            since_s=began_s + ROUNDING_S if self._new else None,
        )

    def update(self) -> Status:
        """Return RUNNING during the wait, then its outcome."""
        if not self._failure and self._answer is not None:
            if not self._answer.done():
                self.feedback_message = self._so_far()
                return Status.RUNNING
            self._failure = self._outcome(self._answer)
        self.feedback_message = self._failure or f'{self.predicate} is {self.state.name}'
        return Status.FAILURE if self._failure else Status.SUCCESS

    def terminate(self, new_status: Status) -> None:
        """Cancel an unfinished wait, also at the node."""
        if self._answer is not None:
            self._answer.cancel()
        self._answer = None

    def _outcome(self, answer: Future[bool]) -> str:
        """Return why the wait failed; empty if it did not."""
        try:
            reached = answer.result()
        except NotAnsweredError as error:
            return str(error)
        return '' if reached else f'not within {self._timeout_s:.1f} s: {self._so_far()}'

    def _so_far(self) -> str:
        try:
            return _line(self._status())
        except NotAnsweredError as error:
            return str(error)


class Guard(_Asking, Decorator):
    """Ticks a child while a predicate has a state; otherwise stops the child and fails.

    The guard also watches the states between ticks: the child is stopped at the next tick even if
    the predicate has the state again by then. UNKNOWN stops the child, because evidence is
    missing; to wait for a first state, put a `Condition` in front of the guard.

    Args:
        predicate: Name of the predicate.
        child: Behaviour or subtree to guard.
        state: State that the predicate must keep.
        name: Name of the behaviour; `while` and the predicate's name if empty.
        namespace: Namespace of the `predicates` node; the one given to `setup` if empty.
    """

    def __init__(
        self,
        predicate: str,
        child: Behaviour,
        *,
        state: State = State.TRUE,
        name: str = '',
        namespace: str = '',
    ) -> None:
        Decorator.__init__(self, name=name or f'while {predicate}', child=child)
        self._ask_about(predicate, state, namespace)
        self._hold: Hold | None = None

    def tick(self) -> Iterator[Behaviour]:
        """Tick the child if the predicate has kept its state; otherwise stop it and fail.

        Yields:
            The behaviours that were ticked.
        """
        ended = self._ended()
        if ended:
            self.feedback_message = ended
            self.stop(Status.FAILURE)
            yield self
        else:
            yield from super().tick()

    def update(self) -> Status:
        """Return the status of the child."""
        self.feedback_message = self.decorated.feedback_message
        return self.decorated.status

    def terminate(self, new_status: Status) -> None:
        """Stop watching the states."""
        if self._hold is not None:
            self._hold.close()
        self._hold = None

    def _ended(self) -> str:
        """Return why the predicate has not held since the child was started; empty if it has."""
        if self._hold is None:
            try:
                self._hold = self.client.while_holds(self.predicate, state=self.state)
            except NotAnsweredError as error:
                return str(error)
        return self._hold.reason


def _line(status: PredicateStatus) -> str:
    return f'{status.name} is {status.state.name}: {status.reason}'
