"""Series of forces, torques, joints and inertial units: patches of channels, absolute and tared.

Every modality of series has a module with its channels (`wrench`, `joints`, `imu`); the rest is
here. The settings come from an experiment on contact tasks (`docs/contact.md`): a channel is given
as its absolute value and as its change, scaled by statistics of the training data, in patches that
also hold the logarithm of the spread of values and of their differences. Without the first, weight
is not felt; without the last, roughness is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.decode.options import ImageOptions
from encoders.decode.series import JOINT_PARTS, Series
from encoders.decode.series_grid import Grid, to_grid
from encoders.decode.temperature import Objection, Remark
from encoders.preprocess.upload import upload

# What a channel is given as: its value, the change since the sensor was tared, the change since
# the start of the window, and the logarithm of that in floors, for values of very different size.
ABSOLUTE, TARED, CHANGE, LOGARITHM = 'absolute', 'tared', 'change', 'logarithm'
FORMS = (ABSOLUTE, TARED, CHANGE)
KNOWN_FORMS = (*FORMS, LOGARITHM)
# Smallest change of a quantity that matters, in the units of ROS (REP 103).
FLOORS = {
    'force': 0.3,
    'torque': 0.01,
    'linear_acceleration': 0.1,
    'angular_velocity': 0.01,
    'position': 0.003,
    'velocity': 0.01,
    'effort': 0.3,
    'value': 1.0,
}
LIMIT = 6.0  # of a scaled value
START_S = 0.05  # the start of a window, from which changes are counted
DEFAULT_SCALE = 10.0  # floors, without statistics
FLOOR_SHARE = 0.3  # of the floor, added to a measured scale
SMALLEST_SPREAD = 0.01  # floors
BIASED_FLOORS, BIASED_SPREADS = 4.0, 4.0  # how far the baseline of an untared sensor is off
# Values that are given for every channel or for none.
STATISTICS = ('floor', 'centre', 'scale', 'baseline', 'baseline_spread', 'words', 'sources')
LEVEL = ('force', 'torque')  # quantities that are about the same whenever nothing acts


@dataclass(frozen=True, slots=True)
class SeriesConfig:
    """Channels, grid and statistics of a series.

    Attributes:
        channels: Names as in `encoders.decode.series`, in the order of the input.
        rate_hz: Rate of the grid; series of any rate are resampled to it.
        window_s: Length of the window.
        patch_ms: Length of a patch; a token each.
        forms: Some of `absolute`, `tared`, `change` and `logarithm`.
        relative: Channels without an absolute value: where an arm is does not say what it feels.
        required: Channels without which a sample is no evidence. If empty, half of the channels.
        min_rate_hz: A slower series is no evidence.
        frame_id: Frame of the sensors in training; empty if it does not matter.
        convention: Sign and frame of the training data in words, for people.
        floor: Smallest change that matters, for each channel; empty for those of `FLOORS`.
        centre, scale: Mean and standard deviation of each channel; empty before training, which
            measures them.
        baseline, baseline_spread: Mean and standard deviation of the baselines in training.
        words: A sentence per channel that says what it measures. With them, the encoder is
            conditioned on their vectors and takes any channels; without, its layout is fixed.
        resting: Channels that may be exactly constant without being dead.
        sources: Topic and field of each channel in bags, `TOPIC:FIELD`; empty for the messages
            of the modality.
        untrained: Channels whose sentence was not among those of the training.

    Raises:
        ValueError: A value is out of range, or has another length than `channels`.
    """

    channels: tuple[str, ...] = ()
    rate_hz: float = 100.0
    window_s: float = 2.0
    patch_ms: float = 80.0
    forms: tuple[str, ...] = FORMS
    relative: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    min_rate_hz: float = 8.0
    frame_id: str = ''
    convention: str = ''
    floor: tuple[float, ...] = ()
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    baseline: tuple[float, ...] = ()
    baseline_spread: tuple[float, ...] = ()
    words: tuple[str, ...] = field(default=(), metadata={'later': True})
    resting: tuple[str, ...] = field(default=(), metadata={'later': True})
    sources: tuple[str, ...] = field(default=(), metadata={'later': True})
    untrained: tuple[str, ...] = field(default=(), metadata={'later': True})

    def __post_init__(self) -> None:
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError(f'channels must be different names, not {list(self.channels)}')
        for name in STATISTICS:
            given: tuple[object, ...] = getattr(self, name)
            if len(given) not in (0, len(self.channels)):
                raise ValueError(f'{name} must have {len(self.channels)} values, not {len(given)}')
        if min((*self.floor, *self.scale), default=1.0) <= 0:
            raise ValueError('floor and scale must be positive')
        if not self.forms or not set(self.forms) <= set(KNOWN_FORMS):
            raise ValueError(f'forms must be some of {KNOWN_FORMS}, not {self.forms}')
        for name in (*self.relative, *self.required, *self.resting, *self.untrained):
            if name not in self.channels:
                raise ValueError(f'relative, required and resting must be channels, not {name!r}')
        if self.rate_hz <= 0 or self.patch < 1 or self.patches < 1:
            raise ValueError(
                f'a patch of {self.patch_ms} ms must have a value or more and fit into the '
                f'window of {self.window_s} s at {self.rate_hz} Hz'
            )
        if not self.floor:
            floors = tuple(_floor(name, described=bool(self.words)) for name in self.channels)
            object.__setattr__(self, 'floor', floors)

    @property
    def patch(self) -> int:
        """Values of a channel in a patch."""
        return round(self.patch_ms * self.rate_hz / 1000)

    @property
    def patches(self) -> int:
        """Patches of a window."""
        return round(self.window_s * self.rate_hz) // max(1, self.patch)

    @property
    def steps(self) -> int:
        """Values of a channel in a window."""
        return self.patch * self.patches

    @property
    def input_size(self) -> tuple[int, int]:
        """Patches, and values of a channel in each: its forms, its mask and two spreads."""
        return self.patches, self.patch * (len(self.forms) + 1) + 2


def _floor(channel: str, *, described: bool) -> float:
    """The smallest change that matters; a quantity is the first or last part of a name."""
    for part in (channel.partition('.')[0], channel.rpartition('.')[2]):
        if part in FLOORS:
            return FLOORS[part]
    if described:
        return 1.0
    raise ValueError(f'floor must be given, because the quantity of {channel!r} is unknown')


def grid_of(raw: Series, config: SeriesConfig) -> Grid:
    """The channels of a configuration on its grid.

    Raises:
        ValueError: `raw` is not a series.
    """
    if not isinstance(raw, Series):
        raise ValueError(f'a series must be an encoders.Series, not {type(raw).__name__}')
    return _grid(raw, config)


@lru_cache(maxsize=4)
def _grid(raw: Series, config: SeriesConfig) -> Grid:
    # A sample is preprocessed and judged in three calls; series are equal only to themselves.
    return to_grid(
        raw,
        config.channels,
        rate_hz=config.rate_hz,
        steps=config.steps,
        resting=config.resting,
    )


def to_unit(raw: Series, config: SeriesConfig) -> tuple[NDArray[np.float32], float]:
    """Baseline and grid, float32 `[1 + steps, C]`, NaN where masked; and the valid share.

    Raises:
        ValueError: `raw` is not a series.
    """
    grid = grid_of(raw, config)
    stored = np.concatenate([grid.baseline[None], grid.values]).astype(np.float32)
    return stored, float(grid.valid.mean())


def stored_form(config: SeriesConfig) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and dtype of the result of `to_unit`."""
    return (1 + config.steps, len(config.channels)), np.float32


