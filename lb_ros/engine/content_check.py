"""Checks of decoded content: images without valid pixels, frozen or flat images, clipped audio.

Whether a sample is evidence at all is decided in `encoders.decode.temperature` and
`encoders.decode.content`, which live nodes and offline programs share.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.content import measured
from encoders.modalities import MODALITIES

FROZEN_AFTER = 10  # identical images in a row; a thermal camera's shutter causes fewer
SATURATED_SHARE = 0.5
CLIPPING_SHARE = 0.01
SAMPLE_STEP = 4  # every fourth row and column are enough for statistics


@dataclass(frozen=True, slots=True)
class Finding:
    """A kind of fault with its description; `usable` is False if it must not be encoded."""

    fault: str
    line: str
    usable: bool = True


class ContentCheck:
    """Checks the samples of one sensor in order; it remembers the sensor's last image."""

    def __init__(self, modality: str) -> None:
        self._modality = MODALITIES[modality]
        self._last_hash = 0
        self._repeats = 0

    def check(self, raw: Any) -> list[Finding]:
        """Return the findings in a decoded sample; `encoders.Binder.embed` defines its form."""
        if self._modality.kind == 'series':  # judged by `Binder.objection` and `Binder.remarks`
            return []
        if self._modality.kind == 'sound':
            return _sound_findings(raw[0])
        findings = _depth_findings(raw) if self._modality.pixels == 'depth' else []
        if self._modality.pixels == 'infrared':
            findings += _infrared_findings(raw)
        if self._is_frozen(raw):
            findings.append(
                Finding('frozen', f'the same picture {self._repeats + 1} times in a row')
            )
        return findings

    def _is_frozen(self, raw: NDArray[Any]) -> bool:
        if self._modality.pixels == 'infrared' and not raw.any():
            return False
        found = zlib.crc32(np.ascontiguousarray(raw).data)
        self._repeats = self._repeats + 1 if found == self._last_hash else 0
        self._last_hash = found
        return self._repeats + 1 >= FROZEN_AFTER


def _depth_findings(raw: NDArray[Any]) -> list[Finding]:
    if not measured(raw).any():
        return [Finding('no_pixel', 'all pixels are 0, NaN or infinite', usable=False)]
    return []


def _infrared_findings(raw: NDArray[Any]) -> list[Finding]:
    if raw.dtype == np.uint16 and not raw.any():
        return [Finding('no_pixel', 'all pixels are 0', usable=False)]
    some = raw[::SAMPLE_STEP, ::SAMPLE_STEP]
    low, high = int(some.min()), int(some.max())
    if low == high and raw.min() == raw.max():
        return [Finding('flat', f'every pixel is {low}')]
    top = np.iinfo(raw.dtype).max
    share = float(np.mean(some == top))
    if share > SATURATED_SHARE:
        return [Finding('saturated', f'{share:.0%} of the pixels are at the maximum {top}')]
    return []


def _sound_findings(wave: NDArray[Any]) -> list[Finding]:
    full = 32767 if wave.dtype == np.int16 else 1.0
    share = float(np.mean(np.abs(wave.astype(np.float32)) >= full))
    if share > CLIPPING_SHARE:
        return [Finding('clipping', f'{share:.1%} of the samples are at full scale')]
    return []
