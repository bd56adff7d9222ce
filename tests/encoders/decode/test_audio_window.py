"""Chunks of sound become one gapless stretch, or start anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.decode.audio_window import AudioWindow

RATE_HZ = 1000
STEP = 10  # samples of GRID_MS


@given(st.lists(st.integers(1, 700), min_size=1, max_size=20))
def test_a_gapless_stream_gives_its_last_seconds(lengths: list[int]) -> None:
    stream = np.arange(sum(lengths), dtype=np.float32)[None]
    window = AudioWindow(1.0)
    start = 0
    for length in lengths:
        chunk = stream[:, start : start + length]
        found = window.add(chunk, rate_hz=RATE_HZ, start_ns=start * 1_000_000)
        start += length
    end = start - start % STEP or start
    np.testing.assert_array_equal(found.wave, stream[:, max(0, end - RATE_HZ) : end])
    assert (found.first, found.end) == (max(0, end - RATE_HZ), end)
    assert found.start_ns == found.first * 1_000_000
    assert window.restarts == 0


@pytest.mark.parametrize(
    ('rate_hz', 'channels', 'start_ns'),
    [
        pytest.param(RATE_HZ, 1, 400_000_000, id='a gap'),
        pytest.param(RATE_HZ, 1, 0, id='back in time'),
        pytest.param(2 * RATE_HZ, 1, 100_000_000, id='another rate'),
        pytest.param(RATE_HZ, 2, 100_000_000, id='another number of channels'),
    ],
)
def test_a_chunk_that_does_not_follow_starts_a_new_window(
    rate_hz: int, channels: int, start_ns: int
) -> None:
    window = AudioWindow(1.0)
    window.add(np.zeros((1, 100), np.int16), rate_hz=RATE_HZ, start_ns=0)
    window.add(np.zeros((1, 1), np.int16), rate_hz=RATE_HZ, start_ns=100_000_000)
    chunk = np.ones((channels, 100), np.int16)
    found = window.add(chunk, rate_hz=rate_hz, start_ns=start_ns)
    np.testing.assert_array_equal(found.wave, chunk)
    assert (found.rate_hz, found.start_ns, window.restarts) == (rate_hz, start_ns, 1)


@pytest.mark.parametrize('again_hz', [16_000, 22_050, 44_100])
def test_sample_numbers_are_unique(again_hz: int) -> None:
    window = AudioWindow(1.0)
    rate_hz, seen = 16_000, 0
    for start_s in (0.0, 5.0, 3.0):
        found = window.add(
            np.zeros((1, 999), np.int16), rate_hz=rate_hz, start_ns=round(start_s * 1e9)
        )
        assert found.first >= seen
        seen, rate_hz = found.first + 999, again_hz
    window.forget()
    found = window.add(np.zeros((1, 999), np.int16), rate_hz=again_hz, start_ns=0)
    assert found.first >= seen and window.restarts == 2


def test_a_window_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match='length_s must be positive'):
        AudioWindow(0.0)
