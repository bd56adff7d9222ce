"""What a client has received from its node: the latched states and the node's liveliness."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.node import Node

from encoders.predicates.state_arrays import states_in
from lb_ros.client.answers import GoneError, NotAnsweredError, PredicateStatus, status_of
from lb_ros.msg import PredicateStates
from lb_ros.ros.namespaces import nobody_line
from lb_ros.ros.qos import LATCHED, STATES

GRAPH_PERIOD_S = 0.5
NODE = 'predicates'
CLOSED = 'ROS was shut down, or the client was closed'
States = dict[str, PredicateStatus]


@dataclass(eq=False)
class Ear:
    """Callbacks for states and for the death of the node; called on the listener's thread."""

    states: Callable[[States], None]
    gone: Callable[[str], None]


class Heard:
    """Subscribes to `predicates/state` and follows the liveliness of its publisher.

    Args:
        node: Node that subscribes; its executor's thread runs the callbacks.

    Attributes:
        gone_s: Monotonic time at which the last node was found dead; None while one is alive, or
            before the first.
        losses: Number of nodes that have died so far.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.gone_s: float | None = None
        self.losses = 0
        self._states: States | None = None
        self._awaits_states = False  # a new node is alive but has not sent states yet
        self._news = threading.Condition()
        self._ears: list[Ear] = []
        self._subscribe()

    def _subscribe(self) -> None:
        topic, node = 'predicates/state', self._node
        events = SubscriptionEventCallbacks(liveliness=self._liveliness)
        try:
            node.create_subscription(
                PredicateStates, topic, self._store, STATES, event_callbacks=events
            )
        except UnsupportedEventTypeError:  # no liveliness events: watch the graph instead
            node.create_subscription(PredicateStates, topic, self._store, LATCHED)
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            node.create_timer(GRAPH_PERIOD_S, self._look_at_graph, clock=steady)

    def close(self) -> None:
        """Notify all callbacks that nothing more will be received."""
        for ear in list(self._ears):
            ear.gone(CLOSED)

    @property
    def known(self) -> States:
        """The last received states, without waiting, whether or not their node is alive."""
        return self._states or {}

    def _store(self, message: PredicateStates, info: Any) -> None:
        sent_s = info['source_timestamp'] * 1e-9
        states = states_in(message).items()
        self._publish({n: status_of(n, tracked, published_s=sent_s) for n, tracked in states})

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
            # Below 0 if this process closed a subscription to the topic before: Fast DDS does not
            # report to the next one that the node is alive, only that it has died.
            self._lost(is_last=event.alive_count <= 0)

    def _found(self, *, is_known: bool) -> None:
        """Handle a live node: a known one that was silent, or a new one, which sends states."""
        was_gone, states = self.gone_s is not None, self._states
        if is_known and was_gone and states is not None:
            self._publish(states)
            return
        with self._news:
            self._awaits_states = True
            if was_gone:
                self._states, self.gone_s = None, None

    def _look_at_graph(self) -> None:
        count = self._node.count_publishers('predicates/state')
        if count and self.gone_s is not None:
            self._found(is_known=False)
        elif not count and self._states is not None and self.gone_s is None:
            self._lost(is_last=True)

    def _lost(self, *, is_last: bool) -> None:
        with self._news:
            self.losses += 1
            if not is_last:
                if self._awaits_states:  # the known states are those of the dead node
                    self._states = None
                return
            self.gone_s = time.monotonic()
            self._news.notify_all()
            ears = list(self._ears)
        for ear in ears:
            ear.gone(self.gone_line())

    def gone_line(self) -> str:
        """Return a message that the node has died, and when this was noticed."""
        since_s = 0.0 if self.gone_s is None else time.monotonic() - self.gone_s
        return (
            f'the node {self._node.get_namespace().rstrip("/")}/{NODE} stopped or died '
            f'(noticed {since_s:.1f} s ago); start it again'
        )

    def states(self, timeout_s: float) -> States:
        """Return the states as last published by a live node; wait for the first.

        Raises:
            GoneError: The node has died.
            NotAnsweredError: No node published states in time.
        """
        with self._news:
            self._news.wait_for(
                lambda: self._states is not None or self.gone_s is not None, timeout_s
            )
            states, gone = self._states, self.gone_s is not None
        if gone:
            raise GoneError(self.gone_line())
        if states is None:
            raise NotAnsweredError(nobody_line(self._node, 'predicates/state', timeout_s))
        return dict(states)

    def add(self, ear: Ear) -> States | None:
        """Register callbacks; return the current states if the node is alive, else None."""
        with self._news:
            self._ears.append(ear)
            return None if self._states is None or self.gone_s is not None else dict(self._states)

    def remove(self, ear: Ear) -> None:
        """Unregister callbacks."""
        with self._news:
            if ear in self._ears:
                self._ears.remove(ear)
