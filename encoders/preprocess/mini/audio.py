"""Audio: the end of a wave as a log-mel spectrogram, computed in PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from encoders.preprocess.columns import Columns, computed
from encoders.preprocess.upload import upload


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """Window and mel filter bank.

    Attributes:
        rate_hz: Sampling rate; waves of another rate are resampled.
        mel_bins: Rows of the input.
        frames: Spectrogram frames of the input, one per `hop_ms`. Longer waves are truncated at
            their start, shorter ones are preceded by silence.
        window_ms, hop_ms: Window and hop of the short-time Fourier transform.
        low_hz, high_hz: Range of the filter bank.
        mean, std: Mean and standard deviation of the natural log of mel energies.
    """

    rate_hz: int = 16_000
    mel_bins: int = 64
    frames: int = 208
    window_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 50.0
    high_hz: float = 8000.0
    mean: float = -6.0
    std: float = 4.0

    @property
    def samples(self) -> int:
        """Number of samples that are used."""
        return round(self.frames * self.hop_ms * self.rate_hz / 1000)

    @property
    def input_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return self.mel_bins, self.frames


def to_unit(
    raw: tuple[NDArray[Any], int], config: AudioConfig, *, columns: Columns = computed
) -> tuple[NDArray[np.float16], float]:
    """Log-mel energies, float16 `[mel_bins, frames]`, and the share that is not padding.

    Args:
        raw: (wave, rate): int16 or float `[samples]` or `[channels, samples]`, and hertz.
        config: Window and filter bank.
        columns: Source of spectrogram frames that may reuse known ones (see
            `encoders.preprocess.columns`).

    Raises:
        ValueError: The shape or dtype of the wave is not supported, or the rate is not positive.
    """
    wave, rate_hz = raw
    if rate_hz <= 0:
        raise ValueError(f'the sampling rate must be positive, not {rate_hz}')
    mono = mono_wave(np.asarray(wave))
    if rate_hz != config.rate_hz:
        # Every resampled sample depends on the whole window.
        mono, columns = resample(mono, rate_hz, config.rate_hz), computed
    missing = config.samples - len(mono)
    valid = min(1.0, len(mono) / config.samples)
    if missing > 0:
        mono, columns = F.pad(mono, (missing, 0)), computed
    mel = log_mel(mono[-config.samples :], config, columns=columns)
    return mel.to(torch.float16).numpy(), valid


def mono_wave(wave: NDArray[Any]) -> Tensor:
    """Return a wave, int16 or float `[samples]` or `[channels, samples]`, as float `[samples]`."""
    if wave.ndim == 2 and len(wave) == 1:
        wave = wave[0]
    elif wave.ndim == 2:
        wave = (
            wave.mean(axis=0) if wave.dtype.kind == 'f' else wave.mean(axis=0).astype(wave.dtype)
        )
    if wave.ndim != 1 or wave.dtype not in (np.int16, np.float32, np.float64):
        raise ValueError(
            f'a wave must be int16 or float [samples] or [channels, samples], '
            f'not {wave.dtype} {list(wave.shape)}'
        )
    if wave.dtype == np.int16:
        return torch.from_numpy(wave.astype(np.float32)) / 32768
    return torch.from_numpy(np.nan_to_num(wave.astype(np.float32)))


def resample(wave: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Band-limited resampling by truncating or padding the spectrum; float `[samples]`."""
    count = round(len(wave) * to_hz / from_hz)
    if count == 0:
        return wave.new_zeros(0)
    spectrum = torch.fft.rfft(wave)
    bins = count // 2 + 1
    kept = F.pad(spectrum, (0, max(0, bins - len(spectrum))))[:bins]
    resampled: Tensor = torch.fft.irfft(kept, count) * (count / len(wave))
    return resampled


def log_mel(wave: Tensor, config: AudioConfig, *, columns: Columns = computed) -> Tensor:
    """Natural log of mel energies, float32 `[mel_bins, frames]`; padded at the start."""
    size = round(config.window_ms * config.rate_hz / 1000)
    hop = round(config.hop_ms * config.rate_hz / 1000)

    def compute(wave: Tensor) -> Tensor:
        return _mel_columns(wave, config, size=size, hop=hop)

    padded = F.pad(wave, (size - hop, 0))
    if columns is computed:
        return compute(padded)[: config.frames].T.contiguous()
    # The first frames include the padding, which belongs to this window only.
    own = math.ceil((size - hop) / hop)
    parts = [compute(padded[: (own - 1) * hop + size])] if own else []
    following = padded[own * hop :]
    parts.append(columns(following, compute, size=size, hop=hop, what=config))
    return torch.cat(parts)[: config.frames].T.contiguous()


def _mel_columns(wave: Tensor, config: AudioConfig, *, size: int, hop: int) -> Tensor:
    transform = 1 << (size - 1).bit_length()
    frames = wave.unfold(0, size, hop) * torch.hann_window(size)
    power: Tensor = torch.fft.rfft(frames, n=transform).abs().square()
    energies: Tensor = mel_filters(config, transform) @ power.T
    return (energies + 1e-7).log().T


@lru_cache(maxsize=8)
def mel_filters(config: AudioConfig, transform: int) -> Tensor:
    """Triangular filters on the HTK mel scale, float32 `[mel_bins, transform // 2 + 1]`."""

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    marks = torch.linspace(mel(config.low_hz), mel(config.high_hz), config.mel_bins + 2)
    hertz = 700 * (10 ** (marks / 2595) - 1)
    bins = torch.linspace(0, config.rate_hz / 2, transform // 2 + 1)
    left, centre, right = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0)


def stored_form(config: AudioConfig) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and dtype of the result of `to_unit`."""
    return (config.mel_bins, config.frames), np.float16


def normalise(stored: Tensor, config: AudioConfig) -> Tensor:
    """Log energies `[..., mel_bins, frames]` to float32 `[..., 3, mel_bins, frames]`."""
    plane = (stored.float() - config.mean) / config.std
    return plane.unsqueeze(-3).expand(*plane.shape[:-2], 3, *plane.shape[-2:])


def preprocess(
    raw: tuple[NDArray[Any], int],
    config: AudioConfig,
    *,
    device: str | torch.device = 'cpu',
    columns: Columns = computed,
) -> tuple[Tensor, float]:
    """float32 `[3, mel_bins, frames]` on the device, and the share that is not padding."""
    stored, valid = to_unit(raw, config, columns=columns)
    return normalise(upload(stored, device), config), valid
