"""Wrenches, joint states and inertial units in a running bringup, at more than camera rates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy

from encoders import Binder, Series
from encoders.decode.series import SeriesOptions, decode_series
from lb_ros.msg import Embedding
from lb_ros.ros.stamps import to_ns
from lb_ros.srv import LoadModel
from tests.domains import own_domain
from tests.lb_ros.limbs import TOPICS, Limb
from tests.lb_ros.robot import LIMIT_S, START_S, TYPES, Robot, bringup, listening
from tests.series_sets import write_series_set

pytestmark = pytest.mark.ros
FORMS = ('absolute', 'change')  # without the tared one, a window alone gives the vector
PARAMETERS = ('modalities:=[depth, wrench, joints, imu]', 'precision:=fp32', 'max_rate_hz:=10.0')


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series_set(tmp_path_factory.mktemp('models') / 'felt', forms=FORMS)


@pytest.fixture(scope='module')
def robot(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    folder = tmp_path_factory.mktemp('predicates')
    with own_domain(), listening(TOPICS) as node, bringup(node, model, folder, *PARAMETERS):
        yield node


@pytest.fixture(scope='module')
def limbs(robot: Robot) -> dict[str, Limb]:
    found = {name: Limb(robot, name) for name in TOPICS}
    robot.until(
        lambda: all(robot.knows(name) for name in TOPICS),
        lambda: send(found),
        limit_s=START_S,
    )
    return found


def send(limbs: dict[str, Limb]) -> None:
    for limb in limbs.values():
        limb.send()


def newest(robot: Robot, modality: str) -> Embedding:
    return [each for each in robot.heard if each.modality == modality][-1]


def length_s(heard: Embedding) -> float:
    return (to_ns(heard.header.stamp) - to_ns(heard.window_start)) * 1e-9


@pytest.mark.parametrize('modality', TOPICS)
def test_an_embedding_is_that_of_the_window_which_it_names(
    robot: Robot, limbs: dict[str, Limb], model: Path, modality: str
) -> None:
    robot.until(
        lambda: newest(robot, modality).valid_fraction == 1,
        lambda: send(limbs),
        limit_s=LIMIT_S,
    )
    heard = newest(robot, modality)
    stamp_ns = to_ns(heard.header.stamp)
    sent = [(at_ns, message) for at_ns, message in limbs[modality].sent if at_ns <= stamp_ns]
    assert sent[-1][0] == stamp_ns
    assert heard.header.frame_id == sent[-1][1].header.frame_id
    assert heard.source == f'/{TOPICS[modality]}'
    assert 1.9 < length_s(heard) < 2
    binder = Binder.load(model, modalities=[modality])
    channels = binder.preprocessing[modality].channels
    rows = [decode_series(modality, message, channels, SeriesOptions()) for _, message in sent]
    stamps_s = np.array([(at_ns - stamp_ns) * 1e-9 for at_ns, _ in sent])
    expected = binder.embed(**{modality: Series(np.stack(rows), stamps_s, channels)})
    np.testing.assert_allclose(heard.vector, expected[modality][0], atol=1e-3)


def test_every_message_counts_and_the_rate_of_embeddings_is_limited(
    robot: Robot, limbs: dict[str, Limb]
) -> None:
    def lost() -> list[int]:
        robot.until(
            lambda: all(float(robot.told(f'/{t}', 'silent_s')) > 0.2 for t in TOPICS.values()),
            limit_s=LIMIT_S,
        )
        return [len(limbs[name].sent) - robot.count(name, 'received') for name in TOPICS]

    before, encoded = lost(), robot.count('wrench', 'encoded')
    robot.until(
        lambda: robot.count('wrench', 'encoded') > encoded + 20,
        lambda: send(limbs),
        limit_s=LIMIT_S,
    )
    assert lost() == before
    assert all(robot.count(name, 'failed') == 0 for name in TOPICS)
    # Ten embeddings of a hundred messages a second.
    assert robot.count('wrench', 'encoded') * 4 < robot.count('wrench', 'received')


def test_a_best_effort_publisher_of_depth_1_is_heard(robot: Robot, limbs: dict[str, Limb]) -> None:
    before = robot.senders['wrench']
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    robot.senders['wrench'] = robot.create_publisher(TYPES['wrench'], TOPICS['wrench'], qos)
    try:
        received = robot.count('wrench', 'received')
        robot.until(
            lambda: robot.count('wrench', 'received') > received + 50,
            lambda: send(limbs),
            limit_s=LIMIT_S,
        )
    finally:
        robot.destroy_publisher(robot.senders['wrench'])
        robot.senders['wrench'] = before


def test_another_set_brings_its_own_windows_and_one_without_series_is_refused(
    robot: Robot, limbs: dict[str, Limb], model: Path, tiny_model_set: Path, tmp_path: Path
) -> None:
    short = write_series_set(tmp_path / 'short', name='short', window_s=0.96, forms=FORMS)

    for folder, low_s, high_s in ((short, 0.8, 0.96), (model, 1.8, 2.0)):
        answer = robot.call(LoadModel, 'load_model', LoadModel.Request(model=str(folder)))
        assert answer.success, answer.message
        robot.until(
            lambda low_s=low_s, high_s=high_s: low_s < length_s(newest(robot, 'wrench')) < high_s,
            lambda: send(limbs),
            limit_s=LIMIT_S,
        )
    answer = robot.call(LoadModel, 'load_model', LoadModel.Request(model=str(tiny_model_set)))
    assert not answer.success
    assert "no encoder for 'wrench'" in answer.message
    robot.heard.clear()
    robot.until(lambda: robot.heard, lambda: send(limbs), limit_s=LIMIT_S)
