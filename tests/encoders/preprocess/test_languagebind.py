"""What robots send: holes, NaN, any size, any rate, any length."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.languagebind.released import released_config
from encoders.preprocess import config_from_dict, preprocess, with_options
from encoders.preprocess.languagebind import audio, depth, image, infrared, pixels, video
from encoders.preprocess.languagebind.resample import CHUNK, resample
from encoders.vision.config import VisionConfig

FEW = settings(max_examples=25, deadline=None)


def normalised(share: float) -> torch.Tensor:
    """What a picture of one grey becomes, `[3, 1, 1]`."""
    return ((share - torch.tensor(pixels.MEAN)) / torch.tensor(pixels.STD)).view(3, 1, 1)


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    seed=st.integers(0, 9),
    kind=st.sampled_from(['uint16', 'float32', 'float64', 'int32']),
    holes=st.sampled_from(depth.HOLES),
)
@FEW
def test_any_depth_image_becomes_an_input(
    height: int, width: int, seed: int, kind: str, holes: str
) -> None:
    rng = np.random.default_rng(seed)
    metres = rng.uniform(0, 15, (height, width)) * (rng.random((height, width)) > 0.3)
    if kind.startswith('float'):
        raw = metres.astype(kind)
        raw[rng.random((height, width)) < 0.2] = rng.choice([np.nan, np.inf, -np.inf, -1.0])
    else:
        raw = (metres * 1000).astype(kind)
    config = depth.DepthConfig(holes=holes)
    inputs, valid = preprocess(raw, config)
    assert inputs.shape == (3, 224, 224) and inputs.dtype == torch.float32
    assert inputs.isfinite().all()
    assert 0.0 <= valid <= 1.0
    again, _ = preprocess(raw, config)
    assert torch.equal(inputs, again)


def test_millimetres_and_metres_are_the_same_depth() -> None:
    millimetres = np.random.default_rng(0).integers(300, 9000, (60, 80), dtype=np.uint16)
    one, _ = preprocess(millimetres, depth.DepthConfig())
    other, _ = preprocess(millimetres.astype(np.float64) / 1000, depth.DepthConfig())
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ('hole', 'holes', 'metres'),
    [
        (0.0, 'near', 0.01),
        (0.0, 'filled', 2.0),
        (np.nan, 'near', 2.0),
        (np.nan, 'filled', 2.0),
        (np.inf, 'near', 10.0),
        (-np.inf, 'near', 0.01),
    ],
)
def test_holes_are_filled(hole: float, holes: str, metres: float) -> None:
    raw = np.full((224, 224), 2.0, np.float32)
    raw[100:110, 50:60] = hole
    inputs, valid = preprocess(raw, depth.DepthConfig(holes=holes))
    torch.testing.assert_close(inputs[:, 104:105, 54:55], normalised(metres / 10))
    torch.testing.assert_close(inputs[:, :1, :1], normalised(0.2))
    assert valid == pytest.approx(1.0 if hole == np.inf else 1 - 100 / 224**2)


def test_holes_take_the_mean_of_the_smallest_block_with_a_measurement() -> None:
    values = torch.tensor([[[1.0, 3.0, 9.0, 9.0], [0, 2.0, 0, 0], [0] * 4, [0] * 4]])
    filled = pixels.fill_holes(values, values > 0, otherwise=7.0)[0]
    assert filled[1].tolist() == [2.0, 2.0, 9.0, 9.0]
    assert filled[3].tolist() == pytest.approx([24 / 5] * 4)
    nothing = pixels.fill_holes(values, torch.zeros_like(values) > 0, otherwise=7.0)
    assert nothing.unique().tolist() == [7.0]


def test_a_depth_image_of_nan_is_far_away() -> None:
    inputs, valid = preprocess(np.full((30, 40), np.nan, np.float32), depth.DepthConfig())
    torch.testing.assert_close(inputs, normalised(1.0).expand(3, 224, 224))
    assert valid == 0.0


def test_a_depth_without_limit_is_divided_by_its_maximum() -> None:
    raw = np.full((224, 224), 3.0, np.float32)
    raw[0, 0] = 12.0
    inputs, _ = preprocess(raw, depth.DepthConfig(max_depth_m=0.0))
    torch.testing.assert_close(inputs[:, 9:10, 9:10], normalised(0.25))


@given(height=st.integers(1, 60), width=st.integers(1, 60), seed=st.integers(0, 9))
@FEW
def test_any_infrared_image_becomes_an_input(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 65_535, (height, width), dtype=np.uint16)
    counts[rng.random((height, width)) < 0.2] = 0
    for config in (infrared.InfraredConfig(), infrared.InfraredConfig(stretch='fixed')):
        inputs, valid = preprocess(counts, config)
        assert inputs.shape == (3, 224, 224) and inputs.isfinite().all()
        assert valid == pytest.approx(float((counts > 0).mean()))
        kelvin = np.where(counts > 0, counts / 100, np.nan).astype(np.float32)
        assert preprocess(kelvin, config)[0].isfinite().all()


def test_grey_and_colour_infrared_are_the_image_preprocessing() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (50, 70), dtype=np.uint8)
    colour = np.repeat(grey[..., None], 3, axis=2)
    wanted, _ = preprocess(colour, image.ImageConfig())
    for raw in (grey, colour):
        found, valid = preprocess(raw, infrared.InfraredConfig())
        assert torch.equal(found, wanted) and valid == 1.0


def test_counts_are_stretched_by_frame_or_fixed() -> None:
    counts = np.linspace(29_000, 31_000, 224 * 224).reshape(224, 224).astype(np.uint16)
    inputs, _ = preprocess(counts, infrared.InfraredConfig(tails=0.0))
    torch.testing.assert_close(inputs[:, :1, :1], normalised(0.0))
    torch.testing.assert_close(inputs[:, -1:, -1:], normalised(1.0))
    fixed = infrared.InfraredConfig(stretch='fixed', low=28_000, high=32_000)
    inputs, _ = preprocess(counts, fixed)
    torch.testing.assert_close(inputs[:, :1, :1], normalised(0.25))
    torch.testing.assert_close(inputs[:, -1:, -1:], normalised(0.75))


@given(
    rate_hz=st.one_of(st.sampled_from([8000, 16_000, 44_100, 48_000]), st.integers(4000, 96_000)),
    seconds=st.floats(0.03, 3.0),
    channels=st.integers(1, 4),
    kind=st.sampled_from(['int16', 'int32', 'float32', 'float64']),
)
@FEW
def test_any_sound_becomes_an_input(
    rate_hz: int, seconds: float, channels: int, kind: str
) -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(0, 0.1, (channels, int(rate_hz * seconds)))
    raw = wave * {'int16': 2**15, 'int32': 2**31}.get(kind, 1.0)
    inputs, valid = preprocess((raw.astype(kind), rate_hz), audio.AudioConfig())
    assert inputs.shape == (3, 112, 1036) and inputs.dtype == torch.float32
    assert inputs.isfinite().all()
    columns = 1 + (math.ceil(int(rate_hz * seconds) * 16_000 / rate_hz) - 400) // 160
    assert valid == pytest.approx(columns / 1036)
    if rate_hz > 8000:
        again, _ = preprocess((raw.astype(kind), rate_hz), audio.AudioConfig())
        assert torch.equal(inputs, again)


def test_short_sounds_are_repeated_and_silence_is_a_constant() -> None:
    config = audio.AudioConfig()
    wave = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    inputs, _ = preprocess((wave, 16_000), config)
    assert torch.equal(inputs[:, :, :98], inputs[:, :, 98:196])
    silent, _ = preprocess((np.zeros(400, np.int16), 16_000), config)
    torch.testing.assert_close(silent, torch.full((3, 112, 1036), -1.2776), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ('columns', 'starts'), [(1036, [0, 0, 0]), (1037, [0, 1, 0]), (1040, [0, 2, 4])]
)
def test_where_the_stretches_of_a_long_sound_begin(columns: int, starts: list[int]) -> None:
    assert audio.segment_starts(columns, audio.AudioConfig()) == starts
    middle = audio.segment_starts(2498, audio.AudioConfig(segments='middle'))
    assert middle == [244, 732, 1219]


def test_a_sound_too_short_for_one_window_is_refused() -> None:
    with pytest.raises(ValueError, match='at least 25 ms, but 399 samples'):
        preprocess((np.zeros(399, np.float32), 16_000), audio.AudioConfig())
    with pytest.raises(ValueError, match='at least 25 ms'):
        preprocess((np.zeros(0, np.float32), 16_000), audio.AudioConfig())


def test_only_the_first_channel_is_heard_but_all_make_the_mean() -> None:
    config = audio.AudioConfig()
    wave = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    mono, _ = preprocess((wave, 16_000), config)
    stereo, _ = preprocess((np.stack([wave, -wave]), 16_000), config)
    torch.testing.assert_close(mono, stereo, atol=2e-3, rtol=0)


def test_samples_that_are_not_finite_are_silent_and_counted() -> None:
    wave = np.full(160_000 + 6000, 0.1, np.float32)
    wave[::2] = np.nan
    inputs, valid = preprocess((wave, 16_000), audio.AudioConfig())
    assert inputs.isfinite().all()
    assert valid == pytest.approx(0.5)


def test_resampling_long_waves_in_pieces_changes_nothing() -> None:
    wave = torch.randn(1, 3 * CHUNK // 2, generator=torch.Generator().manual_seed(0))
    whole = resample(wave, before_hz=8000, after_hz=16_000)
    assert whole.shape == (1, 3 * CHUNK)
    tail = resample(wave[:, CHUNK - 1000 :], before_hz=8000, after_hz=16_000)
    torch.testing.assert_close(whole[:, 2 * CHUNK :], tail[:, 2000:])


@given(count=st.integers(1, 40), height=st.integers(1, 40), width=st.integers(1, 40))
@FEW
def test_any_clip_becomes_an_input(count: int, height: int, width: int) -> None:
    rng = np.random.default_rng(count)
    clip = rng.integers(0, 255, (count, height, width, 3), dtype=np.uint8)
    inputs, valid = preprocess(clip, video.VideoConfig())
    assert inputs.shape == (3, 8, 224, 224) and inputs.isfinite().all() and valid == 1.0
    indices = video.frame_indices(count, 8)
    assert indices[0] == 0 and indices[-1] == count - 1


@given(height=st.integers(1, 60), width=st.integers(1, 60), channels=st.sampled_from([0, 1, 3, 4]))
@FEW
def test_any_picture_becomes_an_input(height: int, width: int, channels: int) -> None:
    shape = (height, width, channels) if channels else (height, width)
    raw = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    for config in (image.ImageConfig(), image.ImageConfig(round_to_bytes=True)):
        inputs, _ = preprocess(raw, config)
        assert inputs.shape == (3, 224, 224) and inputs.isfinite().all()


def test_a_batch_equals_its_samples() -> None:
    rng = np.random.default_rng(0)
    metres = torch.from_numpy(rng.uniform(0, 9, (3, 50, 70)).astype(np.float32))
    metres[1, :20] = torch.nan
    config = depth.DepthConfig(holes='filled')
    batch = depth.depth_inputs(metres, config)
    single = torch.cat([depth.depth_inputs(one[None], config) for one in metres])
    torch.testing.assert_close(batch, single, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ('modality', 'raw', 'config'),
    [
        ('image', np.zeros((4, 4, 2), np.uint8), image.ImageConfig()),
        ('image', np.zeros((4, 4, 3), np.float32), image.ImageConfig()),
        ('image', np.zeros((0, 4, 3), np.uint8), image.ImageConfig()),
        ('depth', np.zeros((4, 4), np.uint8), depth.DepthConfig()),
        ('depth', np.zeros((4, 4, 3), np.uint16), depth.DepthConfig()),
        ('infrared', np.zeros((4, 4), np.int32), infrared.InfraredConfig()),
        ('audio', (np.zeros((2, 2, 2), np.float32), 16_000), audio.AudioConfig()),
        ('audio', (np.zeros((48_000, 2), np.float32), 16_000), audio.AudioConfig()),
        ('audio', (np.zeros(900, np.float32), 0), audio.AudioConfig()),
        ('audio', (np.zeros(900, np.uint8), 16_000), audio.AudioConfig()),
        ('video', np.zeros((4, 4, 3), np.uint8), video.VideoConfig()),
        ('video', np.zeros((0, 4, 4, 3), np.uint8), video.VideoConfig()),
    ],
)
def test_wrong_arrays_are_refused(modality: str, raw: Any, config: Any) -> None:
    with pytest.raises(ValueError, match='must be'):
        preprocess(raw, config)


@pytest.mark.parametrize(
    ('kind', 'values'),
    [
        (depth.DepthConfig, {'holes': 'ignored'}),
        (depth.DepthConfig, {'max_depth_m': -1.0}),
        (infrared.InfraredConfig, {'stretch': 'never'}),
        (infrared.InfraredConfig, {'tails': 0.5}),
        (infrared.InfraredConfig, {'low': 2.0, 'high': 1.0}),
        (audio.AudioConfig, {'segments': 'random'}),
        (audio.AudioConfig, {'std': 0.0}),
        (video.VideoConfig, {'selection': 'random'}),
        (video.VideoConfig, {'frames': 0}),
    ],
)
def test_wrong_constants_are_refused(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match='must'):
        kind(**values)


def test_constants_come_from_the_checkpoint() -> None:
    vision = VisionConfig(
        width=8, layers=1, heads=1, mlp_width=8, patch_size=14, image_size=(126, 1008),
        projection=8,
    )  # fmt: skip
    constants = {'audio_mean': -3.0, 'audio_std': 2.0, 'audio_sample_rate': 8000}
    found = released_config('audio', vision, constants)
    assert found == audio.AudioConfig(8000, 126, 1008, 'first', -3.0, 2.0)
    with pytest.raises(ValueError, match='depth is square'):
        released_config('depth', vision, {})
    with pytest.raises(ValueError, match="no 'touch'"):
        released_config('touch', vision, {})
    with pytest.raises(ValueError, match="unknown or missing key 'hole'"):
        with_options('depth', depth.DepthConfig(), {'hole': 'near'})
    with pytest.raises(ValueError, match='unknown or missing key'):
        config_from_dict('depth', {'holes': 'near'})
    with pytest.raises(ValueError, match="no preprocessing 'mini' of video"):
        config_from_dict('video', {'family': 'mini'})
