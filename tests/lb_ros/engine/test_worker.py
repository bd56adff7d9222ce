"""The worker: the newest message of every sensor, in turn, with every failure counted and told."""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from encoders import Binder, Evidence
from lb_ros.engine.arrival import Arrival, Encoded
from lb_ros.engine.limits import Limits
from lb_ros.engine.worker import EncodingWorker
from tests.lb_ros.sinks import QueueSink
from tests.readouts import copy_with_readouts
from tests.waiting import wait_until

LIMIT_S = 60.0
Start = Callable[..., EncodingWorker]


def image(encoding: str = 'rgb8', side: int = 64) -> Any:
    channels = {'rgb8': 3, 'mono16': 2, '16UC1': 2}.get(encoding, 3)
    data = np.full(side * side * channels, 40, np.uint8).tobytes()
    return SimpleNamespace(
        encoding=encoding, width=side, height=side, step=side * channels, is_bigendian=0, data=data
    )


def arrival(message: Any, stamp_ns: int = 1, *, age_s: float = 0.0) -> Arrival:
    return Arrival(message, stamp_ns, 'camera_frame', time.monotonic() - age_s)


@pytest.fixture
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


@pytest.fixture
def encoded() -> queue.Queue[Encoded]:
    return queue.Queue()


@pytest.fixture
def told() -> queue.Queue[str]:
    return queue.Queue()


@pytest.fixture
def start(
    binder: Binder, encoded: queue.Queue[Encoded], told: queue.Queue[str]
) -> Iterator[Start]:
    workers: list[EncodingWorker] = []

    def begin(
        *, wants: Callable[[str], bool] = lambda modality: True, **options: Any
    ) -> EncodingWorker:
        worker = EncodingWorker(binder, QueueSink(encoded, wants), log=told.put, **options)
        workers.append(worker)
        for name in ('image', 'depth', 'infrared', 'audio'):
            worker.add_sensor(name)
        return worker

    yield begin
    for worker in workers:
        worker.close()


def test_an_image_becomes_the_embedding_that_the_binder_gives(
    start: Start, binder: Binder, encoded: queue.Queue[Encoded]
) -> None:
    worker = start()
    worker.put('image', arrival(image(), stamp_ns=7))
    found = encoded.get(timeout=LIMIT_S)
    expected = binder.embed(image=np.full((64, 64, 3), 40, np.uint8))['image']
    np.testing.assert_allclose(found.vector, np.ravel(expected), atol=1e-5)
    assert (found.modality, found.stamp_ns, found.frame_id) == ('image', 7, 'camera_frame')
    assert found.valid_fraction == 1.0
    assert found.encode_ms > 0


def test_a_failing_sensor_is_told_once_and_the_others_go_on(
    start: Start, encoded: queue.Queue[Encoded], told: queue.Queue[str]
) -> None:
    worker = start()
    for _ in range(2):
        worker.put('depth', arrival(image('bayer_of_mars')))
        worker.put('image', arrival(image()))
        assert encoded.get(timeout=LIMIT_S).modality == 'image'

    def spent() -> int:
        depth = worker.counters()['depth']
        return depth.failed + depth.dropped

    wait_until(lambda: spent() == 2, limit_s=LIMIT_S)
    assert 'bayer_of_mars' in told.get(timeout=LIMIT_S)
    assert told.empty()


def test_messages_that_waited_too_long_are_stale(
    start: Start, encoded: queue.Queue[Encoded]
) -> None:
    worker = start(limits=Limits(max_age_ms=500.0))
    worker.put('image', arrival(image(), age_s=2.0))
    worker.put('infrared', arrival(image('mono16')))
    assert encoded.get(timeout=LIMIT_S).modality == 'infrared'
    # Counted before the infrared image was taken, which had waited less.
    assert worker.counters()['image'].stale == 1


