"""Audio: Kaldi's log-mel spectrogram as an input of three channels."""

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
# Checksum with MKL on Intel processors with AVX-512 (see `rounds_like_reference`).
REFERENCE_FFT = 988405166
SEGMENTS = ('first', 'middle')
MAX_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """Constants of the spectrogram, one frame per 10 ms.

    Shorter audio is repeated. Longer audio gives three segments of `frames` spectrogram frames as
    the three channels, one from each third of the possible starts. LanguageBind draws the starts
    at random.

    Attributes:
        rate_hz: Sampling rate; waves of another rate are resampled.
        mel_bins: Rows of the input.
        frames: Spectrogram frames of the input.
        segments: Start within each third: `first` or `middle`.
        mean, std: Statistics of the log-mel values, which become `(x - mean) / (2 std)`.
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
        """Samples of one spectrogram frame."""
        return self.rate_hz * FRAME_MS // 1000

    @property
    def hop(self) -> int:
        """Samples between spectrogram frames."""
        return self.rate_hz * HOP_MS // 1000


def preprocess(
    raw: tuple[NDArray[Any], int],
    config: AudioConfig,
    *,
    device: str | torch.device = 'cpu',
    columns: Columns = computed,
) -> tuple[Tensor, float]:
    """float32 `[3, mel_bins, frames]`, and the share of finite samples that are not repeated.

    Args:
        raw: (wave, rate): int16, int32 or float in -1..1, `[samples]` or `[channels, samples]`,
            and hertz. The mean over all channels is subtracted, then only the first channel is
            used, as in LanguageBind. Values that are not finite become 0.
        config: Preprocessing constants.
        device: Device of the computation.
        columns: Source of spectrogram frames that may reuse known ones.

    Raises:
        ValueError: The shape or dtype of the wave is not supported, the rate is not positive, or
            the audio is shorter than 25 ms.
    """
    wave, rate_hz = raw
    samples = as_samples(np.asarray(wave), device=device)
    if rate_hz <= 0 or rate_hz != int(rate_hz):
        raise ValueError(f'the sampling rate must be positive and whole, not {rate_hz}')
    finite = samples.isfinite()
    share = float(finite.float().mean()) if samples.numel() else 0.0
    samples = torch.where(finite, samples, samples.new_zeros(()))
    if rate_hz != config.rate_hz:
        # Resampled samples near an end of the window depend on where it ends.
        samples = resample(samples, before_hz=int(rate_hz), after_hz=config.rate_hz)
        columns = computed
    if samples.shape[1] < config.window:
        raise ValueError(
            f'a sound must last at least {FRAME_MS} ms, but {samples.shape[1]} samples at '
            f'{config.rate_hz} Hz last {1000 * samples.shape[1] / config.rate_hz:.1f} ms'
        )
    # Up to rounding, the mean of the window changes no frame: each frame's own mean is subtracted.
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
    """Natural log of mel energies: float32 `[samples]` to `[frames, mel_bins]`.

    Kaldi's compute-fbank-feats (Povey et al. 2011) without dither, energy and 16-bit scale.
    Frames never extend beyond the wave, so there are `1 + (samples - window) // hop`. Quiet bands
    next to loud ones depend on the rounding of the processor's float32 FFT. If it rounds as that
    of the reference, the result equals the reference bit by bit; otherwise float64 is used, which
    is closer to it than another float32 FFT (docs/models.md).
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
    # The filters end below the last bin, which is half the sampling rate.
    energies: Tensor = power @ F.pad(filters, (0, 1)).T
    return energies.clamp(min=FLOOR).log().float()


@lru_cache(maxsize=1)
def rounds_like_reference() -> bool:
    """Whether float32 FFTs equal those of the reference's processor bit by bit."""
    count = torch.arange(4 * 512, dtype=torch.float32).view(4, 512)
    spectrum = torch.view_as_real(torch.fft.rfft((count * count % 997.0) / 997.0 - 0.5))
    return zlib.crc32(spectrum.numpy().tobytes()) == REFERENCE_FFT


@lru_cache(maxsize=8)
def mel_filters(bins: int, rate_hz: int, transform: int) -> Tensor:
    """Kaldi's triangular filters, float32 `[bins, transform // 2]`.

    Triangles are evenly spaced and linear on the scale `1127 ln(1 + f / 700)`, from 20 Hz to half
    the sampling rate. Values are rounded to float32 where Kaldi rounds, which matters for steep
    filters.
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
    """Log-mel `[any number of frames, mel_bins]` to float32 `[3, mel_bins, frames]`.

    Args:
        mel: At least one spectrogram frame.
        config: Preprocessing constants.
        starts: First frames of the three segments of long audio; by `config.segments` if None.
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
    """First frames of the three segments of audio with `count >= frames` spectrogram frames."""
    thirds = np.array_split(np.arange(count - config.frames + 1), 3)
    at = {'first': lambda part: part[0], 'middle': lambda part: part[len(part) // 2]}
    return [int(at[config.segments](part)) if len(part) else 0 for part in thirds]
