"""Lack of memory and lost devices, raised where PyTorch raises them: inside a real encoder."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from encoders import Binder, Evidence
from lb_ros.engine.arrival import Arrival, Encoded
from lb_ros.engine.overload import MemoryPolicy, is_fatal, lacks_memory
from lb_ros.engine.watchdog import EXIT_DEVICE
from lb_ros.engine.worker import EncodingWorker
from tests.lb_ros.sinks import QueueSink
from tests.waiting import pause, wait_until

LIMIT_S = 60.0
SENSORS = ('image', 'depth', 'infrared')


class Device:
    """Stands before the real encoders, and has memory for so many samples at once."""

    def __init__(self, binder: Binder) -> None:
        self.room = 100
        self.fails_with: Exception | None = None
        self.calls: list[int] = []
        self._encode = binder.encode_evidence

    def encode(
        self, inputs: dict[str, torch.Tensor], *, tokens: Container[str]
    ) -> dict[str, list[Evidence]]:
        count = sum(len(batch) for batch in inputs.values())
        self.calls.append(count)
        if self.fails_with is not None:
            raise self.fails_with
        if count > self.room:
            raise torch.cuda.OutOfMemoryError(f'no room for {count}')
        return self._encode(inputs, tokens=tokens)


@pytest.fixture
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


@pytest.fixture
def device(binder: Binder, monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device(binder)
    monkeypatch.setattr(binder, 'encode_evidence', found.encode)
    return found


class Rig:
    """A worker with three cameras."""

    def __init__(self, binder: Binder) -> None:
        self.encoded: queue.Queue[Encoded] = queue.Queue()
        self.told: list[str] = []
        self.ended: queue.Queue[tuple[int, str]] = queue.Queue()
        self.worker = EncodingWorker(
            binder,
            QueueSink(self.encoded),
            log=self.told.append,
            on_fatal=lambda status, line: self.ended.put((status, line)),
        )
        for name in SENSORS:
            self.worker.add_sensor(name)
        self.worker.memory._recover_s = self.worker.memory._first_recover_s = 0.2

    def send(self) -> None:
        for name in SENSORS:
            kind, size = ('rgb8', 3) if name == 'image' else ('16UC1', 2)
            data = np.random.default_rng().integers(1, 99, 64 * 64 * size, np.uint8).tobytes()
            message = SimpleNamespace(
                encoding=kind, width=64, height=64, step=64 * size, is_bigendian=0, data=data
            )
            self.worker.put(name, Arrival(message, 1, 'lens', time.monotonic()))

    def until(self, holds: Callable[[], bool]) -> None:
        def meanwhile() -> None:
            self.send()
            pause()

        wait_until(
            holds,
            limit_s=LIMIT_S,
            meanwhile=meanwhile,
            shows=lambda: (self.told, self.worker.counters()),
        )

    def heard(self) -> set[str]:
        found = set()
        while not self.encoded.empty():
            found.add(self.encoded.get().modality)
        return found


@pytest.fixture
def rig(binder: Binder, device: Device) -> Iterator[Rig]:
    made = Rig(binder)
    yield made
    made.worker.close()


def test_the_batch_is_halved_and_grows_again(rig: Rig, device: Device) -> None:
    device.room = 1
    rig.until(lambda: rig.worker.memory.batch == 1)
    rig.heard()
    rig.until(lambda: rig.heard() >= set(SENSORS) or len(device.calls) > 500)
    assert not rig.worker.memory.shed
    device.room = 100
    rig.until(lambda: rig.worker.memory.batch == rig.worker.memory.max_batch)
    assert any('at most 1 samples at once' in line for line in rig.told)


def test_the_last_sensor_is_shed_first_and_comes_back(rig: Rig, device: Device) -> None:
    device.room = 0
    rig.until(lambda: rig.worker.memory.shed[:1] == ['infrared'])
    rig.until(lambda: rig.worker.counters()['image'].failed > 0)
    assert 'image' not in rig.worker.memory.shed  # the most important one is never given up
    assert rig.worker.health('image').faults['memory'] > 0
    device.room = 100
    seen: set[str] = set()

    def all_serve() -> bool:
        seen.update(rig.heard())
        return seen == set(SENSORS) and not rig.worker.memory.shed

    rig.until(all_serve)
    assert any('infrared is tried again' in line for line in rig.told)


def test_a_lost_device_ends_the_process_with_a_status_of_its_own(rig: Rig, device: Device) -> None:
    device.fails_with = torch.AcceleratorError('CUDA error: device-side assert triggered')
    rig.send()
    status, line = rig.ended.get(timeout=LIMIT_S)
    assert status == EXIT_DEVICE
    assert 'device-side assert' in line


def test_an_error_that_nobody_foresaw_costs_its_samples_only(rig: Rig, device: Device) -> None:
    device.fails_with = ZeroDivisionError('of the network')
    rig.until(lambda: rig.worker.health('image').faults.get('internal', 0) > 1)
    assert sum('ZeroDivisionError' in line for line in rig.told) <= len(SENSORS)
    device.fails_with = None
    rig.until(lambda: bool(rig.heard()))


def test_an_embedding_that_is_not_finite_is_never_published(
    rig: Rig, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = device._encode

    def broken(inputs: dict[str, torch.Tensor], *, tokens: Container[str]) -> Any:
        found = real(inputs, tokens=tokens)
        return {n: [Evidence(e.vector * np.nan) for e in each] for n, each in found.items()}

    device._encode = broken
    rig.until(lambda: rig.worker.health('depth').faults.get('not_finite', 0) > 0)
    assert not rig.heard()
    device._encode = real
    rig.until(lambda: bool(rig.heard()))


@pytest.mark.parametrize(
    ('error', 'fatal'),
    [
        (torch.cuda.OutOfMemoryError('CUDA out of memory'), False),
        (RuntimeError('CUDA error: an illegal memory access was encountered'), True),
        (RuntimeError('cuDNN error: CUDNN_STATUS_EXECUTION_FAILED'), True),
        (RuntimeError('shapes do not match'), False),
        (ValueError('CUDA error'), False),
    ],
)
def test_what_a_device_survives_is_told_apart(error: Exception, fatal: bool) -> None:
    assert is_fatal(error) is fatal


@pytest.mark.parametrize('more_than_there_is', [torch.empty, np.empty])
def test_the_cpu_lacks_memory_in_words_of_its_own(more_than_there_is: Callable[..., Any]) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as failed:
        more_than_there_is(1 << 58)
    assert lacks_memory(failed.value)
    assert not is_fatal(failed.value)
    assert not lacks_memory(RuntimeError('shapes do not match'))


def test_a_measure_that_is_taken_back_too_early_waits_longer_the_next_time() -> None:
    now = [0.0]
    policy = MemoryPolicy(max_batch=4, log=lambda line: None, recover_s=5, clock=lambda: now[0])
    policy.priorities = ['a', 'b', 'c', 'd']
    room = 2

    def encode(samples: list[Any]) -> list[Any]:
        if len(samples) > room:
            raise torch.cuda.OutOfMemoryError('full')
        return samples

    def run() -> list[Any]:
        return policy.run(policy.priorities, [1, 2, 3, 4], encode)

    assert run() == [1, 2, 3, 4]
    trials = []
    for _ in range(80):
        now[0] += 1
        before = policy.out_of_memory
        assert run() == [1, 2, 3, 4]
        if policy.out_of_memory > before:
            trials.append(now[0])
    waits = np.diff(trials)
    assert len(trials) >= 3
    assert (waits[1:] >= 1.9 * waits[:-1]).all()


def test_a_device_that_is_lost_while_it_warms_up_ends_the_process(
    tiny_model_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('rclpy')
    from lb_ros.nodes.shared_model import SharedModel
    from lb_ros.parameter_table import Parameters

    def lost(*_: object, **__: object) -> None:
        raise torch.AcceleratorError('CUDA error: unspecified launch failure')

    monkeypatch.setattr(Binder, 'encode_evidence', lost)
    ended: list[tuple[int, str]] = []
    model = SharedModel(
        lambda: Parameters(model=str(tiny_model_set), threads=1),
        QueueSink(),
        modalities=['depth'],
        log=print,
        on_fatal=lambda status, line: ended.append((status, line)),
    )
    with pytest.raises(torch.AcceleratorError):
        model.acquire('camera_encoder')
    assert ended == [
        (EXIT_DEVICE, 'the device failed for good: CUDA error: unspecified launch failure')
    ]
