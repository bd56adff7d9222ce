"""Capture against a driver that behaves as PortAudio does when devices come and go."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb_ros.engine.capture import MAX_WAITING, Capture, SampleClock

RATE_HZ = 16_000


class Driver:
    """What Capture needs of sounddevice. Like PortAudio, it sees new devices only at its start."""

    class PortAudioError(Exception):
        """Raised by the real one."""

    def __init__(self) -> None:
        self.plugged, self.known = True, True
        self.callback: Callable[..., None] | None = None
        self.now_s = 100.0
        self.opened: list[dict[str, Any]] = []
        self.InputStream = self._open

    def _open(self, **wanted: Any) -> Any:
        if not self.known:
            raise ValueError('No input device matching')
        self.opened.append(wanted)
        self.callback = wanted['callback']
        return SimpleNamespace(start=lambda: None, stop=lambda: None, close=self._close)

    def _close(self) -> None:
        self.callback = None
        if not self.plugged:
            raise self.PortAudioError('device unavailable')

    def _terminate(self) -> None:
        self.known = False

    def _initialize(self) -> None:
        self.known = self.plugged

    def record(self, count: int = 1600, *, jitter_s: float = 0.0, overflow: bool = False) -> None:
        """Let the device hear `count` samples, all of the same value."""
        self.now_s += count / RATE_HZ
        if self.callback is None or not self.plugged:
            return
        times = SimpleNamespace(
            currentTime=self.now_s + jitter_s, inputBufferAdcTime=self.now_s - count / RATE_HZ
        )
        status = SimpleNamespace(input_overflow=overflow)
        self.callback(np.full((count, 1), 7, np.int16), count, times, status)


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def capture(driver: Driver, told: list[str]) -> Capture:
    made = Capture(
        device='USB', rate_hz=RATE_HZ, channels=1, chunk_ms=100, driver=driver, log=told.append,
        now_ns=lambda: round(driver.now_s * 1e9), clock=lambda: driver.now_s,
    )  # fmt: skip
    made.start()
    return made


def test_the_device_is_opened_by_name_with_the_wanted_format(
    capture: Capture, driver: Driver
) -> None:
    wanted = driver.opened[0]
    assert (wanted['device'], wanted['samplerate'], wanted['blocksize']) == ('USB', 16_000, 1600)


def test_stamps_follow_each_other_by_the_count_of_samples(
    capture: Capture, driver: Driver
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        driver.record(jitter_s=float(rng.uniform(0, 0.004)))
    stamps = np.array([chunk.stamp_ns for chunk in capture.poll()])
    assert np.abs(np.diff(stamps) - 100_000_000).max() < 200_000
    assert capture.gaps == 0


@given(st.integers(-100, 100), st.integers(10, 200))
def test_a_clock_that_drifts_is_followed_and_is_no_gap(parts_per_million: int, count: int) -> None:
    clock, drift = SampleClock(RATE_HZ), 1 + parts_per_million * 1e-6
    for k in range(count * 10):
        true_ns = round(k * 0.1 * drift * 1e9)
        stamp_ns = clock.stamp(true_ns, 1600)
    assert clock.gaps == 0
    assert abs(stamp_ns - true_ns) < 1_000_000


def test_lost_sound_is_counted_and_the_stamps_jump_over_it(
    capture: Capture, driver: Driver
) -> None:
    driver.record()
    driver.now_s += 0.5
    driver.record(overflow=True)
    driver.record()
    first, second, third = (chunk.stamp_ns for chunk in capture.poll())
    assert second - first == pytest.approx(600_000_000, abs=1e6)
    assert third - second == pytest.approx(100_000_000, abs=1e6)
    assert capture.gaps == 1


def test_an_unplugged_device_is_told_once_and_opened_again_when_it_is_back(
    capture: Capture, driver: Driver, told: list[str]
) -> None:
    driver.record()
    capture.poll()
    driver.plugged = False
    for _ in range(100):
        driver.record()
        assert capture.poll() == []
    assert capture.is_gone
    assert len(told) == 1
    assert 'unplugged' in told[0]
    driver.plugged = True
    for _ in range(30):
        driver.record()
        if capture.poll():
            break
    assert not capture.is_gone
    assert (capture.reopened, capture.gaps) == (1, 1)
    assert 'records again' in told[1]


def test_what_nobody_fetches_is_bounded_and_counted(capture: Capture, driver: Driver) -> None:
    for _ in range(MAX_WAITING + 30):
        driver.record()
    assert len(capture.poll()) == MAX_WAITING
    assert capture.dropped == 30


def test_a_missing_device_is_an_error_that_names_it(driver: Driver, told: list[str]) -> None:
    driver.known = False
    with pytest.raises(ValueError, match="microphone 'USB', 16000 Hz, 1 channels: No input"):
        Capture(
            device='USB', rate_hz=RATE_HZ, channels=1, chunk_ms=100, driver=driver,
            log=told.append, now_ns=lambda: 0,
        )  # fmt: skip


@pytest.mark.ros
def test_the_encoder_refuses_to_switch_on_a_device_that_is_not_there(ros_domain: int) -> None:
    command = [sys.executable, '-m', 'lb_ros.start', 'microphone_encoder', '--ros-args']
    command += ['-p', 'capture:=true', '-p', 'capture_device:=no such device']
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert 'no such device' in ended.stderr or 'microphone capture needs' in ended.stderr
    assert 'Traceback' not in ended.stderr
