"""Record of one parameter, and the dataclass fields that hold one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from encoders.modalities import LIVE, MODALITIES, Modality

Value = bool | int | float | str | tuple[str, ...]
Changes = Literal['start', 'configure', 'live']
T = TypeVar('T')
# Processes other than `bringup`, which has all parameters except those of `microphone`.
ENCODERS, PREDICATES = 'encoders', 'predicates'


@dataclass(frozen=True, slots=True)
class Record:
    """One parameter.

    Attributes:
        about: Description with the unit.
        name: Name of the parameter.
        default: Default value; its type is the type of the parameter.
        ending: End of the name after `<sensor>_` for a parameter of every sensor; else empty.
        limits: Smallest and largest value.
        choices: Permitted values; empty for any.
        changes: When it may change: `live` at any time, `configure` while the node is
            unconfigured, `start` never.
        is_argument: Whether it is also an argument of the launch files.
        processes: Processes other than `bringup` that use it.
        modalities: Modalities whose encoders use it.
    """

    about: str
    name: str = ''
    default: Value = ''
    ending: str = ''
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    changes: Changes = 'start'
    is_argument: bool = False
    processes: tuple[str, ...] = (ENCODERS, PREDICATES)
    modalities: tuple[str, ...] = LIVE


def one(default: T, about: str, **more: Any) -> T:
    """Return the field of one parameter with the field's name."""
    found: T = field(default=default, metadata={'record': Record(about, **more)})
    return found


def own(default: T, about: str, **more: Any) -> T:
    """Return a field like `one`, for encoder nodes only."""
    return one(default, about, processes=(ENCODERS,), **more)


def each(
    ending: str, default: Callable[[Modality], T], about: str, **more: Any
) -> Mapping[str, T]:
    """Return a field of one parameter `<sensor>_<ending>` per modality; its value is a mapping."""
    modalities: tuple[str, ...] = more.get('modalities', LIVE)
    found: Mapping[str, T] = field(
        default_factory=lambda: {name: default(MODALITIES[name]) for name in modalities},
        metadata={'record': Record(about, ending=ending, processes=(ENCODERS,), **more)},
    )
    return found
