"""Sound: Kaldi's log-mel spectrogram as a picture of three channels."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from encoders.preprocess.columns import Columns, computed
from encoders.preprocess.languagebind.resample import resample
from encoders.preprocess.upload import upload_as_float

# Kaldi's defaults, at 16 kHz: 25 ms every 10 ms, padded to a power of two.
FRAME_MS, HOP_MS = 25, 10
PREEMPHASIS = 0.97
LOW_HZ = 20.0
FLOOR = 1.1920929e-07  # float32's epsilon
# Of MKL on Intel processors with AVX-512 (see `rounds_like_reference`).
REFERENCE_FFT = 988405166
SEGMENTS = ('first', 'middle')
MAX_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """Spectrogram of `frames` columns, one per 10 ms, and how any clip becomes that long.

    A shorter clip is repeated. A longer one gives three stretches of `frames` columns as three
    channels, one from each third of the possible starts. LanguageBind draws those at random.

    Attributes:
        rate_hz: Waves of another rate are resampled to this.
        mel_bins: Rows of the input.
        frames: Columns of the input.
        segments: Which start of each third: its `first` or its `middle` one.
        mean, std: Of the log-mel values; they become `(x - mean) / (2 std)`.
    """

    rate_hz: int = 16_000
    mel_bins: int = 112
    frames: int = 1036
    segments: str = 'first'
    mean: float = -4.2677393
    std: float = 4.5689974

    def __post_init__(self) -> None:
        if self.segments not in SEGMENTS:
            raise ValueError(f'segments must be one of {SEGMENTS}, not {self.segments!r}')
        if self.rate_hz < 1000 or self.mel_bins < 1 or self.frames < 1 or self.std <= 0:
            raise ValueError(f'rate_hz, mel_bins, frames and std must be positive: {self}')

    @property
    def window(self) -> int:
        """Samples of one column."""
        return self.rate_hz * FRAME_MS // 1000

    @property
    def hop(self) -> int:
        """Samples between columns."""
        return self.rate_hz * HOP_MS // 1000


def preprocess(
    raw: tuple[NDArray[Any], int],
    config: AudioConfig,
    *,
    device: str | torch.device = 'cpu',
    columns: Columns = computed,
) -> tuple[Tensor, float]:
    """float32 `[3, mel_bins, frames]`, and the share that is neither repeated nor not finite.

    Args:
        raw: (wave, rate): int16, int32 or float in -1..1, `[samples]` or `[channels, samples]`,
            and hertz. The mean over all channels is removed, then the first one is used alone, as
            LanguageBind does. Numbers that are not finite become 0.
        config: Constants.
        device: Where to compute.
        columns: May know columns of the spectrogram already.

    Raises:
        ValueError: The wave has another shape or dtype, the rate is not positive, or the clip is
            shorter than one window of 25 ms.
    """
    wave, rate_hz = raw
    samples = as_samples(np.asarray(wave), device=device)
    if rate_hz <= 0 or rate_hz != int(rate_hz):
        raise ValueError(f'the sampling rate must be positive and whole, not {rate_hz}')
    finite = samples.isfinite()
    share = float(finite.float().mean()) if samples.numel() else 0.0
    samples = torch.where(finite, samples, samples.new_zeros(()))
    if rate_hz != config.rate_hz:
        # What is resampled near an end of the window depends on where it ends.
        samples = resample(samples, before_hz=int(rate_hz), after_hz=config.rate_hz)
        columns = computed
    if samples.shape[1] < config.window:
        raise ValueError(
            f'a sound must last at least {FRAME_MS} ms, but {samples.shape[1]} samples at '
            f'{config.rate_hz} Hz last {1000 * samples.shape[1] / config.rate_hz:.1f} ms'
        )
    # The mean of the window changes no column but for rounding: each loses its own as well.
    mel = log_mel((samples - samples.mean())[0], config, columns=columns)
    valid = share * min(1.0, len(mel) / config.frames)
    return audio_inputs(mel, config), valid


def as_samples(wave: NDArray[Any], *, device: str | torch.device) -> Tensor:
    """A wave as float32 `[channels, samples]` in -1..1.

    Raises:
        ValueError: See `preprocess`.
    """
    channels = wave[None] if wave.ndim == 1 else wave
    known = wave.dtype in (np.int16, np.int32) or wave.dtype.kind == 'f'
    if channels.ndim != 2 or not 1 <= channels.shape[0] <= MAX_CHANNELS or not known:
        raise ValueError(
            f'a wave must be int16, int32 or float [samples] or [channels, samples] of at most '
            f'{MAX_CHANNELS} channels, not {wave.dtype} {list(wave.shape)}'
        )
    scale = 1.0 if wave.dtype.kind == 'f' else 2.0 ** (1 - 8 * wave.dtype.itemsize)
    return upload_as_float(channels, device) * scale


def log_mel(wave: Tensor, config: AudioConfig, *, columns: Columns = computed) -> Tensor:
    """Natural log of mel energies: float32 `[samples]` to `[columns, mel_bins]`.

    Povey et al. 2011 (Kaldi), compute-fbank-feats without dither, energy and its 16-bit scale.
    Columns never reach beyond the wave: `1 + (samples - window) // hop` of them. Quiet bands
    beside loud ones show how the float32 FFT of a processor rounds. Where it rounds as that of
    the reference did, this is the reference bit by bit; elsewhere it is computed in float64, which
    is nearer to it than another float32 (docs/models.md).
    """

    def compute(wave: Tensor) -> Tensor:
        return _mel_columns(wave, config)

    return columns(wave, compute, size=config.window, hop=config.hop, what=config)


def _mel_columns(wave: Tensor, config: AudioConfig) -> Tensor:
    window = torch.hann_window(config.window, periodic=False, device=wave.device)
    transform = 1 << (config.window - 1).bit_length()
    frames = wave.unfold(0, config.window, config.hop)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = F.pad(frames.unsqueeze(0), (1, 0), mode='replicate')[0, :, :-1]
    frames = (frames - PREEMPHASIS * before) * window
    frames = F.pad(frames, (0, transform - config.window))
    if frames.device.type != 'cpu' or not rounds_like_reference():
        frames = frames.double()
    power = torch.fft.rfft(frames).abs().pow(2.0)
    filters = mel_filters(config.mel_bins, config.rate_hz, transform).to(power)
    # The filters end below the last bin, half the sampling rate.
    energies: Tensor = power @ F.pad(filters, (0, 1)).T
    return energies.clamp(min=FLOOR).log().float()


@lru_cache(maxsize=1)
def rounds_like_reference() -> bool:
    """Whether float32 FFTs have, to the last bit, the values of the processor of the reference."""
    count = torch.arange(4 * 512, dtype=torch.float32).view(4, 512)
    spectrum = torch.view_as_real(torch.fft.rfft((count * count % 997.0) / 997.0 - 0.5))
    return zlib.crc32(spectrum.numpy().tobytes()) == REFERENCE_FFT


@lru_cache(maxsize=8)
def mel_filters(bins: int, rate_hz: int, transform: int) -> Tensor:
    """Kaldi's triangular filters, float32 `[bins, transform // 2]`.

    Triangles are evenly spaced and straight on the scale `1127 ln(1 + f / 700)`, from 20 Hz to
    half the sampling rate. Rounded to float32 where Kaldi rounds: steep filters show it.
    """
    low, high = (1127.0 * math.log(1.0 + f / 700.0) for f in (LOW_HZ, rate_hz / 2))
    step = (high - low) / (bins + 1)
    number = torch.arange(bins)[:, None]
    left, centre, right = (low + (number + k) * step for k in (0.0, 1.0, 2.0))
    hertz = rate_hz / transform * torch.arange(transform // 2)
    marks = 1127.0 * (1.0 + hertz / 700.0).double().log().float()
    rising, falling = (marks - left) / (centre - left), (right - marks) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0)


def audio_inputs(
    mel: Tensor, config: AudioConfig, *, starts: Sequence[int] | None = None
) -> Tensor:
    """Log-mel `[columns, mel_bins]` to float32 `[3, mel_bins, frames]`.

    Args:
        mel: At least one column.
        config: Constants.
        starts: First columns of the three stretches of a long clip; by `config.segments` if None.
    """
    count = len(mel)
    if count < config.frames:
        repeated = mel.repeat(math.ceil(config.frames / count), 1)[: config.frames]
        stretches = repeated.expand(3, -1, -1)
    else:
        chosen = segment_starts(count, config) if starts is None else starts
        stretches = torch.stack([mel[start : start + config.frames] for start in chosen])
    return (stretches.transpose(1, 2) - config.mean) / (2 * config.std)


def segment_starts(count: int, config: AudioConfig) -> list[int]:
    """Where the three stretches of a clip of `count >= frames` columns start."""
    thirds = np.array_split(np.arange(count - config.frames + 1), 3)
    at = {'first': lambda part: part[0], 'middle': lambda part: part[len(part) // 2]}
    return [int(at[config.segments](part)) if len(part) else 0 for part in thirds]
