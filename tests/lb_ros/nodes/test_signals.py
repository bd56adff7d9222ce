"""Channels described in words, live: any numeric field of any topic, arrays of taxels included."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import WrenchStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float32MultiArray

from encoders import Binder, Series
from encoders.decode.channels import ChannelDescription
from encoders.model_sets.files import save_model_set
from lb_ros.msg import Embedding
from lb_ros.ros.stamps import to_ns, to_stamp
from tests.domains import own_domain
from tests.lb_ros.robot import LIMIT_S, RELIABLE, START_S, Robot, bringup, listening
from tests.series_sets import described_set

pytestmark = pytest.mark.ros
PRESS = {
    'sentence': 'force of the press on the part, newtons',
    'topic': 'press/wrench',
    'field': 'wrench.force.z',
    'floor': 0.3,
}
CURRENT = {
    'sentence': 'current of the gripper motor, amperes',
    'topic': 'gripper/state',
    'field': 'effort{motor}',
    'floor': 0.05,
}
PAD = {
    'sentence': 'pressure on taxel {index} of the finger pad, kilopascals',
    'topic': 'pad/taxels',
    'field': 'data[0:3]',
    'floor': 0.1,
}
DRIVEN = {'press': PRESS, 'current': CURRENT}
ALL = {**DRIVEN, 'pad': PAD}
TYPES = {'press/wrench': WrenchStamped, 'gripper/state': JointState,
         'pad/taxels': Float32MultiArray}  # fmt: skip
STEP_NS, PAUSE_NS, WINDOW_S = 20_000_000, 800_000_000, 1.0


class Cell(Robot):
    """Publishes the three topics at 50 Hz.

    Attributes:
        sent: Stamp, force and current of what was published, in order.
    """

    def __init__(self, topics: Any) -> None:
        super().__init__(topics)
        self.sent: list[tuple[int, float, float]] = []
        self._at_ns = self.now_ns()
        self._rng = np.random.default_rng(0)

    def offer(self, modality: str) -> None:
        """Publish all topics from now on."""
        for topic, kind in TYPES.items():
            self.senders[topic] = self.create_publisher(kind, topic, RELIABLE)

    def work(self, change: Callable[[str, Any], Any] = lambda topic, message: message) -> None:
        """Publish every message whose time has come; `change` may alter it, or return None."""
        now_ns = self.now_ns()
        if now_ns - self._at_ns > PAUSE_NS:
            self._at_ns = now_ns
        while self._at_ns <= now_ns:
            force, current, *taxels = self._rng.normal(0, 1, 5).tolist()
            press = WrenchStamped()
            press.wrench.force.z = force
            gripper = JointState(name=['brake', 'motor'], effort=[0.0, current])
            press.header.stamp = gripper.header.stamp = to_stamp(self._at_ns)
            messages = zip(
                TYPES, (press, gripper, Float32MultiArray(data=[*taxels, 7.0])), strict=True
            )
            for topic, message in messages:
                changed = change(topic, message)
                if changed is not None:
                    self.senders[topic].publish(changed)
            self.sent.append((self._at_ns, force, current))
            self._at_ns += STEP_NS


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    channels = {name: ChannelDescription(**one) for name, one in ALL.items()}  # type: ignore[arg-type]
    folder = tmp_path_factory.mktemp('models') / 'felt'
    # Without the tared form, a window alone gives the vector.
    forms = ('absolute', 'change')
    values = {'rate_hz': 50.0, 'window_s': WINDOW_S, 'patch_ms': 100.0, 'forms': forms}
    save_model_set(folder, described_set(channels, **values))
    return folder


@pytest.fixture(scope='module')
def cell() -> Iterator[Cell]:
    with own_domain(), listening({'signals': 'signals'}, Cell) as node:
        yield node


def running(cell: Cell, model: Path, folder: Path, channels: dict[str, Any] | None = None) -> Any:
    """A bringup of signals, whose channels are those of the training unless they are given."""
    words = ['modalities:=[signals]', 'precision:=fp32']
    if channels is not None:
        (folder / 'channels.yaml').write_text(yaml.safe_dump(channels))
        words.append(f'signals_channels:={folder / "channels.yaml"}')
    return bringup(cell, model, folder, *words)


def test_taxels_and_fields_of_several_topics_are_evidence_and_faults_are_shown(
    cell: Cell, model: Path, tmp_path: Path
) -> None:
    with running(cell, model, tmp_path):
        cell.until(lambda: cell.knows('signals'), cell.work, limit_s=START_S)
        cell.until(
            lambda: cell.heard and cell.heard[-1].valid_fraction > 0.6,
            cell.work,
            limit_s=LIMIT_S,
        )
        assert cell.heard[-1].source == '/signals'
        assert cell.count('signals', 'fault_backwards') == 0
        assert cell.count('signals', 'fault_repeated') == 0

        def without_pad(topic: str, message: Any) -> Any:
            return None if topic == 'pad/taxels' else message

        # Three of five channels are gone.
        cell.until(
            lambda: 'pad[0] has no finite value' in cell.reasons.get('signals', ''),
            lambda: cell.work(without_pad),
            limit_s=LIMIT_S,
        )
        assert not cell.knows('signals')
        cell.until(lambda: cell.knows('signals'), cell.work, limit_s=LIMIT_S)

        def unnamed(topic: str, message: Any) -> Any:
            if topic == 'gripper/state':
                message.name = ['brake', 'engine']
            return message

        line = 'current has no finite value; it is masked'
        cell.until(
            lambda: line in cell.inputs['/signals'].message,
            lambda: cell.work(unnamed),
            limit_s=LIMIT_S,
        )
        assert cell.knows('signals')
        # Silence names what publishes.
        cell.until(
            lambda: '3 publishers, but no messages' in cell.inputs['/signals'].message,
            limit_s=LIMIT_S,
        )


def test_fewer_channels_of_a_file_give_the_vector_of_their_window(
    cell: Cell, model: Path, tmp_path: Path
) -> None:
    channels = {n: ChannelDescription(**one) for n, one in DRIVEN.items()}  # type: ignore[arg-type]
    binder = Binder.load(model, channels=channels)

    def is_that_of_its_window(heard: Embedding) -> bool:
        stamp_ns = to_ns(heard.header.stamp)
        sent = [each for each in cell.sent if each[0] <= stamp_ns]
        values = np.array([each[1:] for each in sent])
        stamps_s = np.array([(each[0] - stamp_ns) * 1e-9 for each in sent])
        expected = binder.embed(signals=Series(values, stamps_s, ('press', 'current')))
        return sent[-1][0] == stamp_ns and np.allclose(
            heard.vector, expected['signals'][0], atol=1e-3
        )

    with running(cell, model, tmp_path, DRIVEN):
        # A window may end before the newest message of one of the topics has arrived.
        cell.until(
            lambda: (
                cell.heard
                and cell.heard[-1].valid_fraction == 1
                and is_that_of_its_window(cell.heard[-1])
            ),
            cell.work,
            limit_s=START_S,
        )
        assert cell.knows('signals')


def test_a_channel_that_was_not_trained_is_no_evidence_and_the_reason_says_so(
    cell: Cell, model: Path, tmp_path: Path
) -> None:
    other = {**DRIVEN, 'current': {**CURRENT, 'sentence': 'pressure of the vacuum cup, bar'}}
    with running(cell, model, tmp_path, other):
        reason = 'signals: the encoder was not trained for current'
        cell.until(
            lambda: (
                reason in cell.reasons.get('signals', '')
                and cell.count('signals', 'fault_untrained') > 0
            ),
            cell.work,
            limit_s=START_S,
        )
        assert not cell.knows('signals')
        assert cell.lines('the encoder was not trained for current')


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        (None, 'No such file'),
        ('press: {sentence: force}', 'topic and field are missing of press'),
        ('press: {sentence: force, topic: a, field: "b["}', "'b[' is no path of a field"),
        ('press: {words: force}', "missing key 'press.sentence'"),
    ],
)
def test_a_file_of_channels_that_cannot_be_used_ends_the_node_with_its_reason(
    model: Path, tmp_path: Path, text: str | None, says: str
) -> None:
    path = tmp_path / 'channels.yaml'
    if text is not None:
        path.write_text(text)
    command = "import sys; from lb_ros.start import start; start('signals_encoder', sys.argv[1:])"
    words = ['--ros-args', '-p', f'model:={model}', '-p', f'signals_channels:={path}']
    with own_domain():
        ended = subprocess.run(
            [sys.executable, '-c', command, *words],
            capture_output=True, text=True, timeout=START_S, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    assert says in ended.stderr and 'parameter signals_channels' in ended.stderr
