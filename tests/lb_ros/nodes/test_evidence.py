"""Tokens between processes: only while somebody needs them, and the same scores as in one."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from encoders import Binder
from lb_ros.client import LanguageClient
from lb_ros.msg import Embedding, PredicateScores
from lb_ros.ros.embeddings import encoded_of
from lb_ros.ros.stamps import to_ns, to_stamp
from lb_ros.srv import GetAttention
from tests.domains import own_domain
from tests.readouts import copy_with_readouts
from tests.waiting import wait_until

pytestmark = pytest.mark.ros

START_S, LIMIT_S = 120.0, 60.0
RATE_HZ = 10.0
PREDICATES = """predicates:
  far: {positive: [it is far], negative: [it is near], modalities: [depth]}
  open: {positive: [the drawer is open], negative: [the drawer is closed], modalities: [depth]}
  red: {positive: [the cup is red], negative: [the cup is blue], modalities: [image]}
"""


def depth_mm(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(500, 2000, (48, 64), dtype=np.uint16)


@pytest.fixture(scope='module')
def model(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained set with random readouts of depth and image."""
    folder = tmp_path_factory.mktemp('read') / 'read'
    return copy_with_readouts(tiny_model_set, folder, modalities=['depth', 'image'])


@pytest.fixture(scope='module')
def other_readout(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `model`, with another readout of depth."""
    folder = tmp_path_factory.mktemp('read') / 'other'
    return copy_with_readouts(tiny_model_set, folder, modalities=['image', 'depth'])


class Scene:
    """Publishes the same depth images to several robots, and keeps what they publish."""

    def __init__(self, *namespaces: str) -> None:
        self.node = Node('scene')
        self.seed = 0
        self.scores: dict[str, list[PredicateScores]] = {name: [] for name in namespaces}
        self._senders = []
        for name in namespaces:
            topic = f'/{name}/depth/image'
            self._senders.append(self.node.create_publisher(Image, topic, qos_profile_sensor_data))
            self.node.create_subscription(
                PredicateScores, f'/{name}/predicates/scores', self.scores[name].append, 100
            )
        self.node.create_timer(1 / RATE_HZ, self._see)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _see(self) -> None:
        message = Image(encoding='16UC1', height=48, width=64, step=128)
        message.data = depth_mm(self.seed).tobytes()
        message.header.stamp = self.node.get_clock().now().to_msg()
        for sender in self._senders:
            sender.publish(message)

    def listen(self, topic: str) -> tuple[list[Embedding], Any]:
        heard: list[Embedding] = []
        made = self.node.create_subscription(
            Embedding, topic, heard.append, qos_profile_sensor_data
        )
        return heard, made

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """The answer of a service."""
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(LIMIT_S)
        future = client.call_async(request)
        wait_until(future.done, limit_s=LIMIT_S)
        self.node.destroy_client(client)
        return future.result()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(LIMIT_S)
        self.node.destroy_node()


@contextmanager
def running(name: str, namespace: str, *parameters: str) -> Iterator[subprocess.Popen[bytes]]:
    words = [
        '--ros-args',
        '-r',
        f'__ns:=/{namespace}',
        '-p',
        'precision:=fp32',
        '-p',
        'threads:=1',
    ]
    words += [word for each in parameters for word in ('-p', each)]
    process = subprocess.Popen(
        [sys.executable, '-m', 'lb_ros.start', name, *words], stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope='module')
def predicates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('predicates') / 'predicates.yaml'
    path.write_text(PREDICATES)
    return path


@pytest.fixture(scope='module')
def robots(model: Path, predicates: Path) -> Iterator[Scene]:
    """Robot `one` in one process, robot `apart` in two, and a scene that both see."""
    common = f'model:={model}', f'predicates:={predicates}'
    with own_domain(), ExitStack() as stack:
        stack.enter_context(running('bringup', 'one', *common, 'modalities:=[depth]'))
        stack.enter_context(running('depth_encoder', 'apart', common[0]))
        stack.enter_context(running('predicates', 'apart', *common))
        for name in ('one', 'apart'):
            client = LanguageClient(namespace=name, timeout_s=START_S)
            stack.enter_context(client).predicates()
        scene = Scene('one', 'apart')
        yield scene
        scene.close()


def values(message: PredicateScores) -> dict[str, tuple[float, ...]]:
    return {s.name: (*s.probabilities, *s.similarities) for s in message.scores if s.name != 'red'}


def both(scene: Scene) -> list[tuple[PredicateScores, PredicateScores]]:
    """Scores of both robots on the same images."""
    apart = {to_ns(message.header.stamp): message for message in list(scene.scores['apart'])}
    pairs = [(message, apart.get(to_ns(message.header.stamp))) for message in scene.scores['one']]
    return [(one, other) for one, other in pairs if other is not None]


def test_one_process_and_several_give_the_same_scores(robots: Scene, model: Path) -> None:
    binder = Binder.load(model)
    for seed in (1, 2):
        robots.seed = seed
        for scores in robots.scores.values():
            scores.clear()
        wait_until(lambda: len(both(robots)) > 10, limit_s=LIMIT_S)
        for one, other in both(robots):
            assert set(values(one)) == set(values(other)) == {'far', 'open'}
            for name, expected in values(one).items():
                np.testing.assert_allclose(values(other)[name], expected, atol=1e-6)
    assert_read_from_tokens(binder, both(robots)[-1][1], seed=2)


def assert_read_from_tokens(binder: Binder, message: PredicateScores, *, seed: int) -> None:
    """The probabilities are those that the binder's evidence gives, not those of its vector."""
    from encoders import PredicateBank
    from encoders.predicates.predicate import Predicate

    bank = PredicateBank(
        [Predicate('far', ('it is far',), ('it is near',), modalities=('depth',))], binder
    )
    evidence = binder.observe(depth=depth_mm(seed))
    read = bank.score(evidence)[0].probability['depth']
    pooled = bank.score({'depth': evidence['depth'].vector})[0].probability['depth']
    (found,) = [s.probabilities[0] for s in message.scores if s.name == 'far']
    assert abs(read - pooled) > 1e-3
    assert found == pytest.approx(read, abs=1e-3)  # of another batch and number of threads


def test_tokens_travel_only_while_they_have_a_subscriber(robots: Scene) -> None:
    plain, subscription = robots.listen('/one/embeddings/depth')
    wait_until(lambda: len(plain) > 5, limit_s=LIMIT_S)
    assert not any(len(e.tokens) or e.token_count or e.readout for e in plain)
    assert robots.node.count_subscribers('/one/evidence/depth') == 0
    # The predicates of the other robot subscribe to what they need, and to nothing twice.
    counted = {
        topic: robots.node.count_subscribers(f'/apart/{topic}')
        for topic in ('evidence/depth', 'embeddings/depth', 'evidence/image', 'embeddings/audio')
    }
    assert counted == {
        'evidence/depth': 1, 'embeddings/depth': 0, 'evidence/image': 1, 'embeddings/audio': 1,
    }  # fmt: skip
    full, asked = robots.listen('/one/evidence/depth')
    wait_until(lambda: len(full) > 5, limit_s=LIMIT_S)
    found = encoded_of(full[-1])
    assert found.tokens is not None and found.tokens.shape == (17, 16) and found.readout
    robots.node.destroy_subscription(asked)
    robots.node.destroy_subscription(subscription)


def test_tokens_stop_when_no_predicate_needs_them(robots: Scene) -> None:
    def subscribers() -> list[int]:
        topics = 'evidence/depth', 'embeddings/depth', 'evidence/image', 'embeddings/image'
        return [robots.node.count_subscribers(f'/apart/{topic}') for topic in topics]

    with LanguageClient(namespace='apart', timeout_s=START_S) as client:
        before = client.predicates()
        client.remove('far', 'open')
        wait_until(lambda: subscribers() == [0, 1, 1, 0], limit_s=LIMIT_S)
        # A question needs them again, and waits for the first of them.
        (answer,) = client.query(['it is far'], modalities=['depth'])
        assert answer.probability['depth'] is not None
        assert 'depth' not in answer.reasons
        assert subscribers() == [1, 0, 1, 0]
        client.set(before)


def test_a_new_readout_under_load_never_reads_tokens_of_the_old_one(
    robots: Scene, model: Path, other_readout: Path
) -> None:
    robots.seed = 3
    expected = {
        name: alone(path, seed=3) for name, path in (('old', model), ('new', other_readout))
    }
    assert abs(expected['old'] - expected['new']) > 1e-3
    for name in ('one', 'apart'):
        with LanguageClient(namespace=name, timeout_s=START_S) as client:
            wait_until(lambda name=name: near(robots.scores[name], expected['old']))
            robots.scores[name].clear()
            client.load_model(str(other_readout))
            wait_until(lambda name=name: near(robots.scores[name], expected['new']))
            client.load_model(str(model))
            wait_until(lambda name=name: near(robots.scores[name], expected['old']))
            for message in list(robots.scores[name]):
                (far,) = [s for s in message.scores if s.name == 'far']
                if len(far.probabilities) and 'depth read from the vector' not in far.reasons:
                    error = min(abs(far.probabilities[0] - value) for value in expected.values())
                    assert error < 1e-3, (name, far)


def test_the_past_is_read_from_tokens_as_far_as_their_bytes_reach(robots: Scene) -> None:
    def keep(tokens_mb: float) -> None:
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=tokens_mb)
        request = SetParameters.Request()
        request.parameters = [Parameter(name='history_tokens_mb', value=value)]
        (result,) = robots.call(SetParameters, '/one/bringup/set_parameters', request).results
        assert result.successful, result.reason

    with LanguageClient(namespace='one', timeout_s=START_S) as client:

        def past() -> str | None:
            (answer,) = client.query(['it is far'], modalities=['depth'], ago_s=1.0)
            return None if answer.fused is None else answer.reasons.get('depth', '')

        wait_until(lambda: past() == '', limit_s=LIMIT_S)
        keep(0.0)
        wait_until(lambda: past() == 'depth read from the vector', limit_s=LIMIT_S)
        (now,) = client.query(['it is far'], modalities=['depth'])
        assert now.reasons == {}
        keep(64.0)
        wait_until(lambda: past() == '', limit_s=LIMIT_S)


