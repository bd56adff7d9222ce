"""The table of modalities. A new one needs a record here and a module in `preprocess`."""

from __future__ import annotations

from dataclasses import dataclass

DESCRIBED = 'signals'  # the modality whose channels are described, each with a topic of its own


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of sensor.

    Attributes:
        name: Name in every API, topic and file.
        kind: `image` (an array of pixels per sample), `clip` (the images of some seconds),
            `sound` (a wave per sample) or `series` (the channels of the last seconds).
        sensor: Name of the sensor; the node is `<sensor>_encoder`. Empty if no node feeds it.
        topic: Relative name of its input topic, live and in logs.
        pixels: Content of its images: `colour`, `depth` or `infrared`; empty for other kinds.
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
        """Topics in logs: the raw topic and its compressed forms; none of described channels."""
        if self.name == DESCRIBED:
            return ()
        if self.kind in ('sound', 'series'):
            return (self.topic,)
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
        Modality('wrench', 'series', 'wrench', 'wrist/wrench', '', standard=False),
        Modality('joints', 'series', 'joints', 'joint_states', '', standard=False),
        Modality('imu', 'series', 'imu', 'imu/data', '', standard=False),
        # Its topic stands for those of the channels.
        Modality(DESCRIBED, 'series', 'signals', 'signals', '', standard=False),
    )
}

# Modalities that nodes feed from topics; those that run by default; those that are read message
# by message; and those of numeric channels.
LIVE: tuple[str, ...] = tuple(m.name for m in MODALITIES.values() if m.sensor)
STANDARD: tuple[str, ...] = tuple(name for name in LIVE if MODALITIES[name].standard)
SENSED: tuple[str, ...] = tuple(name for name in LIVE if MODALITIES[name].kind != 'clip')
SERIES: tuple[str, ...] = tuple(m.name for m in MODALITIES.values() if m.kind == 'series')


def modality(name: str) -> Modality:
    """Look a modality up.

    Raises:
        KeyError: The modality is unknown; the message lists all.
    """
    if name not in MODALITIES:
        raise KeyError(f'unknown modality {name!r}, expected one of {", ".join(MODALITIES)}')
    return MODALITIES[name]
