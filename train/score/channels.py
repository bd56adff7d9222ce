"""The channels of series for people: groups of one quantity, units, and samples in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.decode.series import JOINT_PARTS, Floats
from train.score.windows import Window

# Units of ROS (REP 103); messages of joints do not show whether one turns or slides.
UNITS = {
    'force': 'N',
    'torque': 'N m',
    'linear_acceleration': 'm/s²',
    'angular_velocity': 'rad/s',
    'position': 'rad or m',
    'velocity': 'rad/s or m/s',
    'effort': 'N m or N',
}
# Rates of what another group shows.
NOT_DRAWN = ('velocity', 'angular_velocity')


@dataclass(frozen=True, slots=True)
class Group:
    """Channels of one quantity, which share an axis.

    Attributes:
        name: The quantity: `force`, or `position` of joints.
        unit: Its unit; empty if it is unknown.
        columns: Indices of the channels.
        labels: What distinguishes the channels: an axis or a joint.
    """

    name: str
    unit: str
    columns: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name with unit, for a heading."""
        words = self.name.replace('_', ' ')
        return f'{words} ({self.unit})' if self.unit else words


def parts_of(channel: str) -> tuple[str, str]:
    """The quantity of a channel, and what distinguishes it from others of the quantity."""
    first, _, last = channel.rpartition('.')
    return (last, first) if last in JOINT_PARTS else (first or last, last)


def unit_of(channel: str) -> str:
    """The unit of a channel; empty if it is unknown."""
    return UNITS.get(parts_of(channel)[0], '')


def groups_of(channels: Sequence[str]) -> list[Group]:
    """The channels by quantity, in order of their first channel."""
    found: dict[str, list[tuple[int, str]]] = {}
    for column, channel in enumerate(channels):
        name, label = parts_of(channel)
        found.setdefault(name, []).append((column, label))
    return [
        Group(name, UNITS.get(name, ''), *zip(*members, strict=True))
        for name, members in found.items()
    ]


def drawn_groups(channels: Sequence[str]) -> list[Group]:
    """The groups that pictures show: all but rates of others, unless there is nothing else."""
    groups = groups_of(channels)
    return [group for group in groups if group.name not in NOT_DRAWN] or groups


class NewSamples:
    """The samples of one series that no earlier window had, because windows overlap."""

    def __init__(self) -> None:
        self._known_ns = -(1 << 62)

    def of(self, window: Window) -> tuple[NDArray[np.int64], Floats]:
        """Stamps int64 `[T]` in order, and values float64 `[T, C]`."""
        series = window.source
        stamps = window.stamp_ns + np.round(series.stamps_s * 1e9).astype(np.int64)
        if window.stamp_ns < self._known_ns:  # the clock was set back
            self._known_ns = -(1 << 62)
        new = stamps > self._known_ns
        self._known_ns = window.stamp_ns
        return stamps[new], series.values[new]
