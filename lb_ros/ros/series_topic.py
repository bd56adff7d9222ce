"""Subscription to the messages of a series: wrenches, joint states, inertial units."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu, JointState

from lb_ros.ros.polled import Polled, Taken, take_all
from lb_ros.ros.qos import SERIES, subscribe
from lb_ros.ros.timers import every

POLL_S = 0.02
TYPES = {'wrench': WrenchStamped, 'joints': JointState, 'imu': Imu}


class SeriesTopic:
    """Polls one topic of a series every `POLL_S`.

    Args:
        node: Owner of the subscription and the timer.
        modality: Modality of a series.
        topic: Relative name.
        store: Receives the messages of a poll in order of arrival; at least one.
        on_mismatch: Called with the topic and the QoS policy in which its publisher is
            incompatible.
    """

    def __init__(
        self,
        node: Node,
        modality: str,
        topic: str,
        *,
        store: Callable[[Sequence[Taken]], None],
        on_mismatch: Callable[[str, str], None],
    ) -> None:
        self._store = store
        self.subscription: Subscription = subscribe(
            node,
            TYPES[modality],
            topic,
            lambda message: None,
            qos=SERIES,
            on_mismatch=on_mismatch,
            group=Polled(),
        )
        every(node, POLL_S, self._poll)

    def _poll(self) -> None:
        taken = take_all(self.subscription)
        if taken:
            self._store(taken)
