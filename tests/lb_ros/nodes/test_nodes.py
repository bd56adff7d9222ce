"""Nodes in a process of their own, asked over DDS as a robot's programs ask them."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from encoders import Line, Predicate, State
from lb_ros.client import LanguageClient, NotAnsweredError
from lb_ros.msg import Embedding, PredicateScores, PredicateStates
from lb_ros.ros.qos import LATCHED
from tests.domains import own_domain
from tests.waiting import wait_until

pytestmark = pytest.mark.ros

START_S = 120.0
LIMIT_S = 60.0
PREDICATES = """
predicates:
  a drawer is open:
    positive: [the drawer is open]
    negative: [the drawer is closed]
    dwell_ms: 0
"""


class Robot(Node):
    """Publishes camera and infrared images, and listens to what comes back."""

    def __init__(self, namespace: str = '') -> None:
        super().__init__('robot', namespace=namespace or None)
        self.camera = self.create_publisher(Image, 'camera/image', qos_profile_sensor_data)
        self.infrared = self.create_publisher(Image, 'infrared/image', qos_profile_sensor_data)
        self.embeddings = self.create_publisher(Embedding, 'embeddings/depth', 1)
        self.scores: list[PredicateScores] = []
        self.heard: list[Embedding] = []
        self.create_subscription(PredicateScores, 'predicates/scores', self.scores.append, 10)
        self.states: list[PredicateStates] = []
        self.create_subscription(PredicateStates, 'predicates/state', self.states.append, LATCHED)
        self.create_subscription(
            Embedding, 'embeddings/infrared', self.heard.append, qos_profile_sensor_data
        )

    def see(self, encoding: str = 'rgb8') -> None:
        """Publish one image of each sensor."""
        pixels = np.full((48, 64, 3), 90, np.uint8)
        self.camera.publish(self._image(pixels, encoding))
        self.infrared.publish(self._image(np.full((48, 64), 30_000, np.uint16), 'mono16'))

    def _image(self, pixels: np.ndarray, encoding: str) -> Image:
        message = Image(encoding=encoding, height=48, width=64, data=pixels.tobytes())
        message.step = len(message.data) // 48
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = 'lens'
        return message


@pytest.fixture(scope='module')
def bringup(
    tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[str]]:
    predicates = tmp_path_factory.mktemp('predicates') / 'predicates.yaml'
    predicates.write_text(PREDICATES)
    with own_domain():
        command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
        command += ['-p', f'model:={tiny_model_set}', '-p', f'predicates:={predicates}']
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope='module')
def client(bringup: subprocess.Popen[str]) -> Iterator[LanguageClient]:
    with LanguageClient(timeout_s=START_S) as found:
        found.query(['a first question waits until the nodes are up'])
        yield found


@pytest.fixture(scope='module')
def robot(client: LanguageClient) -> Iterator[Robot]:
    node = Robot()
    yield node
    node.destroy_node()


def until(robot: Robot, holds: Callable[[], bool], *, encoding: str | None = 'rgb8') -> None:
    """Publish images, unless `encoding` is None, and listen until something holds."""
    executor = SingleThreadedExecutor()
    executor.add_node(robot)

    def meanwhile() -> None:
        if encoding is not None:
            robot.see(encoding)
        executor.spin_once(timeout_sec=0.05)

    try:
        wait_until(holds, limit_s=LIMIT_S, meanwhile=meanwhile)
    finally:
        executor.remove_node(robot)
        executor.shutdown()


def test_images_become_embeddings_and_scores(robot: Robot) -> None:
    robot.scores.clear()
    until(robot, lambda: bool(robot.heard and robot.scores and robot.scores[-1].scores))
    embedding = robot.heard[-1]
    assert (embedding.modality, embedding.header.frame_id) == ('infrared', 'lens')
    assert np.linalg.norm(embedding.vector) == pytest.approx(1.0, abs=1e-4)
    assert embedding.encode_ms > 0
    until(robot, lambda: set(robot.scores[-1].scores[0].modalities) == {'image', 'infrared'})
    scores = robot.scores[-1]
    assert scores.scores[0].name == 'a drawer is open'
    assert scores.language_space == embedding.language_space
    assert 0 < scores.latency_ms < 1000 * LIMIT_S


def test_sentences_are_answered_by_the_sensors_that_see(
    client: LanguageClient, robot: Robot
) -> None:
    robot.scores.clear()
    until(robot, lambda: bool(robot.scores))
    answer = client.query(['the stove is hot', 'the drawer is open'], max_age_ms=1e6)[0]
    assert answer.fused is not None
    assert 0 <= answer.fused <= 1
    assert answer.probability['depth'] is None
    assert 'no depth embedding' in answer.reasons['depth']
    assert 'image' not in answer.reasons
    assert not answer.calibrated


def test_questions_reach_back_as_far_as_evidence_is_kept(
    client: LanguageClient, robot: Robot
) -> None:
    robot.heard.clear()
    until(robot, lambda: len(robot.heard) > 2)
    moments = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in robot.heard[:2]]
    then = client.query(['the drawer is open'], at_s=moments[0] + 1e-6)[0]
    assert then.ages_ms['infrared'] == pytest.approx(0.0, abs=0.1)
    assert 'no infrared' in client.query('it is hot', at_s=moments[0] - 20)[0].reasons['infrared']
    with pytest.raises(NotAnsweredError, match='further back than'):
        client.query('it is hot', at_s=moments[0] - 60)
    with pytest.raises(NotAnsweredError, match='in the future'):
        client.query('it is hot', at_s=moments[0] + 600)


def test_states_are_known_to_late_listeners_and_to_watchers(client: LanguageClient) -> None:
    status = client.states()['a drawer is open']
    assert status.reason
    heard: queue.Queue[dict[str, object]] = queue.Queue()
    watch = client.watch(heard.put)
    assert set(heard.get(timeout=LIMIT_S)) == {'a drawer is open'}
    client.add('the stove is hot')
    while 'the stove is hot' not in heard.get(timeout=LIMIT_S):
        pass
    watch.close()
    client.remove('the stove is hot')
    assert heard.empty() or 'the stove is hot' in heard.get()


def test_a_client_works_inside_a_node_that_nobody_spins(client: LanguageClient) -> None:
    node = Node('planner')
    with LanguageClient(node, timeout_s=LIMIT_S) as inside:
        assert inside.query('the drawer is open')[0].text == 'the drawer is open'
        assert set(inside.states()) == {'a drawer is open'}
    node.destroy_node()


@pytest.mark.parametrize(
    ('texts', 'modalities', 'says'),
    [
        ([], [], 'no texts'),
        ([' '], [], 'must not be empty'),
        (['the drawer is open'], ['touch'], "unknown modality 'touch'"),
    ],
)
def test_unusable_questions_are_refused_with_a_reason(
    client: LanguageClient, texts: list[str], modalities: list[str], says: str
) -> None:
    with pytest.raises(NotAnsweredError, match=says):
        client.query(texts, modalities=modalities)


def test_predicates_come_and_go(client: LanguageClient, robot: Robot) -> None:
    client.add(Predicate.from_sentence('the stove is hot', name='hot stove'))
    until(robot, lambda: 'hot stove' in {s.name for m in robot.scores[-1:] for s in m.scores})
    client.remove('hot stove')
    until(robot, lambda: {s.name for s in robot.scores[-1].scores} == {'a drawer is open'})
    with pytest.raises(NotAnsweredError, match='hot stove'):
        client.remove('hot stove')


@pytest.mark.parametrize('name', ['bringup', 'predicates', 'camera_encoder'])
def test_parameters_are_described_and_some_can_change(robot: Robot, name: str) -> None:
    parameters = AsyncParameterClient(robot, name)
    assert parameters.wait_for_services(LIMIT_S)
    listed = parameters.list_parameters()
    until(robot, listed.done, encoding=None)
    if name == 'bringup':
        assert 'max_rate_hz' in listed.result().result.names
        values = {
            'max_rate_hz': 14.0,
            'evaluate_period_ms': 0.5,
            'model': 'other',
            'autostart': True,
        }
        changed = parameters.set_parameters([Parameter(k, value=v) for k, v in values.items()])
        until(robot, changed.done, encoding=None)
        fine, out_of_range, configured, fixed = changed.result().results
        assert fine.successful
        assert not out_of_range.successful
        assert 'only while the node is unconfigured' in configured.reason
        assert not fixed.successful


def test_waiting_ends_with_the_state_or_the_time(client: LanguageClient) -> None:
    # Nothing is published meanwhile, so that the state is or becomes unknown.
    assert client.wait_until('a drawer is open', state=State.UNKNOWN, timeout_s=LIMIT_S)
    assert not client.wait_until('a drawer is open', state=State.TRUE, timeout_s=0.3)
    with pytest.raises(NotAnsweredError, match='no predicate'):
        client.wait_until('never heard of', timeout_s=1.0)


def test_changes_are_made_as_a_whole_or_not_at_all(client: LanguageClient) -> None:
    hot = Predicate.from_sentence('the stove is hot', name='hot')
    same = Predicate('same', ('it is hot',), ('it is hot',))
    with pytest.raises(NotAnsweredError) as refusal:
        client.add(hot, same)
    assert refusal.value.refused == {'same': str(refusal.value)}
    assert 'same meaning' in str(refusal.value)
    assert [p.name for p in client.predicates()] == ['a drawer is open']
    with pytest.raises(NotAnsweredError, match="no predicate 'hot'"):
        client.remove('a drawer is open', 'hot')
    full = Predicate(
        'full',
        ('it is full',),
        ('it is empty',),
        templates=('a photo of {}',),
        modalities=('depth', 'audio'),
        weights={'depth': 0.3},
        calibration={'audio': Line(3.0, -0.1)},
        calibration_space='elsewhere',
        dwell_ms=0.0,
        max_age_ms=70.5,
        threshold_on=0.9,
    )
    assert client.add(full, hot) == ['a drawer is open', 'full', 'hot']
    assert client.predicates()[1:] == [full, hot]
    assert client.remove('full', 'hot') == ['a drawer is open']


def test_the_counters_account_for_every_message_at_the_end(
    bringup: subprocess.Popen[str], robot: Robot
) -> None:
    robot.heard.clear()
    until(robot, lambda: len(robot.heard) > 3, encoding='bayer_of_mars')
    bringup.send_signal(signal.SIGINT)
    output, _ = bringup.communicate(timeout=LIMIT_S)
    assert bringup.returncode == 0
    counters = json.loads(output.splitlines()[-1])['counters']
    assert counters['image']['failed'] > 0
    for name in ('image', 'infrared'):
        count = counters[name]
        ended = sum(count.values()) - count['received']
        assert count['received'] - ended in (0, 1)  # one may still wait
    assert counters['depth']['received'] == 0


@pytest.mark.parametrize(
    ('arguments', 'says', 'status'),
    [
        (['-p', 'model:=no_such_model'], "no model set 'no_such_model'", 1),
        (['-p', 'device:=toaster'], "parameter device: 'toaster'", 1),
        (['--params-file', 'nowhere.yaml'], 'nowhere.yaml', 2),
    ],
)
def test_a_process_that_cannot_start_says_why_in_one_line(
    ros_domain: int, arguments: list[str], says: str, status: int
) -> None:
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args', *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
    assert ended.returncode == status
    assert says in ended.stderr
    assert 'Traceback' not in ended.stderr


def test_the_encoder_and_the_predicates_run_apart(
    client: LanguageClient, tiny_model_set: Path, tmp_path: Path
) -> None:
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text(PREDICATES)
    # This process is in the domain of `client` already; a namespace keeps the two apart.
    options = ['--ros-args', '-r', '__ns:=/apart']
    options += ['-p', f'model:={tiny_model_set}', '-p', f'predicates:={predicates}']
    processes = [
        subprocess.Popen(
            [sys.executable, '-m', 'lb_ros.start', name, *options], stdout=subprocess.DEVNULL
        )
        for name in ('camera_encoder', 'predicates')
    ]
    try:
        with LanguageClient(timeout_s=START_S, namespace='apart') as apart:
            apart.query(['a first question waits until the node is up'])
            robot = Robot('apart')
            # Latched, and there before any evidence: a late listener learns what is scored.
            until(robot, lambda: bool(robot.states), encoding=None)
            states = [(s.name, s.state) for s in robot.states[0].states]
            assert states == [('a drawer is open', State.UNKNOWN)]
            until(robot, lambda: bool(robot.scores and robot.scores[-1].scores))
            assert robot.scores[-1].scores[0].modalities == ['image']
            _refuses_another_space(apart, robot)
            robot.destroy_node()
        for process in processes * 2:  # a terminal and a launch file each pass Ctrl-C on
            process.send_signal(signal.SIGINT)
        assert [process.wait(LIMIT_S) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()


def _refuses_another_space(client: LanguageClient, robot: Robot) -> None:
    vector = np.zeros(384, np.float32)
    vector[0] = 1.0
    stray = Embedding(modality='depth', language_space='another', vector=vector.tolist())
    stray.header.stamp = robot.get_clock().now().to_msg()
    robot.embeddings.publish(stray)
    answer = client.query(['the drawer is open'], max_age_ms=1e6)[0]
    assert answer.probability['depth'] is None
