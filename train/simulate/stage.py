"""What cameras and rooms need of a world, whichever simulator it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from train.simulate.scene import Joint, Place, Thing
from train.simulate.world import Heat, SoundEvent


class StageScene(Protocol):
    """The parts of a scene; see `scene.Scene` for what they are."""

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
        """Free objects that stay where they are."""

    @property
    def joints(self) -> Mapping[str, Joint]:
        """What opens or turns, by noun."""

    @property
    def places(self) -> Sequence[Place]:
        """Where things can be in or on."""

    def fixture_bodies(self) -> dict[str, int]:
        """Body ids of what else has a name."""


class StageWorld(Protocol):
    """A scene in motion; see `world.World`."""

    @property
    def scene(self) -> StageScene:
        """The scene."""

    @property
    def rng(self) -> np.random.Generator:
        """All randomness of the episode."""

    @property
    def sounds(self) -> list[SoundEvent]:
        """Everything audible so far."""

    @property
    def heat(self) -> Heat:
        """Stove temperatures."""

    def stove_is_on(self) -> bool:
        """Whether any stove is switched on."""