def normalise(stored: Tensor, config: SeriesConfig) -> Tensor:
    """Stored series `[..., 1 + steps, C]` to float32 `[..., C, patches, V]`.

    The `V` values of a patch of a channel are, for a patch of `p` steps: `p` values of each form,
    divided by the scale and limited to +-6; `p` times 1 where a value is measured and 0 where it
    is masked; a third of the logarithm of the standard deviation of its values, and of their
    differences, in floors. What is masked is 0.
    """
    values = stored[..., 1:, :].float()
    valid = values.isfinite()
    values = values.nan_to_num(0.0)
    start = _start(values, valid, round(START_S * config.rate_hz))
    baseline = stored[..., :1, :].float()
    baseline = baseline.where(baseline.isfinite(), start)
    scale = _row(config.scale or [DEFAULT_SCALE * floor for floor in config.floor], stored)
    absolute = _row([float(name not in config.relative) for name in config.channels], stored)
    forms = {
        ABSOLUTE: (values - _row(config.centre or [0.0] * len(config.channels), stored))
        * absolute,
        TARED: values - baseline,
        CHANGE: values - start,
    }
    shown = valid.float()
    floor = _row(config.floor, stored)
    scaled = {name: (form / scale).clamp(-LIMIT, LIMIT) for name, form in forms.items()}
    scaled[LOGARITHM] = _signed_logarithm(forms[CHANGE] / floor)
    planes = [scaled[form] * shown for form in config.forms]
    floor = floor[..., None]
    patches = [_patches(plane, config) for plane in (*planes, shown)]
    spreads = _spreads(_patches(values - start, config), patches[-1] > 0, floor)
    return torch.cat([*patches, *spreads], dim=-1).transpose(-2, -3).contiguous()


