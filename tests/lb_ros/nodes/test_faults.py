"""Every fault a robot's sensors have, sent as messages to a running bringup.

Each test checks the counter in `/diagnostics`, the one log line, and what becomes of the state.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import (
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from sensor_msgs.msg import CompressedImage, Image

from lb_ros.msg import AudioChunk, Embedding, PredicateScores
from lb_ros.ros.qos import LIVELINESS_S
from lb_ros.ros.stamps import to_ns, to_stamp
from tests.domains import own_domain
from tests.lb_ros.robot import (
    LIMIT_S,
    RNG,
    TOPICS,
    Robot,
    bringup,
    colours,
    depth_mm,
    good,
    listening,
    picture,
    wait_until_all_are_known,
    warm,
)

pytestmark = pytest.mark.ros


class Microphone:
    """A gapless stream, unless it is told otherwise."""

    def __init__(self, robot: Robot) -> None:
        self.robot, self.at_ns = robot, robot.now_ns()

    def chunk(self, *, level: int = 3000, shift_ns: int = 0, **changes: Any) -> AudioChunk:
        if abs(self.robot.now_ns() - self.at_ns) > 4e8:
            self.at_ns = self.robot.now_ns()
        samples = RNG.integers(-level, level + 1, 1600).astype(np.int16)
        message = AudioChunk(sample_rate_hz=16_000, channels=1, samples=samples)
        for name, value in changes.items():
            setattr(message, name, value)
        message.header.stamp = to_stamp(self.at_ns + shift_ns)
        self.at_ns += 100_000_000
        return message


@pytest.fixture(scope='module')
def robot(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with own_domain():
        folder = tmp_path_factory.mktemp('predicates')
        with listening() as node, bringup(node, tiny_model_set, folder):
            wait_until_all_are_known(node, 'image', 'depth', 'infrared')
            yield node


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        modality: Whose input it is sent to.
        fault: Counter in `/diagnostics`.
        says: Part of its log line.
        make: Makes a message.
        topic: Where it is sent; the modality's where empty.
        dropped: Whether the message must not be encoded.
        votes: Whether predicates count it.
        outcome: Counter of messages that grows as well.
    """

    modality: str
    fault: str
    says: str
    make: Callable[[Robot], Any]
    topic: str = ''
    dropped: bool = True
    votes: bool = True
    outcome: str = 'failed'
    name: str = field(default='')


def _compressed_depth(robot: Robot, data: bytes) -> CompressedImage:
    message = CompressedImage(format='16UC1; compressedDepth png', data=data)
    message.header.stamp = to_stamp(robot.now_ns())
    return message


def _inverted(robot: Robot) -> Image:
    sent = picture(robot, depth_mm(), '16UC1')
    sent.data = sent.data[:-10]
    return sent


FROZEN = RNG.integers(29_000, 31_000, (48, 64)).astype(np.uint16)
CASES = [
    Case('image', 'encoding', "'bayer_of_mars' is no image, expected rgb8",
         lambda r: picture(r, colours(), 'bayer_of_mars')),
    Case('depth', 'encoding', "'mono16' is no depth, expected 16UC1",
         lambda r: picture(r, depth_mm(), 'mono16')),
    Case('depth', 'size', 'but the message holds', _inverted, name='short'),
    Case('image', 'repaired', 'step 10 does not fit',
         lambda r: picture(r, colours(), 'rgb8', step=10), dropped=False),
    Case('infrared', 'size', '0x0 is empty',
         lambda r: picture(r, warm(), 'mono16', width=0, height=0)),
    Case('depth', 'content', 'neither jpeg nor png', lambda r: _compressed_depth(r, bytes(64)),
         topic='depth/image/compressedDepth'),
    Case('depth', 'no_pixel', 'all pixels are 0, NaN or infinite',
         lambda r: picture(r, np.full((48, 64), np.nan, np.float32), '32FC1')),
    Case('depth', 'unit', 'are these millimetres',
         lambda r: picture(r, depth_mm().astype(np.float32) + 0.5, '32FC1'), dropped=False,
         votes=False),
    # Before the flat picture, which is frozen as well: a kind is logged once in ten seconds.
    Case('infrared', 'frozen', 'the same picture', lambda r: picture(r, FROZEN, 'mono16'),
         dropped=False),
    Case('infrared', 'flat', 'every pixel is 30000',
         lambda r: picture(r, np.full((48, 64), 30_000, np.uint16), 'mono16'), dropped=False),
    Case('infrared', 'saturated', 'are at the maximum 65535',
         lambda r: picture(r, np.where(RNG.random((48, 64)) < 0.8, 65535, warm()).astype('u2'),
                           'mono16'), dropped=False),
    Case('infrared', 'no_pixel', 'all pixels are 0',
         lambda r: picture(r, np.zeros((48, 64), np.uint16), 'mono16')),
    Case('image', 'no_stamp', 'its stamp is 0',
         lambda r: picture(r, colours(), 'rgb8', unstamped=True), dropped=False),
    Case('image', 'future', 'in the future',
         lambda r: picture(r, colours(), 'rgb8', shift_ns=5 * 10**9)),
    Case('image', 'stale', 'for a replayed bag set use_sim_time',
         lambda r: picture(r, colours(), 'rgb8', shift_ns=-100 * 10**9), outcome='stale'),
]  # fmt: skip


