"""The node `bringup`: controls the lifecycle of all nodes of its process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from lb_ros.nodes.encoder_node import EncoderNode
from lb_ros.nodes.predicates_node import PredicatesNode
from lb_ros.ros.lifecycle import FAILURE, SUCCESS, Transitions
from lb_ros.ros.parameters import Settings

Member = EncoderNode | PredicatesNode


class BringupNode(LifecycleNode):
    """Passes its transitions on to its members, all or nothing.

    Members can also be controlled individually; those already in the target state are skipped.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('bringup', **node_options)
        self.settings = Settings(self)
        self.transitions = Transitions(
            self, answer_within_s=lambda: self.settings.values.answer_within_s
        )
        self._members: tuple[Member, ...] = ()
        self.settings.unconfigured = lambda: all(
            node.transitions.state == 'unconfigured' for node in (self, *self._members)
        )

    def lead(self, members: Sequence[Member]) -> None:
        """Set the member nodes, in the order in which they are brought up."""
        self._members = tuple(members)
        for node in members:
            node.transitions.leader = self.transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure all members; if one fails, those before it are cleaned up again."""
        for index, node in enumerate(self._members):
            self.transitions.activity = f'configuring {node.get_name()}'
            if node.transitions.state != 'unconfigured':
                continue
            if node.trigger_configure() is not SUCCESS:
                self.transitions.failure = node.transitions.failure
                for before in reversed(self._members[:index]):
                    if before.transitions.state == 'inactive':
                        before.trigger_cleanup()
                return FAILURE
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate all members."""
        for node in self._members:
            if node.transitions.state == 'inactive' and node.trigger_activate() is not SUCCESS:
                return self._not_all(node)
        if any(node.transitions.state != 'active' for node in self._members):
            return FAILURE
        return super().on_activate(state)

    def _not_all(self, failed: Member) -> TransitionCallbackReturn:
        self.transitions.failure = f'{failed.get_name()} did not become active'
        for node in self._members:
            if node.transitions.state == 'active':
                node.trigger_deactivate()
        return FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate all members in reverse order."""
        for node in reversed(self._members):
            if node.transitions.state == 'active':
                node.trigger_deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up all members, which frees the model set."""
        self.on_deactivate(state)
        for node in reversed(self._members):
            if node.transitions.state == 'inactive':
                node.trigger_cleanup()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Shut down all members."""
        for node in reversed(self._members):
            if node.transitions.state != 'finalized':
                node.trigger_shutdown()
        return super().on_shutdown(state)