def _signed_logarithm(values: Tensor) -> Tensor:
    return values.sign() * (values.abs() + 1).log() / 3


def _row(values: Any, like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)


def _start(values: Tensor, valid: Tensor, count: int) -> Tensor:
    """Mean `[..., 1, C]` of the steps at the start, or of all if none of those is valid."""
    weights = valid.float()
    first = weights[..., :count, :].sum(-2, keepdim=True)
    early = (values * weights)[..., :count, :].sum(-2, keepdim=True) / first.clamp(min=1)
    all_of_it = weights.sum(-2, keepdim=True).clamp(min=1)
    return early.where(first > 0, (values * weights).sum(-2, keepdim=True) / all_of_it)


def _patches(plane: Tensor, config: SeriesConfig) -> Tensor:
    """`[..., steps, C]` to `[..., patches, C, p]`."""
    cut = plane.reshape(*plane.shape[:-2], config.patches, config.patch, plane.shape[-1])
    return cut.transpose(-1, -2)


def _spreads(values: Tensor, valid: Tensor, floor: Tensor) -> list[Tensor]:
    """Logarithm of the spread of values and differences, `[..., patches, C, 1]` each."""
    both = valid[..., 1:] & valid[..., :-1]
    differences = values[..., 1:] - values[..., :-1]
    return [_log_spread(values, valid, floor), _log_spread(differences, both, floor)]


def _log_spread(values: Tensor, valid: Tensor, floor: Tensor) -> Tensor:
    weights = valid.float()
    count = weights.sum(-1, keepdim=True)
    mean = (values * weights).sum(-1, keepdim=True) / count.clamp(min=1)
    square = ((values - mean).square() * weights).sum(-1, keepdim=True) / count.clamp(min=1)
    spread = (square.sqrt() / floor + SMALLEST_SPREAD).log() / 3
    return spread.clamp(-LIMIT, LIMIT) * (count > 1)