@pytest.mark.parametrize('case', CASES, ids=lambda c: f'{c.modality}-{c.fault}')
def test_a_fault_is_counted_shown_and_logged_once(robot: Robot, case: Case) -> None:
    if case.topic:
        with robot.only_compressed(case.modality):
            _check_fault(robot, case, robot.compressed[case.topic])
    else:
        _check_fault(robot, case, robot.senders[case.modality])
    # The next good message heals it.
    robot.until(
        lambda: robot.knows(case.modality),
        lambda: robot.senders[case.modality].publish(good(robot, case.modality)),
        limit_s=LIMIT_S,
    )


def _check_fault(robot: Robot, case: Case, sender: Any) -> None:
    key, topic = f'fault_{case.fault}', f'/{TOPICS[case.modality]}'
    faults, outcomes = robot.count(case.modality, key), robot.count(case.modality, case.outcome)
    robot.logs.clear()
    robot.until(
        lambda: robot.count(case.modality, key) >= faults + 3,
        lambda: sender.publish(case.make(robot)),
        limit_s=LIMIT_S,
    )
    status = robot.inputs[topic]
    assert status.level == DiagnosticStatus.WARN
    assert case.says.split("'")[-1] in status.message
    lines = [line for line in robot.lines(case.says) if topic in line]
    assert len(lines) == 1, lines
    robot.until(
        lambda: robot.knows(case.modality) == (case.votes and not case.dropped),
        lambda: sender.publish(case.make(robot)),
        limit_s=LIMIT_S,
    )
    if case.dropped:
        assert robot.count(case.modality, case.outcome) >= outcomes + 3


@pytest.mark.parametrize('big', [0, 1])
def test_padding_and_byte_order_are_no_fault(robot: Robot, big: int) -> None:
    array = np.pad(depth_mm(), ((0, 0), (0, 5)))
    sent = picture(robot, array.astype('>u2') if big else array, '16UC1')
    sent.width, sent.is_bigendian = 64, big
    failed = robot.count('depth', 'failed')
    robot.heard.clear()

    def send() -> None:
        sent.header.stamp = to_stamp(robot.now_ns())
        robot.senders['depth'].publish(sent)

    robot.until(lambda: any(e.modality == 'depth' for e in robot.heard), send, limit_s=LIMIT_S)
    assert robot.count('depth', 'failed') == failed


def test_holes_show_in_the_valid_fraction(robot: Robot) -> None:
    half = depth_mm().astype(np.float32) * 1e-3
    half[:, :32] = np.inf
    robot.heard.clear()
    robot.until(
        lambda: any(0.4 < e.valid_fraction < 0.6 for e in robot.heard if e.modality == 'depth'),
        lambda: robot.senders['depth'].publish(picture(robot, half, '32FC1')),
        limit_s=LIMIT_S,
    )


def test_a_stamp_before_the_last_one_is_counted_and_used(robot: Robot) -> None:
    before = robot.count('image', 'fault_backwards')
    shifts = iter([0, -500_000_000] * 1000)
    robot.until(
        lambda: robot.count('image', 'fault_backwards') > before,
        lambda: robot.senders['image'].publish(
            picture(robot, colours(), 'rgb8', shift_ns=next(shifts))
        ),
        limit_s=LIMIT_S,
    )
    assert len(robot.lines('ms before the last')) == 1


@pytest.mark.parametrize(
    ('fault', 'says', 'level', 'skips'),
    [('gap', 'ms of sound are missing', 300, True), ('clipping', 'full scale', 32767, False)],
)
def test_faults_of_sound_are_counted(
    robot: Robot, fault: str, says: str, level: int, skips: bool
) -> None:
    microphone = Microphone(robot)
    before = robot.count('audio', f'fault_{fault}')
    robot.logs.clear()

    def send() -> None:
        if robot.now_ns() < microphone.at_ns:
            return
        chunk = microphone.chunk(level=300)
        if level > 20_000:
            chunk.samples = np.full(1600, level, np.int16)
        robot.senders['audio'].publish(chunk)
        if skips:
            microphone.at_ns += 150_000_000

    robot.until(
        lambda: robot.count('audio', f'fault_{fault}') >= before + 2, send, limit_s=LIMIT_S
    )
    assert len(robot.lines(says)) == 1
    robot.until(lambda: robot.knows('audio'), send, limit_s=LIMIT_S)


