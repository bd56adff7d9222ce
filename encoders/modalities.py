"""The one table of modalities. Adding one means one record here and one module in `preprocess`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of sensor.

    Attributes:
        name: As used in every API, topic and file.
        kind: `image` (an array of pixels per sample), `clip` (several of them) or `sound` (a wave
            per sample).
        sensor: What a robot calls it; the node is `<sensor>_encoder`. Empty where no node feeds
            it, only arrays.
        topic: Relative name of its input topic; empty as well.
    """

    name: str
    kind: str
    sensor: str
    topic: str


MODALITIES: dict[str, Modality] = {
    modality.name: modality
    for modality in (
        Modality('image', 'image', 'camera', 'camera/image'),
        Modality('depth', 'image', 'depth', 'depth/image'),
        Modality('infrared', 'image', 'infrared', 'infrared/image'),
        Modality('audio', 'sound', 'microphone', 'microphone/audio'),
        Modality('video', 'clip', '', ''),
    )
}

# Those that nodes feed from topics.
SENSED: tuple[str, ...] = tuple(m.name for m in MODALITIES.values() if m.sensor)


def modality(name: str) -> Modality:
    """Look a modality up.

    Raises:
        KeyError: There is no such modality; the message lists those there are.
    """
    if name not in MODALITIES:
        raise KeyError(f'unknown modality {name!r}, expected one of {", ".join(MODALITIES)}')
    return MODALITIES[name]
