from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.preprocess import config_from_dict, preprocess
from encoders.preprocess.mini import audio, depth, image, infrared


def test_millimetres_and_metres_are_the_same_depth() -> None:
    metres = np.random.default_rng(0).uniform(0.3, 2.5, (40, 50)).astype(np.float32)
    millimetres = (metres * 1000).round().astype(np.uint16)
    config = depth.DepthConfig(size=32)
    one, _ = preprocess(metres, config)
    other, _ = preprocess(millimetres, config)
    torch.testing.assert_close(one, other, atol=3e-3, rtol=0)


@pytest.mark.parametrize('hole', [0.0, np.nan, np.inf, -np.inf])
def test_holes_take_what_is_around_them(hole: float) -> None:
    metres = np.full((64, 64), 1.5, np.float32)
    metres[10:12, 10:12] = hole
    config = depth.DepthConfig(size=16)
    found, valid = preprocess(metres, config)
    whole, _ = preprocess(np.full((64, 64), 1.5, np.float32), config)
    torch.testing.assert_close(found, whole)
    assert valid == pytest.approx(1 - 4 / 64**2)


def test_a_depth_image_without_valid_pixels_is_far_away() -> None:
    config = depth.DepthConfig(size=16)
    found, valid = preprocess(np.zeros((32, 32), np.uint16), config)
    assert valid == 0.0
    assert found.unique().tolist() == pytest.approx([(1 - config.mean) / config.std])


def test_equal_temperature_is_equal_whatever_else_is_in_the_frame() -> None:
    config = infrared.InfraredConfig(size=16)
    cold, hot = np.full((32, 32), 29500, np.uint16), np.full((32, 32), 29500, np.uint16)
    hot[:8, :8] = 42000
    one, _ = preprocess(cold, config)
    other, _ = preprocess(hot, config)
    torch.testing.assert_close(one[:, 8:, 8:], other[:, 8:, 8:])
    assert other[0, 0, 0] > one[0, 0, 0] + 2


def test_infrared_has_a_fine_scale_beside_the_wide_one() -> None:
    raw = np.full((16, 16), 29_800, np.uint16)
    raw[:8], raw[8:, 8:] = 29_600, 45_000
    config = infrared.InfraredConfig(size=16, fine_low_count=28_800, fine_high_count=30_800)
    wide, first, second = preprocess(raw, config)[0]
    torch.testing.assert_close(wide, preprocess(raw, infrared.InfraredConfig(size=16))[0][0])
    torch.testing.assert_close(first, second)
    assert [first[0, 0], first[8, 0], first[8, 8]] == pytest.approx([-0.2, 0.0, 1.0], abs=1e-6)


def test_a_set_from_before_the_fine_scale_has_none() -> None:
    before = {'family': 'mini', 'size': 160, 'low_count': 28300.0, 'high_count': 48300.0,
              'mean': 0.1, 'std': 0.15}  # fmt: skip
    assert config_from_dict('infrared', before) == infrared.InfraredConfig(size=160)
    with pytest.raises(ValueError, match='size'):
        config_from_dict('infrared', {k: v for k, v in before.items() if k != 'size'})


def test_dead_infrared_pixels_take_the_median() -> None:
    config = infrared.InfraredConfig(size=16)
    counts = np.full((32, 32), 30000, np.uint16)
    counts[3, 3] = 0
    found, valid = preprocess(counts, config)
    assert len(found.unique()) == 1
    assert valid == pytest.approx(1 - 1 / 1024)


@given(
    rate_hz=st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000]),
    seconds=st.floats(0.05, 4.0),
    channels=st.integers(1, 3),
)
@settings(max_examples=20, deadline=None)
def test_any_sound_has_the_input_shape(rate_hz: int, seconds: float, channels: int) -> None:
    config = audio.AudioConfig(frames=100)
    wave = np.random.default_rng(0).normal(0, 0.1, (channels, int(rate_hz * seconds)))
    found, valid = preprocess((wave.astype(np.float32), rate_hz), config)
    assert found.shape == (3, 64, 100)
    assert found.isfinite().all()
    assert valid == pytest.approx(min(1.0, seconds / 1.0), abs=0.02)


def test_a_tone_is_heard_where_it_is_at_any_rate() -> None:
    config = audio.AudioConfig(frames=100)
    rows = []
    for rate_hz in (16_000, 48_000):
        time = np.arange(2 * rate_hz) / rate_hz
        wave = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
        found, _ = preprocess((wave, rate_hz), config)
        rows.append(int(found[0].mean(dim=1).argmax()))
    assert rows[0] == rows[1]
    centre = 2595 * math.log10(1 + 1000 / 700)
    low, high = (2595 * math.log10(1 + f / 700) for f in (config.low_hz, config.high_hz))
    assert rows[0] == pytest.approx((centre - low) / (high - low) * 65 - 1, abs=1)


def test_only_the_last_stretch_of_a_long_sound_counts() -> None:
    config = audio.AudioConfig(frames=50)
    wave = np.random.default_rng(0).normal(0, 3000, 32_000).astype(np.int16)
    whole, _ = preprocess((wave, 16_000), config)
    last, _ = preprocess((wave[-config.samples :], 16_000), config)
    torch.testing.assert_close(whole, last)


def test_int16_and_float_are_the_same_sound() -> None:
    config = audio.AudioConfig(frames=50)
    wave = np.random.default_rng(0).normal(0, 3000, 16_000).astype(np.int16)
    one, _ = preprocess((wave, 16_000), config)
    other, _ = preprocess((wave.astype(np.float32) / 32768, 16_000), config)
    torch.testing.assert_close(one, other, atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ('modality', 'raw', 'config'),
    [
        ('image', np.zeros((4, 4), np.uint8), image.ImageConfig()),
        ('depth', np.zeros((4, 4), np.uint8), depth.DepthConfig()),
        ('infrared', np.zeros((4, 4), np.float32), infrared.InfraredConfig()),
        ('audio', (np.zeros((2, 2, 2), np.float32), 16_000), audio.AudioConfig()),
        ('audio', (np.zeros(10, np.float32), 0), audio.AudioConfig()),
    ],
)
def test_wrong_arrays_are_refused(modality: str, raw: object, config: object) -> None:
    with pytest.raises(ValueError, match='must be'):
        preprocess(raw, config)


def test_a_configuration_with_a_typo_is_refused() -> None:
    with pytest.raises(ValueError, match='max_depht_m'):
        config_from_dict(
            'depth', {'family': 'mini', 'size': 1, 'max_depht_m': 2.0, 'mean': 0.0, 'std': 1.0}
        )
