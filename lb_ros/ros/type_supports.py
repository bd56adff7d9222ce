"""Load the C libraries of all messages that a client exchanges before threads use them.

rclpy loads them at first use and marks a service as loaded before its request and response are. A
second thread that uses the service in between fails with `TypeError: NoneType is not an instance
of capsule`.
"""

from __future__ import annotations

from action_msgs.msg import GoalStatusArray
from action_msgs.srv import CancelGoal
from rclpy.type_support import check_for_type_support
from std_srvs.srv import Trigger

from lb_ros.action import WaitForPredicate
from lb_ros.msg import PredicateStates
from lb_ros.srv import (
    AddPredicates,
    GetTime,
    ListPredicates,
    LoadModel,
    QueryText,
    RemovePredicates,
    SetPredicates,
)

KINDS = (
    GoalStatusArray,
    CancelGoal,
    WaitForPredicate.Impl.SendGoalService,
    WaitForPredicate.Impl.GetResultService,
    WaitForPredicate.Impl.FeedbackMessage,
    WaitForPredicate,
    PredicateStates,
    AddPredicates,
    GetTime,
    ListPredicates,
    LoadModel,
    QueryText,
    RemovePredicates,
    SetPredicates,
    Trigger,
)


def load_type_supports() -> None:
    """Load all of `KINDS`; hold a lock if several threads may call this."""
    for kind in KINDS:
        check_for_type_support(kind)
