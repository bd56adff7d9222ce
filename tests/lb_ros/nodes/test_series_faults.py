"""Every fault of forces, joints and inertia, sent as messages to a running bringup.

Each test checks the counter in `/diagnostics`, the one log line, and what becomes of the state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger

from lb_ros.ros.stamps import to_ns, to_stamp
from tests.domains import own_domain
from tests.lb_ros.limbs import TOPICS, Change, Limb
from tests.lb_ros.robot import LIMIT_S, START_S, Robot, bringup, listening
from tests.series_sets import write_series_set

pytestmark = pytest.mark.ros
# What training measured of a tared wrench, and the channel without which joints say nothing.
OWN = {
    'wrench': {'baseline': (0.0,) * 6, 'baseline_spread': (0.1,) * 6, 'frame_id': 'tool0'},
    'joints': {'required': ('finger_joint.effort',)},
}
PARAMETERS = (
    'modalities:=[wrench, joints, imu]',
    'imu_frame_id:=imu_link',
    'joints_names:="finger_joint=left_finger"',
)


class Gripper(Limb):
    """Joints of a robot whose finger has another name than in training."""

    def rest(self, stamp_ns: int) -> Any:
        message = super().rest(stamp_ns)
        if self.modality == 'joints':
            message.name[0] = 'left_finger'
        return message


@pytest.fixture(scope='module')
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    model = write_series_set(tmp_path_factory.mktemp('models') / 'felt', own=OWN)
    folder = tmp_path_factory.mktemp('predicates')
    with own_domain(), listening(TOPICS) as node, bringup(node, model, folder, *PARAMETERS):
        yield node


@pytest.fixture(scope='module')
def limbs(robot: Robot) -> dict[str, Limb]:
    found: dict[str, Limb] = {name: Gripper(robot, name) for name in TOPICS}
    know_all(robot, found, limit_s=START_S)
    return found


def know_all(robot: Robot, limbs: dict[str, Limb], *, limit_s: float = LIMIT_S) -> None:
    """Send what is good until all sensors are evidence."""

    def send() -> None:
        for limb in limbs.values():
            limb.send()

    robot.until(lambda: all(robot.knows(name) for name in TOPICS), send, limit_s=limit_s)


def nan_force(message: Any) -> Any:
    message.wrench.force.z = math.nan
    return message


def other_frame(message: Any) -> Any:
    message.header.frame_id = 'base'
    return message


def repeated(message: Any) -> Any:
    stamp_ns = to_ns(message.header.stamp)
    message.header.stamp = to_stamp(stamp_ns - stamp_ns % 20_000_000)
    return message


def back_and_forth(message: Any) -> Any:
    stamp_ns = to_ns(message.header.stamp)
    message.header.stamp = to_stamp(stamp_ns - (stamp_ns // 10_000_000 % 10 == 0) * 55_000_000)
    return message


def with_gaps(message: Any) -> Any:
    """Nothing in the first 0.4 s of every second."""
    return message if to_ns(message.header.stamp) % 1_000_000_000 >= 400_000_000 else None


def five_hertz(message: Any) -> Any:
    return message if to_ns(message.header.stamp) // 10_000_000 % 20 == 0 else None


def no_motor(message: Any) -> Any:
    message.effort[0] = 0.0
    return message


def no_finger(message: Any) -> Any:
    for part in (message.name, message.position, message.velocity, message.effort):
        del part[0]
    return message


def not_reported(message: Any) -> Any:
    """As REP 145 says that a sensor has no gyroscope, and a dead accelerometer."""
    message.angular_velocity_covariance[0] = -1.0
    message.linear_acceleration.x = message.linear_acceleration.y = math.nan
    return message


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        modality: Whose messages are changed.
        fault: Counter in `/diagnostics`.
        says: Part of its log line.
        change: Makes the fault.
        reason: Part of the reason why the predicate is UNKNOWN; empty if the sensor still counts.
    """

    modality: str
    fault: str
    says: str
    change: Change
    reason: str = ''


CASES = [
    Case('wrench', 'masked', 'force.z has no finite value; it is masked', nan_force),
    Case('wrench', 'frame', 'its frame is base, trained in tool0', other_frame),
    Case('wrench', 'repeated', 'stamps are repeated', repeated),
    Case('imu', 'backwards', 'stamps go back; put in order', back_and_forth),
    Case('imu', 'frame', "its frame is 'base', expected 'imu_link'", other_frame),
    Case('imu', 'masked', 'linear_acceleration.x has no finite value', not_reported,
         'imu: linear_acceleration.x has no finite value'),
    Case('imu', 'rate', 'Hz is too slow, expected at least 8', five_hertz, 'Hz is too slow'),
    Case('joints', 'gap', 'ms are missing', with_gaps),
    Case('joints', 'masked', 'effort of finger_joint is constant at 0', no_motor,
         'joints: effort of finger_joint is constant at 0'),
    Case('joints', 'joints', 'no joint left_finger, only joint1', no_finger,
         'joints: effort of finger_joint has no finite value'),
]  # fmt: skip


