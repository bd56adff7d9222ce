"""Interface of scenes and worlds that cameras and room sounds need, for all simulators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from train.simulate.scene import Joint, Place, Thing, Vector
from train.simulate.world import Heat, SoundEvent


class StageScene(Protocol):
    """The parts of a scene, as in `scene.Scene`."""

    @property
    def env(self) -> Any:
        """The simulator's environment."""

    @property
    def model(self) -> Any:
        """MuJoCo's model."""

    @property
    def data(self) -> Any:
        """MuJoCo's data."""

    @property
    def things(self) -> Sequence[Thing]:
        """Free objects that can be carried."""

    @property
    def furniture(self) -> Sequence[Thing]:
        """Free objects that are not moved."""

    @property
    def joints(self) -> Mapping[str, Joint]:
        """Joints that open or turn, by noun."""

    @property
    def places(self) -> Sequence[Place]:
        """Places where things can be in or on."""

    def fixture_bodies(self) -> dict[str, int]:
        """Body ids of other named bodies."""


class StageWorld(Protocol):
    """A scene in motion, as in `world.World`."""

    @property
    def scene(self) -> StageScene:
        """The scene."""

    @property
    def rng(self) -> np.random.Generator:
        """Source of all randomness of the episode."""

    @property
    def sounds(self) -> list[SoundEvent]:
        """All sounds so far."""

    @property
    def heat(self) -> Heat:
        """Stove temperatures."""

    def stove_is_on(self) -> bool:
        """Whether any stove is switched on."""


class PadWorld(Protocol):
    """What the finger pads feel, as in `world.World`."""

    @property
    def scene(self) -> StageScene:
        """The scene."""

    @property
    def grip(self) -> Vector:
        """Position of the grip point, metres, world frame."""

    def pad_contacts(self) -> list[tuple[str, str]]:
        """Pairs of finger pad and touched shape."""

    def relative_velocity(self, thing: Thing) -> Vector:
        """Velocity of a thing relative to the grip, metres/second."""