def test_the_attention_is_that_of_the_readout(robots: Scene, model: Path) -> None:
    from encoders import Predicate, PredicateBank

    binder = Binder.load(model)
    robots.seed = 5
    evidence = binder.observe(depth=depth_mm(5))['depth']
    sentence = 'the cup is on the plate'
    far = Predicate('far', ('it is far',), ('it is near',))
    bank = PredicateBank([far, Predicate.from_sentence(sentence, name=sentence)], binder)

    for text, name in itertools.product(('far', sentence), ('one', 'apart')):
        expected = bank.why(text, 'depth', evidence)

        def is_equal(text: str = text, name: str = name, expected: Any = expected) -> bool:
            request = GetAttention.Request(text=text, modality='depth')
            found = robots.call(GetAttention, f'/{name}/predicates/attention', request)
            assert found.success, found.message
            assert (found.rows, found.columns, found.central_square) == (4, 4, False)
            return bool(np.allclose(found.attention, expected.ravel(), atol=1e-3))

        wait_until(is_equal, limit_s=LIMIT_S)


@pytest.mark.parametrize(
    ('asked', 'told'),
    [
        ({'modality': 'depth', 'text': ' '}, 'empty'),
        ({'modality': 'audio', 'text': 'far'}, "no readout of 'audio' images: those of depth"),
        ({'modality': 'smell', 'text': 'far'}, "no readout of 'smell'"),
        ({'modality': 'depth', 'text': 'far', 'source': 'rear'}, 'no depth rear evidence'),
        ({'modality': 'depth', 'text': 'far', 'at': to_stamp(10**9)}, 'no depth evidence'),
    ],
)
def test_attention_without_an_answer_says_why(
    robots: Scene, asked: dict[str, Any], told: str
) -> None:
    request = GetAttention.Request(**asked)
    answer = robots.call(GetAttention, '/apart/predicates/attention', request)
    assert not answer.success and told in answer.message and '\n' not in answer.message


def alone(path: Path, *, seed: int) -> float:
    """Probability that it is far, of a set in this process."""
    from encoders import PredicateBank
    from encoders.predicates.predicate import Predicate

    binder = Binder.load(path)
    bank = PredicateBank([Predicate('far', ('it is far',), ('it is near',))], binder)
    return bank.score(binder.observe(depth=depth_mm(seed)))[0].probability['depth']


def near(scores: Sequence[PredicateScores], value: float) -> bool:
    """Whether the newest score of `far` has this probability."""
    found = [s for s in scores[-1].scores if s.name == 'far'] if scores else []
    return any(len(s.probabilities) and abs(s.probabilities[0] - value) < 1e-3 for s in found)
