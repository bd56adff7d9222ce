"""Messages become the same windows whoever cuts them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.decode import DecodeError
from encoders.decode.streams import AudioStream, ClipStream, ImageStream, stream_of

RATE_HZ = 1000
MS = 1_000_000


def chunk(samples: np.ndarray) -> SimpleNamespace:
    """As lb_ros/msg/AudioChunk."""
    return SimpleNamespace(sample_rate_hz=RATE_HZ, channels=1, samples=samples.astype(np.int16))


def image(value: int) -> SimpleNamespace:
    """As sensor_msgs/msg/Image."""
    data = np.full((4, 6, 3), value, np.uint8)
    return SimpleNamespace(
        height=4, width=6, encoding='rgb8', step=18, is_bigendian=0, data=data.tobytes()
    )


def test_an_image_is_its_own_window() -> None:
    stream = stream_of('image')
    assert isinstance(stream, ImageStream)
    window = stream.window(stream.add(image(7), stamp_ns=5))
    assert (window.start_ns, window.stamp_ns, window.fault) == (5, 5, None)
    assert window.raw.shape == (4, 6, 3) and (window.raw == 7).all()


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=15),
    decoded=st.lists(st.booleans(), min_size=15, max_size=15),
)
def test_sound_is_the_same_however_often_it_is_decoded(
    lengths: list[int], decoded: list[bool]
) -> None:
    """Live, only the newest of the chunks that wait is decoded; offline, every chunk."""
    every, newest = AudioStream(length_s=1.0), AudioStream(length_s=1.0)
    wave, start = np.arange(sum(lengths)), 0
    for number, length in enumerate(lengths):
        message = chunk(wave[start : start + length])
        cuts = [s.add(message, stamp_ns=start * MS) for s in (every, newest)]
        expected = every.window(cuts[0])
        start += length
        if decoded[number] or number == len(lengths) - 1:
            found = newest.window(cuts[1])
            np.testing.assert_array_equal(found.raw[0], expected.raw[0])
            assert (found.start_ns, found.stamp_ns, found.end) == (
                expected.start_ns,
                expected.stamp_ns,
                expected.end,
            )
            assert found.fault is None


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=15))
def test_a_past_window_is_the_one_that_was_served_then(lengths: list[int]) -> None:
    stream, served, start = AudioStream(length_s=10.0), [], 0
    for length in lengths:
        samples = np.arange(start, start + 10 * length)
        served.append(stream.window(stream.add(chunk(samples), stamp_ns=start * MS)))
        start += 10 * length
    for window in served:
        again = stream.until(window.stamp_ns)
        assert again is not None
        np.testing.assert_array_equal(again.raw[0], window.raw[0])
        assert (again.start_ns, again.stamp_ns) == (window.start_ns, window.stamp_ns)
    assert stream.until(0) is None


def test_sound_after_a_gap_begins_again_and_reports_it() -> None:
    stream = AudioStream()
    stream.window(stream.add(chunk(np.ones(100)), stamp_ns=0))
    window = stream.window(stream.add(chunk(np.ones(100)), stamp_ns=900 * MS))
    assert window.raw[0].shape == (1, 100)
    assert window.fault is not None and window.fault[0] == 'gap'
    assert '800 ms of sound are missing' in window.fault[1]


def test_a_damaged_chunk_is_a_gap_and_the_next_window_reports_it() -> None:
    stream = AudioStream()
    stream.window(stream.add(chunk(np.ones(100)), stamp_ns=0))
    odd = SimpleNamespace(sample_rate_hz=0, channels=1, samples=np.ones(100, np.int16))
    cut = stream.add(odd, stamp_ns=100 * MS)
    with pytest.raises(DecodeError):
        stream.window(cut)
    stream.add(odd, stamp_ns=200 * MS)
    window = stream.window(stream.add(chunk(np.ones(50)), stamp_ns=300 * MS))
    assert window.raw[0].shape == (1, 50)
    assert window.fault is not None and window.fault[0] != 'gap'


def test_pending_chunks_are_bounded() -> None:
    stream = AudioStream(length_s=1.0)
    for number in range(100):
        cut = stream.add(chunk(np.full(100, number)), stamp_ns=number * 100 * MS)
    assert len(stream._pending) <= 21
    window = stream.window(cut)
    assert window.raw[0].shape == (1, 1000) and window.fault is None


def test_windows_are_decoded_in_order_and_once() -> None:
    stream = AudioStream()
    cuts = [stream.add(chunk(np.ones(100)), stamp_ns=k * 100 * MS) for k in range(2)]
    stream.window(cuts[1])
    for cut in cuts:
        with pytest.raises(DecodeError, match='decoded before'):
            stream.window(cut)


def test_a_clip_decodes_only_the_pictures_it_lacks() -> None:
    stream = ClipStream('video', length_s=1.0)
    for k in range(11):
        cut = stream.add(image(k), stamp_ns=k * 100 * MS)
    clip = stream.window(cut, frames=3).raw
    assert clip.stamps_ns == (0, 500 * MS, 1000 * MS)
    assert {s: int(p[0, 0, 0]) for s, p in clip.pictures.items()} == {
        0: 0,
        500 * MS: 5,
        1000 * MS: 10,
    }
    again = stream.window(cut, frames=3, known=[0, 500 * MS]).raw
    assert again.stamps_ns == clip.stamps_ns and set(again.pictures) == {1000 * MS}


def test_adding_and_decoding_may_happen_in_two_threads() -> None:
    stream, cuts, windows = AudioStream(length_s=0.5), [], []
    done = threading.Event()

    def decode() -> None:
        taken: Any = None
        while not done.is_set() or (cuts and cuts[-1] is not taken):
            if cuts and cuts[-1] is not taken:
                taken = cuts[-1]
                windows.append(stream.window(taken))

    thread = threading.Thread(target=decode)
    thread.start()
    for k in range(300):
        samples = np.arange(10 * k, 10 * k + 10)
        cuts.append(stream.add(chunk(samples), stamp_ns=10 * k * MS))
    done.set()
    thread.join(timeout=20)
    assert not thread.is_alive() and windows
    last = windows[-1].raw[0][0]
    np.testing.assert_array_equal(last, np.arange(2500, 3000))
    for window in windows:
        assert window.fault is None and (np.diff(window.raw[0][0]) == 1).all()


@pytest.mark.parametrize('forgets', [False, True])
def test_chunks_are_added_while_another_one_is_decoded(forgets: bool) -> None:
    """Decoding a long compressed chunk must not hold the thread that adds."""
    stream, outside = AudioStream(), ThreadPoolExecutor(1)
    added: list[bool] = []

    class Slow(SimpleNamespace):
        @property
        def samples(self) -> np.ndarray:
            if not added:
                calls = [outside.submit(stream.forget)] if forgets else []
                calls.append(outside.submit(stream.add, chunk(np.ones(50)), stamp_ns=100 * MS))
                added.append(not wait(calls, timeout=20).not_done)
            return np.ones(100, np.int16)

    cut = stream.add(Slow(sample_rate_hz=RATE_HZ, channels=1), stamp_ns=0)
    if forgets:
        with pytest.raises(DecodeError, match='began again'):
            stream.window(cut)
    else:
        assert stream.window(cut).raw[0].shape == (1, 100)
    assert added == [True]
    later = stream.window(stream.add(chunk(np.ones(50)), stamp_ns=150 * MS))
    assert later.raw[0].shape == (1, 100 if forgets else 200) and later.fault is None