def preprocess(
    raw: Series, config: SeriesConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[C, patches, V]` on the device (see `normalise`), and the valid share."""
    stored, valid = to_unit(raw, config)
    return normalise(upload(stored, device), config), valid


def with_statistics(config: SeriesConfig, stored: NDArray[np.float32]) -> SeriesConfig:
    """The configuration with the statistics of some stored series, if it has none.

    The scale of a relative channel is that of its changes within a window.

    Args:
        config: Preprocessing constants.
        stored: `[N, 1 + steps, C]`; samples of only 0 are ignored.

    Raises:
        ValueError: There is no sample.
    """
    if config.scale:
        return config
    sensed = stored[stored.reshape(len(stored), -1).any(axis=1)]
    if not len(sensed):
        raise ValueError('no series to measure statistics of')
    values = torch.from_numpy(sensed[:, 1:])
    valid = values.isfinite()
    start = _start(values.nan_to_num(0.0), valid, round(START_S * config.rate_hz))
    changes = (values - start).numpy()
    centre, scale = _moments(sensed[:, 1:])
    change_scale = _moments(changes)[1]
    is_relative = np.array([name in config.relative for name in config.channels])
    floor = np.array(config.floor)
    scale = np.where(is_relative, change_scale, scale) + FLOOR_SHARE * floor
    baseline, spread = _moments(sensed[:, :1])
    return replace(
        config,
        centre=_rounded(centre),
        scale=_rounded(scale),
        baseline=_rounded(baseline),
        baseline_spread=_rounded(spread),
    )


def _moments(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel of `[N, T, C]`; 0 if it was never measured."""
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    finite = np.isfinite(rows)
    count = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, rows, 0).sum(axis=0) / count
    square = (np.where(finite, rows - mean, 0) ** 2).sum(axis=0) / count
    return mean, np.sqrt(square)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f'{value:.6g}') for value in values)


def objection(raw: Series, config: SeriesConfig, options: ImageOptions) -> Objection | None:
    """Why a series is no evidence: it is too slow, too much is missing, or channels are dead."""
    grid = grid_of(raw, config)
    if config.untrained:
        names = ', '.join(config.untrained[:3])
        more = f' and {len(config.untrained) - 3} more' if len(config.untrained) > 3 else ''
        reason = f'the encoder was not trained for {names}{more}'
        return Objection('untrained', reason, 'train it with these channels')
    if len(raw.stamps_s) > 1 and grid.rate_hz < config.min_rate_hz:
        reason = f'{grid.rate_hz:.3g} Hz is too slow, expected at least {config.min_rate_hz:.3g}'
        return Objection('rate', reason, 'raise the rate of its publisher')
    wanted = set(config.required or config.channels)
    dead = [name for name in config.channels if name in grid.masked and name in wanted]
    if len(dead) > (0 if config.required else len(config.channels) / 2):
        reason = '; '.join(f'{_words(name)} {grid.masked[name]}' for name in dead[:2])
        more = f' and {len(dead) - 2} more' if len(dead) > 2 else ''
        return Objection('masked', reason + more, 'check the sensor and its channels')
    alive = [name not in grid.masked for name in config.channels]
    known = float(grid.valid[:, alive].mean())
    if known < 0.5:
        known_s = known * config.window_s
        reason = f'only {known_s:.1f} of {config.window_s:g} s are known'
        return Objection('gap', reason, 'wait, or look for lost messages')
    return None


def _words(channel: str) -> str:
    """`effort of finger_joint` for a channel of a joint; other names as they are."""
    joint, _, part = channel.rpartition('.')
    return f'{part} of {joint}' if part in JOINT_PARTS else channel


def remarks(raw: Series, config: SeriesConfig) -> list[Remark]:
    """What to know of a series that is evidence: masked channels, another frame, a lost tare."""
    grid = grid_of(raw, config)
    found = [
        Remark(f'{_words(name)} {why}; it is masked', 'masked')
        for name, why in grid.masked.items()
    ]
    if config.frame_id and raw.frame_id and raw.frame_id != config.frame_id:
        line = f'its frame is {raw.frame_id}, trained in {config.frame_id}'
        found.append(Remark(line, 'frame'))
    return found + [Remark(line, 'untared') for line in _untared(grid, config)]


def moving(moved: NDArray[np.float64], config: SeriesConfig) -> list[str]:
    """One line for each channel that changed too much for a baseline.

    Args:
        moved: How far each channel changed while the baseline was taken (`SeriesStream.recent`).
        config: Channels, and changes that matter.
    """
    return [
        f'{name} changed by {change:.3g}'
        for name, change, floor in zip(config.channels, moved, config.floor, strict=True)
        if change > BIASED_FLOORS * floor
    ]


def _untared(grid: Grid, config: SeriesConfig) -> list[str]:
    """One line for each force or torque whose baseline is not that of a tared sensor."""
    lines: list[str] = []
    if not config.baseline or not config.baseline_spread:
        return lines
    for column, name in enumerate(config.channels):
        if name.partition('.')[0] not in LEVEL or not np.isfinite(grid.baseline[column]):
            continue
        usual = config.baseline[column]
        limit = BIASED_SPREADS * config.baseline_spread[column]
        limit += BIASED_FLOORS * config.floor[column]
        if abs(grid.baseline[column] - usual) > limit:
            lines.append(
                f'{name} is {grid.baseline[column]:.3g} where nothing acts, in training '
                f'{usual:.3g}: tare the sensor'
            )
    return lines
