"""Parts of a sensor's view, as parameters and options name them: `gripper=depth:0.3,0.2,0.4,0.4`.

A part is a sensor of its own, `depth@gripper`, with the encoder of its modality. Imports the
standard library only, so that `--help` and wrong arguments return immediately.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from encoders.modalities import MODALITIES

SEPARATOR = '@'
EXPECTED = (
    'NAME=MODALITY:LEFT,TOP,WIDTH,HEIGHT, as in gripper=depth:0.3,0.2,0.4,0.4, or '
    'NAME=MODALITY:box:TOPIC or NAME=MODALITY:mask:TOPIC'
)
# What a region may follow, and the type of its topic.
BOX, MASK = 'box', 'mask'
FOLLOWED = {BOX: 'sensor_msgs/msg/RegionOfInterest', MASK: 'sensor_msgs/msg/Image'}
# Modalities whose samples are single images.
SEEN = tuple(name for name, modality in MODALITIES.items() if modality.kind == 'image')
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*', re.ASCII)
_TOPIC = re.compile(r'/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*', re.ASCII)
# Sums of decimal shares, as 0.7 + 0.3, may exceed 1 by rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle in shares of the width and height of an image, so that resolution is free.

    Attributes:
        left, top: Its upper left corner, 0..1.
        width, height: Its size, above 0; it ends within the image.

    Raises:
        ValueError: A value is out of range.
    """

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not math.isfinite(value) or not 0 <= value <= 1:
                raise ValueError(
                    f'{name} must be a share of the image, 0..1, not {value:g}; divide pixels '
                    f'by the size of the image'
                )
        for start, size, side in ((self.left, self.width, 'width'),
                                  (self.top, self.height, 'height')):  # fmt: skip
            if size <= 0:
                raise ValueError(f'{side} must be above 0')
            if start + size > 1 + _ROUNDING:
                raise ValueError(f'{start:g} + {side} {size:g} is beyond the edge of the image')

    def __str__(self) -> str:
        """As in a parameter: `0.3,0.2,0.4,0.4`."""
        return ','.join(f'{getattr(self, name):g}' for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the view of a modality.

    Attributes:
        name: Letters, digits and underscores.
        modality: Modality of images.
        crop: Where it is; None if it follows a topic.
        follows: `box` or `mask` if it follows a topic, else empty.
        topic: Name of that topic, of the type in `FOLLOWED`.
    """

    name: str
    modality: str
    crop: Crop | None = None
    follows: str = ''
    topic: str = ''

    @property
    def sensor(self) -> str:
        """Name of the part as a sensor: `depth@gripper`."""
        return f'{self.modality}{SEPARATOR}{self.name}'

    def __str__(self) -> str:
        """As in a parameter."""
        place = f'{self.follows}:{self.topic}' if self.follows else self.crop
        return f'{self.name}={self.modality}:{place}'


def modality_of(sensor: str) -> str:
    """The modality of a sensor: `depth` of `depth` and of `depth@gripper`."""
    return sensor.partition(SEPARATOR)[0]


def is_region(sensor: str) -> bool:
    """Whether a name is that of a part of a view, `MODALITY@NAME`; it need not exist."""
    modality, separator, name = sensor.partition(SEPARATOR)
    return bool(separator) and modality in SEEN and _NAME.fullmatch(name) is not None


def topic_of(sensor: str) -> str:
    """The end of a sensor's topics, which cannot contain `@`: `depth/gripper`."""
    return sensor.replace(SEPARATOR, '/')


def parse_region(text: str) -> Region:
    """Read `NAME=MODALITY:LEFT,TOP,WIDTH,HEIGHT`, or `NAME=MODALITY:box:TOPIC` (or `mask`).

    Raises:
        ValueError: It is malformed, the modality has no images, or the crop is out of range.
    """
    name, equals, rest = text.strip().partition('=')
    modality, colon, place = rest.partition(':')
    if not equals or not colon:
        raise ValueError(f'region {text!r}: expected {EXPECTED}')
    if not _NAME.fullmatch(name):
        raise ValueError(f'region {text!r}: {name!r} is no name of letters, digits and _')
    if modality not in SEEN:
        raise ValueError(f'region {text!r}: expected one of {", ".join(SEEN)}, not {modality!r}')
    follows, colon, topic = place.partition(':')
    if colon:
        if follows not in FOLLOWED or not _TOPIC.fullmatch(topic):
            raise ValueError(f'region {text!r}: expected {EXPECTED}')
        return Region(name, modality, follows=follows, topic=topic)
    try:
        values = [float(part) for part in place.split(',')]
    except ValueError:
        values = []
    if len(values) != 4:
        raise ValueError(f'region {text!r}: expected {EXPECTED}')
    try:
        return Region(name, modality, Crop(*values))
    except ValueError as error:
        raise ValueError(f'region {text!r}: {error}') from None


def parse_regions(text: str) -> tuple[Region, ...]:
    """Read several regions, separated by semicolons or spaces.

    Raises:
        ValueError: One is malformed, or two have the same name and modality.
    """
    return distinct(parse_region(part) for part in re.split(r'[;\s]+', text) if part)


def distinct(regions: Iterable[Region]) -> tuple[Region, ...]:
    """The regions, if no two are the same sensor.

    Raises:
        ValueError: Two have the same name and modality.
    """
    found: dict[str, Region] = {}
    for region in regions:
        if region.sensor in found:
            raise ValueError(f'two regions are named {region.sensor}')
        found[region.sensor] = region
    return tuple(found.values())
