"""Augmentation: small changes to stored inputs, as a real robot's sensors vary day to day."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.preprocess import Config, from_stored, is_series, languagebind
from encoders.preprocess.mini import audio, image
from encoders.preprocess.mini.series import SeriesConfig

# Of series, in floors (`SeriesConfig.floor`): noise from the smallest to the largest power of ten,
# and standard deviations of a constant bias and of the drift within a window.
NOISE_POWERS = (-2.0, -0.8)
BIAS, DRIFT = 0.5, 0.3
GAIN = 0.05  # standard deviation of the logarithm of a sensor's scale
LOST, DROPPED = 0.02, 0.03  # shares of steps that repeat the one before, and of dead channels

SPECTROGRAMS = (audio.AudioConfig, languagebind.audio.AudioConfig)
COLOURS = (image.ImageConfig, languagebind.image.ImageConfig)


def augmented_inputs(
    stored: Tensor, config: Config, generator: torch.Generator, *, regions: Tensor
) -> tuple[Tensor, Tensor]:
    """Convert with `from_stored`, then move, rotate, scale, dim or shift a little; never mirror.

    Mirroring would swap left and right, which sentences distinguish. Series are changed before
    they are converted.

    Args:
        stored: `[B, ...]`.
        config: Preprocessing of the modality.
        generator: Source of all randomness.
        regions: Which part of the scene each cell shows, uint8 `[B, R, R]`.

    Returns:
        float32 `[B, 3, H, W]` (see `encoders.preprocess.preprocess`), and the regions, moved like
        the inputs.
    """
    if is_series(config):
        return from_stored(varied_series(stored, config, generator), config), regions
    inputs = from_stored(stored, config)
    count = len(inputs)
    if isinstance(config, SPECTROGRAMS):
        gain = torch.randn(count, 1, 1, 1, generator=generator) * 0.15
        return _masked_bands(inputs + gain, generator), regions
    matrix = _random_motion(count, generator)
    inputs = _moved(inputs, matrix, mode='bilinear')
    planes = _moved(regions.unsqueeze(1).float(), matrix, mode='nearest')
    regions = planes.squeeze(1).to(torch.uint8)
    if isinstance(config, COLOURS):
        gain = 1 + 0.15 * torch.randn(count, 3, 1, 1, generator=generator)
        shift = 0.15 * torch.randn(count, 1, 1, 1, generator=generator)
        return inputs * gain + shift, regions
    shift = 0.03 * torch.randn(count, 1, 1, 1, generator=generator)
    return inputs * (1 + shift), regions


def varied_series(stored: Tensor, config: SeriesConfig, generator: torch.Generator) -> Tensor:
    """Series as another sensor of the kind would measure them, `[B, 1 + steps, C]`.

    Noise, another scale, a bias of values and baseline, drift since the sensor was tared, lost
    samples, and sometimes a dead channel.
    """
    count, rows, channels = stored.shape
    floor = torch.tensor(config.floor)
    low, high = NOISE_POWERS
    power = low + (high - low) * torch.rand(count, 1, 1, generator=generator)
    noise = 10**power * floor * torch.randn(stored.shape, generator=generator)
    noise[:, 0] = 0  # a baseline is a median of many samples
    gain = (GAIN * torch.randn(count, 1, channels, generator=generator)).exp()
    bias = BIAS * floor * torch.randn(count, 1, channels, generator=generator)
    ramp = torch.linspace(0, 1, rows)[:, None]
    drift = DRIFT * floor * ramp * torch.randn(count, 1, channels, generator=generator)
    varied = _held(stored * gain + noise + bias + drift, generator)
    dead = torch.rand(count, 1, channels, generator=generator) < DROPPED
    dead &= channels > 1
    return varied.masked_fill(dead, torch.nan)


def _held(series: Tensor, generator: torch.Generator) -> Tensor:
    """Repeat the value before a lost sample."""
    count, rows, channels = series.shape
    lost = torch.rand(count, rows, generator=generator) < LOST
    lost[:, :2] = False  # the baseline, and the first sample
    source = torch.arange(rows).expand(count, rows) - lost.long()
    return series.gather(1, source.unsqueeze(-1).expand(count, rows, channels))


def _random_motion(count: int, generator: torch.Generator) -> Tensor:
    scale = 1 - 0.12 * torch.rand(count, generator=generator)
    angle = 0.04 * torch.randn(count, generator=generator)
    shift = 0.06 * (2 * torch.rand(count, 2, generator=generator) - 1)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale * angle.cos()
    matrix[:, 0, 1], matrix[:, 1, 0] = -scale * angle.sin(), scale * angle.sin()
    matrix[:, :, 2] = shift
    return matrix


def _moved(inputs: Tensor, matrix: Tensor, *, mode: str) -> Tensor:
    grid = F.affine_grid(matrix, list(inputs.shape), align_corners=False)
    return F.grid_sample(inputs, grid, mode=mode, padding_mode='border', align_corners=False)


def _masked_bands(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Mask one frequency band (SpecAugment, Park et al. 2019), no times: events need those."""
    bins = inputs.shape[-2]
    start = torch.randint(0, bins, (len(inputs), 1), generator=generator)
    width = torch.randint(0, bins // 8, (len(inputs), 1), generator=generator)
    rows = torch.arange(bins)
    hidden = (rows >= start) & (rows < start + width)
    return inputs.masked_fill(hidden[:, None, :, None], 0.0)