@pytest.mark.parametrize('case', CASES, ids=lambda c: f'{c.modality}-{c.fault}')
def test_a_fault_is_counted_shown_and_logged_once(
    robot: Robot, limbs: dict[str, Limb], case: Case
) -> None:
    know_all(robot, limbs)
    topic, key = f'/{TOPICS[case.modality]}', f'fault_{case.fault}'
    others = [name for name in TOPICS if name != case.modality]
    before = robot.count(case.modality, key)
    robot.logs.clear()

    def send() -> None:
        for name, limb in limbs.items():
            limb.send(*([case.change] if name == case.modality else []))

    robot.until(
        lambda: (
            robot.count(case.modality, key) >= before + 5
            and case.says in robot.inputs[topic].message
            and robot.lines(case.says)
            and robot.knows(case.modality) == (not case.reason)
            and case.reason in robot.reasons[case.modality]
            and all(robot.knows(name) for name in others)
        ),
        send,
        limit_s=2 * LIMIT_S,
    )
    assert robot.inputs[topic].level == DiagnosticStatus.WARN
    # After ten seconds, a line sums up those that were left out.
    later = [line for line in robot.lines(case.says) if topic in line][1:]
    assert all('more of the kind since' in line for line in later)


def test_the_order_of_joints_does_not_matter(robot: Robot, limbs: dict[str, Limb]) -> None:
    know_all(robot, limbs)

    def turned(message: Any) -> Any:
        if to_ns(message.header.stamp) // 10_000_000 % 2:
            for part in (message.name, message.position, message.velocity, message.effort):
                part.reverse()
        return message

    def new_faults() -> int:
        """Faults of 30 windows, of which the first may still hold those of an earlier test."""
        before, encoded = counts(), robot.count('joints', 'encoded')
        robot.until(
            lambda: robot.count('joints', 'encoded') > encoded + 30,
            lambda: limbs['joints'].send(turned),
            limit_s=LIMIT_S,
        )
        return counts() - before

    def counts() -> int:
        return sum(robot.count('joints', f'fault_{fault}') for fault in ('masked', 'joints'))

    assert any(new_faults() == 0 for _ in range(3))
    assert robot.knows('joints')


def tared(robot: Robot, limb: Limb, change: Change) -> Trigger.Response:
    """The answer of the service after half a second of changed messages."""
    client = robot.create_client(Trigger, f'{limb.modality}_encoder/tare')
    robot.until(client.service_is_ready, lambda: limb.send(change), limit_s=LIMIT_S)
    until_ns = robot.now_ns() + 500_000_000
    robot.until(lambda: robot.now_ns() > until_ns, lambda: limb.send(change), limit_s=LIMIT_S)
    future = client.call_async(Trigger.Request())
    robot.until(future.done, lambda: limb.send(change), limit_s=LIMIT_S)
    robot.destroy_client(client)
    return future.result()


def pushed(message: Any) -> Any:
    message.wrench.force.x += 5.0
    return message


def pulled_back_and_forth(message: Any) -> Any:
    message.wrench.force.x += 40.0 * (to_ns(message.header.stamp) % 1_000_000_000) * 1e-9
    return message


def test_a_sensor_that_was_tared_under_load_is_reported_until_it_is_tared_at_rest(
    robot: Robot, limbs: dict[str, Limb]
) -> None:
    know_all(robot, limbs)
    robot.logs.clear()
    answer = tared(robot, limbs['wrench'], pushed)
    assert answer.success and '/wrist/wrench: force.x' in answer.message
    line = 'where nothing acts, in training 0: tare the sensor'
    robot.until(
        lambda: robot.count('wrench', 'fault_untared') >= 10 and robot.lines(line),
        limbs['wrench'].send,
        limit_s=LIMIT_S,
    )
    assert robot.logged_once(line, 'force.x is', '/wrist/wrench')
    assert robot.knows('wrench')
    answer = tared(robot, limbs['wrench'], pulled_back_and_forth)
    assert not answer.success
    assert 'the sensor moves: force.x changed by' in answer.message
    assert tared(robot, limbs['wrench'], lambda message: message).success
    robot.until(
        lambda: (
            float(robot.told('/wrist/wrench', 'tare_age_s')) < 10
            and robot.inputs['/wrist/wrench'].level == DiagnosticStatus.OK
        ),
        limbs['wrench'].send,
        limit_s=LIMIT_S,
    )


def test_drift_is_reported_until_the_sensor_is_tared(robot: Robot, limbs: dict[str, Limb]) -> None:
    know_all(robot, limbs)
    robot.logs.clear()
    began_ns = robot.now_ns()

    def drifting(message: Any) -> Any:
        message.wrench.force.y += 0.14 * (to_ns(message.header.stamp) - began_ns) * 1e-9
        return message

    line = 'force.y has drifted by'
    robot.until(
        lambda: robot.count('wrench', 'fault_drift') >= 10 and robot.lines(line),
        lambda: limbs['wrench'].send(drifting),
        limit_s=2 * LIMIT_S,
    )
    assert robot.logged_once(line, '/wrist/wrench')
    assert robot.knows('wrench')
    assert tared(robot, limbs['wrench'], lambda message: message).success


def test_a_jump_back_of_the_clock_begins_the_window_again(
    robot: Robot, limbs: dict[str, Limb]
) -> None:
    know_all(robot, limbs)
    robot.logs.clear()

    def late(message: Any) -> Any:
        message.header.stamp = to_stamp(to_ns(message.header.stamp) - 700_000_000)
        return message

    line = 's; the window begins again'
    robot.until(lambda: robot.lines(line), lambda: limbs['wrench'].send(late), limit_s=LIMIT_S)
    assert robot.logged_once(line, '/wrist/wrench')
    know_all(robot, limbs)
