"""Detects infrared images without temperatures: 8 bits, automatic gain, implausible counts.

A calibrated "the stove is hot" needs the same count for the same temperature in every image.
8-bit images, and images that the camera stretches to their coldest and hottest pixel, have no such
scale: the wall gets brighter when the stove is switched off. Such images decode without errors;
only their values reveal them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.options import CENTIKELVIN, NEAR, ImageOptions

# Range of the median temperature of an image. Raw counts of a Lepton (14 bits, below 164 K),
# degrees Celsius or Fahrenheit and tenths of a kelvin are far below; a factor of 10 too much is
# above.
MIN_MEDIAN_K, MAX_MEDIAN_K = 233.15, 423.15
# Nothing around a robot is colder than this, not even the clear sky. In an image stretched to 16
# bits, the darker quarter is below.
COLDEST_K, COLD_SHARE = 173.15, 0.005
TOP = 65535
# A stretched image has few pixels at either end of the scale; a hot object beyond it has more.
FEW_PIXELS = 3
SAMPLE_STEP = 4  # use every fourth row and column for statistics of large images
LARGE = 1 << 14  # pixels
# Range of ambient temperatures, to guess the unit.
MIN_AMBIENT_K, MAX_AMBIENT_K = 263.15, 323.15
# Unit -> kelvin per count and kelvin at count 0.
UNITS: dict[str, tuple[float, float]] = {
    'degrees Celsius': (1.0, 273.15),
    'tenths of a degree Celsius': (0.1, 273.15),
    'hundredths of a degree Celsius': (0.01, 273.15),
    'degrees Fahrenheit': (0.5556, 255.37),
    'kelvin': (1.0, 0.0),
    'tenths of a kelvin': (0.1, 0.0),
    'tenths of a degree above -100 degrees Celsius (Optris)': (0.1, 173.15),
}

PLAIN = ImageOptions()


class Remark(str):
    """What to know of a sample that counts as evidence, in one line.

    Attributes:
        fault: Kind of fault, for counters.
    """

    fault: str

    def __new__(cls, line: str, fault: str) -> Remark:
        """Create the line with its kind."""
        remark = super().__new__(cls, line)
        remark.fault = fault
        return remark


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a sample does not count as evidence although it can be encoded.

    Attributes:
        fault: Kind of fault, for counters.
        reason: The problem in a few words, for the reasons of a score.
        remedy: The remedy, as a clause.
    """

    fault: str
    reason: str
    remedy: str

    @property
    def line(self) -> str:
        """One line for logs and reports."""
        return f'{self.reason}: predicates do not count it; {self.remedy}'


def temperature_objection(raw: NDArray[Any], options: ImageOptions = PLAIN) -> Objection | None:
    """Why a decoded infrared image shows no temperatures; None if it may show them.

    Each image is judged separately, so that live nodes and offline programs agree. Raw counts that
    are plausible as temperatures cannot be detected in a single image.

    Args:
        raw: `[H, W]` as returned by `decode_image`: uint8 grey, or uint16 centikelvin, in which 0
            is a dead pixel.
        options: Options with which it was decoded.
    """
    if raw.dtype == np.uint8:
        return _grey_objection(options)
    if raw.dtype != np.uint16:
        return None
    step = SAMPLE_STEP if raw.size >= LARGE else 1
    some = raw[::step, ::step]
    alive = some[some > 0]
    if not alive.size:
        return None  # images without a valid pixel are not encoded
    if _is_stretched(raw, some, alive):
        return Objection(
            'temperature',
            'stretched picture, not a temperature',
            'switch off the automatic gain of the camera or of its driver',
        )
    return _implausible(alive, options)


def _grey_objection(options: ImageOptions) -> Objection:
    if options.infrared_kind == NEAR:
        reason, remedy = 'near infrared, not a temperature', 'only a thermal camera measures heat'
    elif not options.radiometric:
        reason = 'counts declared as no temperature'
        remedy = 'set infrared_kelvin_per_count where the camera is radiometric'
    else:
        reason = '8-bit picture, not a temperature'
        remedy = 'have the driver publish 16-bit counts (mono16 or 16UC1) without automatic gain'
    return Objection('temperature', reason, remedy)


def _is_stretched(raw: NDArray[Any], some: NDArray[Any], alive: NDArray[Any]) -> bool:
    """Whether the values are those of an image that was stretched to 16 bits."""
    span = int(some.max()) - int(some.min())
    if span >= 512 and not ((some & 0xFF).any() and (some % 257).any()):
        return True  # 8 bits, shifted or repeated
    if int(raw.max()) < TOP:
        return False
    if np.mean(alive < COLDEST_K / CENTIKELVIN) > COLD_SHARE:
        return True
    ends = int(np.count_nonzero(raw == 0)), int(np.count_nonzero(raw == TOP))
    return 0 < ends[0] <= FEW_PIXELS and ends[1] <= FEW_PIXELS


def _implausible(alive: NDArray[Any], options: ImageOptions) -> Objection | None:
    """An objection to counts that cannot be temperatures. Saturated pixels are ignored."""
    measured = alive[alive < TOP]
    if not measured.size:
        # All pixels are beyond the scale: the factor is too large, or the surface is very hot.
        median_k = TOP * CENTIKELVIN
    else:
        median_k = float(np.median(measured)) * CENTIKELVIN
        cold = float(np.mean(measured < COLDEST_K / CENTIKELVIN))
        if MIN_MEDIAN_K <= median_k <= MAX_MEDIAN_K and cold <= COLD_SHARE:
            return None
        if MIN_MEDIAN_K <= median_k <= MAX_MEDIAN_K:
            return Objection(
                'temperature',
                f'implausible temperatures ({cold:.0%} of the pixels below '
                f'{COLDEST_K - 273.15:.0f} degrees Celsius)',
                _unit_remedy(median_k, options),
            )
    return Objection(
        'temperature',
        f'implausible temperatures (median {median_k - 273.15:.0f} degrees Celsius)',
        _unit_remedy(median_k, options),
    )


def _unit_remedy(median_k: float, options: ImageOptions) -> str:
    """The settings to change, and units in which the median would be an ambient temperature."""
    wanted = 'set infrared_kelvin_per_count and infrared_kelvin_at_zero'
    if (options.kelvin_per_count, options.kelvin_at_zero) != (CENTIKELVIN, 0.0):
        given = f'{options.kelvin_per_count} and {options.kelvin_at_zero}'
        return f'{wanted} (now {given}) to those of the camera'
    count = median_k / CENTIKELVIN
    fitting = [
        f'{slope} and {offset} for {unit}'
        for unit, (slope, offset) in UNITS.items()
        if MIN_AMBIENT_K <= count * slope + offset <= MAX_AMBIENT_K
    ]
    if fitting:
        return f'{wanted}: {"; ".join(fitting)} (float pictures must be in kelvin)'
    return (
        'switch on the radiometric output of the camera (TLinear), or, if it has none, declare '
        'infrared_kelvin_per_count: 0'
    )