def test_no_sensor_starves(start: Start, encoded: queue.Queue[Encoded]) -> None:
    worker = start()
    sound = SimpleNamespace(sample_rate_hz=16_000, channels=1, samples=np.zeros(1600, np.int16))
    served: set[str] = set()
    deadline_s = time.monotonic() + LIMIT_S
    stamp_ns = 0
    while served != {'image', 'depth', 'infrared', 'audio'}:
        assert time.monotonic() < deadline_s
        # Pictures come faster than they can be encoded.
        for name, kind in (('image', 'rgb8'), ('depth', '16UC1'), ('infrared', 'mono16')):
            worker.put(name, arrival(image(kind)))
        worker.put('audio', arrival(sound, stamp_ns))
        stamp_ns += 100_000_000
        served.add(encoded.get(timeout=LIMIT_S).modality)


def test_a_rate_limit_keeps_the_newest(start: Start, encoded: queue.Queue[Encoded]) -> None:
    worker = start(limits=Limits(max_rate_hz=4.0))
    began_s = time.monotonic()
    stamps: list[int] = []
    stamp_ns = 0
    while len(stamps) < 4:
        stamp_ns += 1
        worker.put('image', arrival(image(), stamp_ns))
        try:
            stamps.append(encoded.get(timeout=0.01).stamp_ns)
        except queue.Empty:
            assert time.monotonic() - began_s < LIMIT_S
    # Two may go at once; from then on a quarter of a second lies between.
    assert time.monotonic() - began_s > 0.2
    assert stamps == sorted(stamps)
    counters = worker.counters()['image']
    assert counters.capped > 0
    waiting = worker._sensors['image'].slot.waiting is not None
    ended = counters.capped + counters.dropped + counters.encoded
    assert counters.received == ended + waiting


def test_a_kind_of_sensor_has_a_rate_limit_of_its_own(
    start: Start, encoded: queue.Queue[Encoded]
) -> None:
    worker = start(limits=Limits(max_rate_hz=2.0, rates_hz={'infrared': 500.0}))
    count: Counter[str] = Counter()
    limit_s = time.monotonic() + LIMIT_S
    while count['infrared'] < 10 * max(count['depth'], 1):
        assert time.monotonic() < limit_s, count
        worker.put('depth', arrival(image('16UC1')))
        worker.put('infrared', arrival(image('mono16')))
        count[encoded.get(timeout=LIMIT_S).modality] += 1
    assert worker.counters()['depth'].capped > 0
    # A shorter period takes effect at once, not after the longer one.
    worker.limit(Limits(rates_hz={'depth': 0.001, 'infrared': 0.001}))
    worker.limit(Limits())
    worker.put('depth', arrival(image('16UC1'), stamp_ns=99))
    while encoded.get(timeout=LIMIT_S).stamp_ns != 99:
        pass


def test_sensors_of_a_higher_priority_go_first(
    start: Start, encoded: queue.Queue[Encoded]
) -> None:
    priorities = {'image': -1, 'infrared': 5, 'depth': 1}
    worker = start(limits=Limits(priorities=priorities), max_batch=1)
    assert worker.memory.priorities == ['infrared', 'depth', 'audio', 'image']
    with worker._wake:  # all three are there when the worker looks
        for name, kind in (('image', 'rgb8'), ('depth', '16UC1'), ('infrared', 'mono16')):
            worker.put(name, arrival(image(kind)))
    found = [encoded.get(timeout=LIMIT_S).modality for _ in range(3)]
    assert found == ['infrared', 'depth', 'image']
    worker.limit(Limits(priorities={'audio': 1}))
    assert worker.memory.priorities[0] == 'audio'


def test_an_unknown_sensor_is_an_error(start: Start) -> None:
    with pytest.raises(KeyError, match='no touch encoder'):
        start().add_sensor('touch')


