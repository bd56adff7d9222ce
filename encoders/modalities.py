"""The table of modalities. A new one needs a record here and a module in `preprocess`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of sensor.

    Attributes:
        name: Name in every API, topic and file.
        kind: `image` (an array of pixels per sample), `clip` (the images of some seconds) or
            `sound` (a wave per sample).
        sensor: Name of the sensor; the node is `<sensor>_encoder`. Empty if no node feeds it.
        topic: Relative name of its input topic; empty if `sensor` is.
        pixels: Content of its images: `colour`, `depth` or `infrared`; empty for audio.
        standard: Whether nodes run it by default; others must be named.
    """

    name: str
    kind: str
    sensor: str
    topic: str
    pixels: str
    standard: bool = True

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics in logs: the raw topic and its compressed forms."""
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

# Modalities that nodes feed from topics; those that run by default; and those that are read from
# bags message by message.
LIVE: tuple[str, ...] = tuple(m.name for m in MODALITIES.values() if m.sensor)
STANDARD: tuple[str, ...] = tuple(name for name in LIVE if MODALITIES[name].standard)
SENSED: tuple[str, ...] = tuple(name for name in LIVE if MODALITIES[name].kind != 'clip')


def modality(name: str) -> Modality:
    """Look a modality up.

    Raises:
        KeyError: The modality is unknown; the message lists all.
    """
    if name not in MODALITIES:
        raise KeyError(f'unknown modality {name!r}, expected one of {", ".join(MODALITIES)}')
    return MODALITIES[name]
