"""Spectrograms of a stream: equal to those of each window alone, and computed once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.decode.audio_window import WINDOW_S, AudioWindow
from encoders.preprocess import Config, preprocess
from encoders.preprocess.columns import ColumnStore
from encoders.preprocess.languagebind.audio import AudioConfig as ReleasedConfig
from encoders.preprocess.mini.audio import AudioConfig

RATE_HZ = 16_000
CONFIGS = {'mini': AudioConfig(), 'languagebind': ReleasedConfig()}
families = pytest.mark.parametrize('config', CONFIGS.values(), ids=CONFIGS)
# Length of a chunk, whether a gap is before it, and its rate.
chunks = st.lists(
    st.tuples(
        st.sampled_from([160, 400, 1024, 1600, 4410, 16_001]) | st.integers(400, 20_000),
        st.booleans() | st.just(False),
        st.sampled_from([RATE_HZ] * 6 + [44_100, 48_000]),
    ),
    min_size=1,
    max_size=12,
)


def sound(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3000, (2, samples)).astype(np.int16)


@families
@given(stream=chunks)
@settings(max_examples=25, deadline=None)
def test_streamed_spectrograms_equal_those_of_single_windows(
    config: Config, stream: list[tuple[int, bool, int]]
) -> None:
    window, store, start_s = AudioWindow(WINDOW_S), ColumnStore(), 0.0
    for number, (samples, gap, rate_hz) in enumerate(stream):
        start_s += gap * 1.0
        chunk = sound(samples, number)
        found = window.add(chunk, rate_hz=rate_hz, start_ns=round(start_s * 1e9))
        start_s += samples / rate_hz
        raw = (found.wave, found.rate_hz)
        if found.wave.shape[1] < 0.03 * rate_hz:
            continue  # too short for any
        inputs, valid = preprocess(raw, config, columns=store.until(found.end))
        expected, expected_valid = preprocess(raw, config)
        # One step of float16, in which `mini` keeps logarithms, divided by its deviation.
        torch.testing.assert_close(inputs, expected, atol=2e-3, rtol=0)
        assert float((inputs - expected).abs().mean()) < 1e-5
        assert valid == expected_valid


@families
@pytest.mark.parametrize('samples', [160, 1024, 1600])
def test_a_window_computes_only_its_new_frames(config: Config, samples: int) -> None:
    window, store = AudioWindow(WINDOW_S), ColumnStore()
    computed: list[int] = []

    def counted(wave: torch.Tensor, compute, **more):  # type: ignore[no-untyped-def]
        def count(wave: torch.Tensor) -> torch.Tensor:
            columns = compute(wave)
            computed.append(len(columns))
            return columns

        return store.until(found.end)(wave, count, **more)

    for number in range(3 * RATE_HZ // samples):
        chunk = sound(samples, number)
        start_ns = round(number * samples / RATE_HZ * 1e9)
        found = window.add(chunk, rate_hz=RATE_HZ, start_ns=start_ns)
        if found.wave.shape[1] == WINDOW_S * RATE_HZ:
            preprocess((found.wave, RATE_HZ), config, columns=counted)
    assert computed[0] > 200
    assert max(computed[1:]) <= -(-samples // 160)


def test_another_configuration_has_other_columns() -> None:
    store, raw = ColumnStore(), (sound(48_000), RATE_HZ)
    for config in (AudioConfig(), AudioConfig(mel_bins=32), ReleasedConfig(), AudioConfig()):
        inputs, _ = preprocess(raw, config, columns=store.until(48_000))
        torch.testing.assert_close(inputs, preprocess(raw, config)[0], atol=2e-3, rtol=0)


def test_a_constant_beside_the_sound_changes_no_column() -> None:
    wave = sound(48_000)[0].astype(np.float32) / 32768
    config, store = ReleasedConfig(), ColumnStore()
    preprocess((wave[:40_000], RATE_HZ), config, columns=store.until(40_000))
    # The mean of this window is another than that of the first one.
    later = np.concatenate([wave[1600:40_000], wave[40_000:41_600] + 0.5])
    inputs, _ = preprocess((later, RATE_HZ), config, columns=store.until(41_600))
    torch.testing.assert_close(inputs, preprocess((later, RATE_HZ), config)[0], atol=1e-3, rtol=0)
