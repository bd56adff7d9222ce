"""The one table of modalities. Adding one means one record here and one module in `preprocess`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of sensor.

    Attributes:
        name: As used in every API, topic and file.
        kind: `image` (an array of pixels per sample), `clip` (the pictures of some seconds) or
            `sound` (a wave per sample).
        sensor: What a robot calls it; the node is `<sensor>_encoder`. Empty where no node feeds
            it, only arrays.
        topic: Relative name of its input topic; empty as well.
        pixels: What its pictures hold: `colour`, `depth` or `infrared`; empty for sound.
        standard: Whether nodes run it unless told otherwise; the others are asked for by name.
    """

    name: str
    kind: str
    sensor: str
    topic: str
    pixels: str
    standard: bool = True

    @property
    def topics(self) -> tuple[str, ...]:
        """Names under which logs hold it: as it is and in its compressed forms."""
        if not self.topic or self.kind == 'sound':
            return (self.topic,) if self.topic else ()
        forms = ('compressed', 'compressedDepth') if self.pixels == 'depth' else ('compressed',)
        return (self.topic, *(f'{self.topic}/{form}' for form in forms))


MODALITIES: dict[str, Modality] = {
    modality.name: modality
    for modality in (
        Modality('image', 'image', 'camera', 'camera/image', 'colour'),
        Modality('depth', 'image', 'depth', 'depth/image', 'depth'),
        Modality('infrared', 'image', 'infrared', 'infrared/image', 'infrared'),
        Modality('audio', 'sound', 'microphone', 'microphone/audio', ''),
        Modality('touch', 'image', 'touch', 'touch/image', 'colour', standard=False),
        Modality('video', 'clip', 'video', 'camera/image', 'colour', standard=False),
    )
}

# Those that nodes feed from topics; those of them that run unless others are named; and those that
# are read from bags message by message.
LIVE: tuple[str, ...] = tuple(m.name for m in MODALITIES.values() if m.sensor)
STANDARD: tuple[str, ...] = tuple(name for name in LIVE if MODALITIES[name].standard)
SENSED: tuple[str, ...] = tuple(name for name in LIVE if MODALITIES[name].kind != 'clip')


def modality(name: str) -> Modality:
    """Look a modality up.

    Raises:
        KeyError: There is no such modality; the message lists those there are.
    """
    if name not in MODALITIES:
        raise KeyError(f'unknown modality {name!r}, expected one of {", ".join(MODALITIES)}')
    return MODALITIES[name]