def test_sound_whose_time_jumps_back_begins_anew(robot: Robot) -> None:
    microphone, stamps, jumps = Microphone(robot), [0], set[int]()
    before = robot.count('audio', 'fault_backwards')
    robot.heard.clear()
    robot.logs.clear()

    def send() -> None:
        if robot.now_ns() < microphone.at_ns:
            return
        chunk = microphone.chunk()
        if len(stamps) % 8 == 0:
            chunk.header.stamp = to_stamp(stamps[-1] - 200_000_000)
            jumps.add(stamps[-1] - 200_000_000)
            microphone.at_ns = stamps[-1] - 100_000_000
        stamps.append(to_ns(chunk.header.stamp))
        robot.senders['audio'].publish(chunk)

    def starts() -> set[int]:
        return {to_ns(e.window_start) for e in robot.heard if e.modality == 'audio'}

    robot.until(lambda: jumps & starts(), send, limit_s=LIMIT_S)
    robot.until(lambda: robot.count('audio', 'fault_backwards') > before, limit_s=LIMIT_S)
    assert robot.logged_once('ms before the last', TOPICS['audio'])


def test_torn_sound_is_dropped(robot: Robot) -> None:
    def send() -> None:
        message = AudioChunk(sample_rate_hz=16_000, channels=3, samples=[0] * 1600)
        message.header.stamp = to_stamp(robot.now_ns())
        robot.senders['audio'].publish(message)

    robot.logs.clear()
    robot.until(lambda: robot.count('audio', 'fault_size') >= 3, send, limit_s=LIMIT_S)
    assert len(robot.lines('do not divide into 3 channels')) == 1
    assert robot.count('audio', 'failed') >= 3


def test_a_silent_sensor_is_stale_and_its_predicates_unknown(robot: Robot) -> None:
    robot.until(
        lambda: robot.knows('image'),
        lambda: robot.senders['image'].publish(good(robot, 'image')),
        limit_s=LIMIT_S,
    )
    robot.logs.clear()
    topic = f'/{TOPICS["image"]}'
    robot.until(
        lambda: robot.inputs[topic].level == DiagnosticStatus.STALE and not robot.knows('image'),
        limit_s=LIMIT_S,
    )
    assert 'publishers, but no messages' in robot.inputs[topic].message
    robot.until(lambda: robot.lines(f'{topic}: silent for'), limit_s=LIMIT_S)
    robot.until(
        lambda: robot.knows('image'),
        lambda: robot.senders['image'].publish(good(robot, 'image')),
        limit_s=LIMIT_S,
    )
    assert len(robot.lines(f'{topic}: silent for')) == 1


def test_png_bombs_are_refused(robot: Robot) -> None:
    bomb = b'\x89PNG\r\n\x1a\n' + struct.pack('>I4sII', 13, b'IHDR', 60_000, 60_000) + bytes(20)

    def send() -> None:
        message = CompressedImage(format='png', data=bomb)
        message.header.stamp = to_stamp(robot.now_ns())
        robot.compressed['camera/image/compressed'].publish(message)

    before = robot.count('image', 'fault_size')
    with robot.only_compressed('image'):
        robot.until(lambda: robot.count('image', 'fault_size') > before, send, limit_s=LIMIT_S)