def test_what_is_due_together_is_encoded_in_one_call(
    start: Start, binder: Binder, encoded: queue.Queue[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[set[str]] = []
    plain = binder.encode_evidence

    def encode(inputs: dict[str, Tensor], *, tokens: Container[str]) -> dict[str, list[Evidence]]:
        calls.append(set(inputs))
        return plain(inputs, tokens=tokens)

    monkeypatch.setattr(binder, 'encode_evidence', encode)
    is_open: list[bool] = []
    worker = start(wants=lambda modality: bool(is_open))
    for name, kind in (('image', 'rgb8'), ('depth', '16UC1'), ('infrared', 'mono16')):
        worker.put(name, arrival(image(kind)))
    is_open.append(True)
    worker.look()
    assert {encoded.get(timeout=LIMIT_S).modality for _ in range(3)} == calls[0]
    assert calls == [{'image', 'depth', 'infrared'}]


def test_what_nobody_listens_to_is_not_encoded(
    start: Start, encoded: queue.Queue[Encoded]
) -> None:
    worker = start(wants=lambda modality: modality == 'depth')
    for stamp_ns in (1, 2):
        worker.put('image', arrival(image(), stamp_ns))
    worker.put('depth', arrival(image('16UC1')))
    assert encoded.get(timeout=LIMIT_S).modality == 'depth'
    assert worker.counters()['image'].encoded == 0
    assert worker.counters()['image'].dropped == 1  # the other one waits for a listener
    assert worker.unheard() == ['image', 'infrared', 'audio']


def test_messages_come_in_while_the_sink_is_asked_what_it_wants(
    start: Start, encoded: queue.Queue[Encoded]
) -> None:
    # The sink asks rclpy, whose locks the thread that stores messages may hold.
    outside = ThreadPoolExecutor(1)
    came: list[bool] = []

    def wants(modality: str) -> bool:
        if not came:
            message = arrival(image(), stamp_ns=2)
            wait([outside.submit(worker.put, 'image', message)], timeout=LIMIT_S)
            came.append(worker.counters()['image'].received == 2)
        return True

    is_open: list[bool] = []
    worker = start(wants=lambda modality: bool(is_open) and wants(modality))
    worker.put('image', arrival(image(), stamp_ns=1))
    is_open.append(True)
    worker.look()
    assert encoded.get(timeout=2 * LIMIT_S).stamp_ns == 2
    assert came == [True]


def test_every_stage_is_timed(start: Start, encoded: queue.Queue[Encoded]) -> None:
    worker = start()
    worker.put('image', arrival(image()))
    encoded.get(timeout=LIMIT_S)
    worker.close()
    stages = worker.stages.values()
    assert {key.split('_')[0] for key in stages} == {
        'wait',
        'decode',
        'preprocess',
        'encode',
        'publish',
    }
    assert float(stages['encode_ms_p95']) > 0


def test_tokens_come_along_where_they_are_wanted_and_there_is_a_readout(
    tiny_model_set: Path, tmp_path: Path, encoded: queue.Queue[Encoded]
) -> None:
    folder = copy_with_readouts(tiny_model_set, tmp_path / 'set', modalities=['depth', 'image'])
    binder = Binder.load(folder)
    sink = QueueSink(encoded, wants_tokens=lambda modality: modality != 'image')
    worker = EncodingWorker(binder, sink, log=print)
    try:
        for name, kind in (('image', 'rgb8'), ('depth', '16UC1'), ('infrared', 'mono16')):
            worker.add_sensor(name)
            worker.put(name, arrival(image(kind)))
        found = {each.modality: each for each in (encoded.get(timeout=LIMIT_S) for _ in range(3))}
    finally:
        worker.close()
    assert found['image'].tokens is found['infrared'].tokens is None
    expected = binder.observe(depth=np.full((64, 64), 40 * 257, np.uint16))['depth']
    assert isinstance(expected, Evidence)
    assert found['depth'].tokens is not None and expected.tokens is not None
    assert found['depth'].tokens.dtype == np.float16
    np.testing.assert_allclose(found['depth'].tokens, expected.tokens, atol=2e-3)
