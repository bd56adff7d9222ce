"""Live nodes, `lb-ros score`, pairs and training cut a bag into the same windows, bit by bit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from encoders import MODALITIES, Binder
from encoders.decode.streams import AudioStream, ClipStream, ImageStream, Window
from encoders.preprocess import to_stored
from encoders.preprocess.mini.audio import AudioConfig
from encoders.preprocess.mini.depth import DepthConfig
from encoders.preprocess.mini.image import ImageConfig
from encoders.preprocess.mini.infrared import InfraredConfig
from lb_ros.engine.arrival import Arrival
from lb_ros.engine.worker import EncodingWorker
from tests.lb_ros.sinks import QueueSink
from tests.train.conftest import START_NS, DrawnBag, random_moments
from tests.train.pairs.pair_bags import pairs_of
from train.bags.extract import extract_bag
from train.bags.reader import read_bag
from train.bags.topics import TOPICS
from train.pairs.record import decode
from train.score.windows import SensorTopics, read_windows

STEP_S, CLIP_S, SOUND_S = 0.07, 0.6, 0.5
SENSORS = ('image', 'depth', 'infrared', 'audio')
CONFIGS = {
    'image': ImageConfig(size=32),
    'depth': DepthConfig(size=32),
    'infrared': InfraredConfig(size=32),
    'audio': AudioConfig(mel_bins=32, frames=48),
}
LIMIT_S = 60.0
COUNT = 18
Raw = dict[str, dict[int, Any]]  # modality to the end of a window to what is in it


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen messages a second of every sensor, so that clips fall between pictures."""
    path = tmp_path_factory.mktemp('same') / 'bag'
    return DrawnBag().write(path, random_moments(COUNT, seed=3), step_s=STEP_S)


@pytest.fixture(scope='module')
def live(bag: Path, tiny_checkpoints: dict[str, str]) -> Raw:
    """What the worker of the nodes is given to encode, message by message."""
    cut: Raw = {name: {} for name in (*SENSORS, 'video')}
    pictures: dict[int, NDArray[Any]] = {}

    def keep(modality: str, window: Window) -> None:
        raw = window.raw
        if modality == 'video':
            pictures.update(raw.pictures)  # those that an earlier clip had are not decoded again
            raw = np.stack([pictures[stamp_ns] for stamp_ns in raw.stamps_ns])
        cut[modality][window.stamp_ns] = raw

    sink = QueueSink()
    log: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for kind in (ImageStream, ClipStream, AudioStream):
            patch.setattr(kind, 'window', recorded(kind.window, keep))
        binder = Binder.load({name: Path(folder) for name, folder in tiny_checkpoints.items()})
        worker = EncodingWorker(binder, sink, log=log.append)
        try:
            names = {m: worker.add_sensor(m, video_window_s=CLIP_S) for m in cut}
            for modality, message in messages(bag):
                arrival = Arrival(
                    message.message, message.stamp_ns, '', time.monotonic(), message.is_stamped
                )
                worker.put(names[modality], arrival)
                assert sink.queue.get(timeout=LIMIT_S).modality == modality, log
        finally:
            worker.close()
    assert log == []
    return cut


def recorded(window: Any, keep: Any) -> Any:
    """A stream's method `window` that also keeps what it returns."""

    def method(self: Any, *args: Any, **options: Any) -> Window:
        found: Window = window(self, *args, **options)
        keep(getattr(self, 'modality', 'audio'), found)
        return found

    return method


def messages(bag: Path) -> Iterator[tuple[str, Any]]:
    for message in read_bag(bag):
        for modality in (*SENSORS, 'video'):
            source = 'image' if modality == 'video' else modality
            if message.topic in TOPICS[source]:
                yield modality, message


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, tuple):  # a wave and its rate
        assert found[1] == expected[1]
        found, expected = found[0], expected[0]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_scoring_cuts_what_live_nodes_cut(bag: Path, live: Raw) -> None:
    windows = list(read_windows(bag, SensorTopics(), modalities=SENSORS, max_rate_hz=0))
    assert len(windows) == sum(len(live[name]) for name in SENSORS) == 4 * COUNT
    for window in windows:
        assert_same(window.raw(), live[window.modality][window.stamp_ns])


@pytest.mark.parametrize('modality', SENSORS)
def test_training_learns_from_what_live_nodes_cut(bag: Path, live: Raw, modality: str) -> None:
    samples, _ = extract_bag(bag, {modality: CONFIGS[modality]})
    for row, inputs in enumerate(samples.inputs[modality]):
        end_ns = START_NS + round((row + 1) * STEP_S * 1e9)
        assert inputs.any()
        assert_same(inputs, to_stored(live[modality][end_ns], CONFIGS[modality]))


@pytest.mark.parametrize(
    ('modality', 'window_s'), [*((m, SOUND_S) for m in SENSORS), ('video', CLIP_S)]
)
def test_pairs_hold_what_live_nodes_cut(
    bag: Path, live: Raw, modality: str, window_s: float
) -> None:
    pairs, _ = pairs_of(bag, modalities=(modality,), window_s=window_s)
    assert len(pairs) == COUNT
    for pair in pairs:
        expected = live[modality][pair.end_ns]
        if MODALITIES[modality].kind == 'sound':  # a node hears more than one window of pairs
            wave, rate_hz = expected
            expected = (wave[:, -round((pair.end_ns - pair.start_ns) * 1e-9 * rate_hz) :], rate_hz)
        assert_same(decode(modality, pair.files), expected)


def test_live_nodes_were_given_every_message(live: Raw) -> None:
    assert {name: len(windows) for name, windows in live.items()} == dict.fromkeys(live, COUNT)
    newest_ns = max(live['image'])
    assert live['video'][newest_ns].shape == (8, 32, 32, 3)
    assert_same(live['video'][newest_ns][-1], live['image'][newest_ns])