def test_metres_in_whole_numbers_are_told(robot: Robot) -> None:
    before = robot.count('depth', 'fault_unit')
    robot.until(
        lambda: (
            robot.count('depth', 'fault_unit') > before
            and 'are these metres?' in robot.inputs['/depth/image'].message
        ),
        lambda: robot.senders['depth'].publish(picture(robot, depth_mm() // 1000, '16UC1')),
        limit_s=LIMIT_S,
    )


def test_a_picture_that_claims_more_than_it_may_is_refused(robot: Robot) -> None:
    before = robot.count('image', 'fault_size')
    claims = {'width': 100_000, 'height': 100_000, 'step': 300_000}
    robot.until(
        lambda: robot.count('image', 'fault_size') > before,
        lambda: robot.senders['image'].publish(picture(robot, colours(), 'rgb8', **claims)),
        limit_s=LIMIT_S,
    )


def test_compressed_images_are_evidence(robot: Robot) -> None:
    data = cv2.imencode('.jpg', colours())[1].tobytes()

    def send() -> None:
        message = CompressedImage(format='rgb8; jpeg compressed bgr8', data=data)
        message.header.stamp = to_stamp(robot.now_ns())
        robot.compressed['camera/image/compressed'].publish(message)

    with robot.only_compressed('image'):
        robot.until(lambda: robot.knows('image'), send, limit_s=LIMIT_S)
        robot.until(
            lambda: robot.told('/camera/image', 'transport') == 'compressed', send, limit_s=LIMIT_S
        )


def test_nothing_is_compressed_for_us_where_the_raw_topic_is_published(robot: Robot) -> None:
    """The raw publisher is there, ends as in a restart of its driver, and comes back."""
    compressed = robot.compressed['camera/image/compressed']

    def is_raw() -> bool:
        told = robot.told('/camera/image', 'transport')
        return compressed.get_subscription_count() == 0 and told == 'raw'

    for _ in range(2):
        robot.until(is_raw, lambda: robot.send('image'), limit_s=LIMIT_S)
        before = robot.count('image', 'received')
        robot.until(
            lambda before=before: robot.count('image', 'received') > before + 5,
            lambda: robot.send('image'),
            limit_s=LIMIT_S,
        )
        assert is_raw()
        with robot.only_compressed('image'):
            robot.until(lambda: compressed.get_subscription_count() == 1, limit_s=LIMIT_S)


def test_a_grey_thermal_picture_is_no_evidence_of_heat(robot: Robot) -> None:
    """It is published with the reason, has no vote, and is logged once however long it lasts."""
    grey = lambda: picture(robot, RNG.integers(0, 255, (48, 64), np.uint8), 'mono8')  # noqa: E731
    reason = '8-bit picture, not a temperature'
    before = robot.count('infrared', 'fault_temperature')
    robot.until(lambda: robot.knows('infrared'), lambda: robot.send('infrared'), limit_s=LIMIT_S)
    robot.logs.clear()
    robot.heard.clear()
    reasons: list[str] = []
    subscription = robot.create_subscription(
        PredicateScores,
        'predicates/scores',
        lambda message: reasons.extend(r for score in message.scores for r in score.reasons),
        10,
    )
    robot.until(
        lambda: (
            f'infrared: {reason}' in reasons
            and robot.count('infrared', 'fault_temperature') >= before + 3
            and not robot.knows('infrared')
            and reason in robot.reasons['infrared']
        ),
        lambda: robot.senders['infrared'].publish(grey()),
        limit_s=LIMIT_S,
    )
    robot.destroy_subscription(subscription)
    assert robot.reasons['infrared'] == f'infrared: {reason}; not calibrated'
    assert [e.invalid_reason for e in robot.heard if e.modality == 'infrared'][-1] == reason
    status = robot.inputs['/infrared/image']
    assert status.level == DiagnosticStatus.WARN and reason in status.message
    (line,) = robot.lines(reason)
    assert '/infrared/image' in line and 'mono16' in line
    robot.until(
        lambda: robot.knows('infrared'),
        lambda: robot.senders['infrared'].publish(good(robot, 'infrared')),
        limit_s=LIMIT_S,
    )
    assert [e.invalid_reason for e in robot.heard if e.modality == 'infrared'][-1] == ''


def test_diagnostics_have_the_keys_that_dashboards_read(robot: Robot) -> None:
    robot.until(
        lambda: float(robot.values(robot.inputs['/depth/image'])['frame_rate_node']) > 1,
        lambda: robot.senders['depth'].publish(good(robot, 'depth')),
        limit_s=LIMIT_S,
    )
    values = robot.values(robot.inputs['/depth/image'])
    for key in (
        'frame_rate_node', 'frame_rate_msg', 'current_delay_from_realtime_ms',
        'expected_frequency', 'tolerance',
    ):  # fmt: skip
        assert float(values[key]) >= 0, key
    engine = robot.values(robot.inputs['lb_ros/engine'])
    assert int(engine['encoded']) > 0
    assert float(engine['resident_mib']) > 0


def test_readers_learn_when_the_process_hangs_and_when_it_goes_on(robot: Robot) -> None:
    alive: list[int] = []
    qos = QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
        liveliness_lease_duration=Duration(seconds=LIVELINESS_S),
    )
    callbacks = SubscriptionEventCallbacks(liveliness=lambda e: alive.append(e.alive_count))
    subscription = robot.create_subscription(
        Embedding, 'embeddings/depth', lambda message: None, qos, event_callbacks=callbacks
    )
    # The middleware counts a writer as alive from its first message on.
    send = lambda: robot.senders['depth'].publish(good(robot, 'depth'))  # noqa: E731
    robot.until(lambda: alive[-1:] == [1], send, limit_s=LIMIT_S)
    os.kill(robot.process.pid, signal.SIGSTOP)
    try:
        robot.until(lambda: alive[-1:] == [0], limit_s=LIMIT_S)
    finally:
        os.kill(robot.process.pid, signal.SIGCONT)
    robot.until(lambda: alive[-1:] == [1], send, limit_s=LIMIT_S)
    robot.destroy_subscription(subscription)
