"""Band-limited resampling between any two rates, equal to torchaudio's default."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

ROLLOFF = 0.99
ZEROS = 6  # zero crossings of the sinc on either side
CHUNK = 1 << 18  # outputs at a time, to bound the memory for long waves


def resample(wave: Tensor, *, before_hz: int, after_hz: int) -> Tensor:
    """float32 `[channels, samples]` to `[channels, ceil(samples * after / before)]`.

    Interpolation by a windowed sinc (Smith, "Digital audio resampling"): with both rates divided
    by their greatest common divisor, output `j` is the sum over inputs `i` of
    `base / before * sinc(t) * cos(pi t / 12)^2`, `t = base * (i / before - j / after)`,
    `base = 0.99 * min(before, after)`, for `|t| < 6`.

    Args:
        wave: float `[channels, samples]`.
        before_hz: Rate of the wave, positive.
        after_hz: Rate of the result, positive.
    """
    divisor = math.gcd(before_hz, after_hz)
    before, after = before_hz // divisor, after_hz // divisor
    if before == after:
        return wave
    taps, weights = _kernel(before, after)
    first = -int(taps[0])
    count = math.ceil(wave.shape[1] * after / before)
    padded = torch.nn.functional.pad(wave, (first, int(taps[-1]) + 1))
    taps, weights = (taps + first).to(wave.device), weights.to(wave.device)
    parts = []
    for start in range(0, count, CHUNK):
        outputs = torch.arange(start, min(start + CHUNK, count), device=wave.device)
        inputs = (outputs * before // after)[:, None] + taps
        parts.append((padded[:, inputs] * weights[outputs % after]).sum(dim=-1))
    return torch.cat(parts, dim=1) if parts else wave.new_zeros(len(wave), 0)


@lru_cache(maxsize=16)
def _kernel(before: int, after: int) -> tuple[Tensor, Tensor]:
    """Offsets int64 `[taps]` from the position of an output; weights float32 `[after, taps]`."""
    base = min(before, after) * ROLLOFF
    width = math.ceil(ZEROS * before / base)
    taps = torch.arange(-width, width + 2)
    phase = torch.arange(after)
    place = phase * before // after
    inputs = (place[:, None] + taps).double()
    time = base * (inputs / before - phase[:, None].double() / after)
    time = time.clamp(-ZEROS, ZEROS)
    window = torch.cos(math.pi / 2 * time / ZEROS).square()
    return taps, (torch.sinc(time) * window * base / before).float()
