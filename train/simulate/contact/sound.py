"""Contact sound, synthesised from the forces and speeds of the contacts: nothing was recorded.

An impact rings when a contact begins; sliding hisses with force and speed, and crackles where
the force trembles, as it does over relief.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from train.simulate.contact.arm import TICK_S, Recording
from train.simulate.contact.model import LEFT, RIGHT, SLIDE, TOUCH
from train.simulate.contact.poses import Vector
from train.simulate.sound import DISTRACTORS, RATE_HZ, synthesise
from train.simulate.world import SoundEvent

STRUCK_N = 0.5
GAP_TICKS, RISE_TICKS = 40, 8
LOUD_N = 60.0
HISS, CRACKLE = 0.03, 0.02
TREMBLE_TICKS = 15
BAND_HZ = (300.0, 6000.0)


def contact_sound(
    recording: Recording, source: str, rng: np.random.Generator, *, seed: int
) -> NDArray[np.int16]:
    """Synthesise the microphone's signal of an episode, int16 `[samples]`.

    Args:
        recording: The episode.
        source: Name of what is struck, which decides how it rings.
        rng: Source of the distractors and of the noise of friction.
        seed: Seed of the impacts and the room.
    """
    duration_s = recording.count * TICK_S
    sensors = recording.sensors[: recording.count]
    events = [
        event
        for column, share in ((TOUCH, 1.0), (LEFT, 0.3), (RIGHT, 0.3))
        for event in _impacts(sensors[:, column], share, source)
    ]
    events += _room(rng, duration_s)
    wave = synthesise(events, start_s=0.0, duration_s=duration_s, seed=seed).astype(np.float64)
    wave += 32767 * _friction(sensors, len(wave), rng)
    return np.clip(wave, -32768, 32767).astype(np.int16)


def _impacts(force_n: Vector, share: float, source: str) -> list[SoundEvent]:
    """One impact per beginning contact, as strong as the force rises within 16 ms."""
    events: list[SoundEvent] = []
    touching = force_n > STRUCK_N
    starts = np.flatnonzero(touching[1:] & ~touching[:-1]) + 1
    last = -GAP_TICKS
    for start in starts.tolist():
        if start - last < GAP_TICKS:
            continue
        last = start
        rise = float(force_n[start : start + RISE_TICKS].max())
        strength = share * min(1.0, 0.03 + rise / LOUD_N)
        events.append(SoundEvent('impact', start * TICK_S, strength, source=source))
    return events


def _friction(sensors: Vector, count: int, rng: np.random.Generator) -> Vector:
    """Noise of sliding, float `[count]`; full scale is 1."""
    force_n = np.clip(sensors[:, TOUCH], 0, 40)
    speed = np.clip(np.linalg.norm(sensors[:, SLIDE], axis=1), 0, 0.3)
    tremble_n = np.abs(force_n - uniform_filter1d(force_n, TREMBLE_TICKS))
    level = HISS * np.sqrt(force_n) * speed / 0.1
    level += CRACKLE * np.minimum(tremble_n, 5.0) * np.minimum(speed / 0.03, 1.0)
    times = np.arange(count) / RATE_HZ
    envelope = np.interp(times, np.arange(len(level)) * TICK_S, level)
    spectrum = np.fft.rfft(rng.normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    low, high = BAND_HZ
    spectrum *= np.exp(-np.maximum(0, low - hertz) / low - np.maximum(0, hertz - high) / 1000)
    noise = np.fft.irfft(spectrum, count)
    wave: Vector = envelope * noise / (noise.std() + 1e-9)
    return wave


def _room(rng: np.random.Generator, duration_s: float) -> list[SoundEvent]:
    """Sounds that have nothing to do with the contacts."""
    events = []
    for _ in range(rng.poisson(0.3 * duration_s)):
        at_s, length_s = rng.uniform(0, duration_s), rng.uniform(0.3, 1.2)
        kind = str(rng.choice(DISTRACTORS))
        events.append(SoundEvent(kind, at_s, rng.uniform(0.1, 1.0), length_s))
    for _ in range(rng.poisson(0.4 * duration_s)):
        at_s, length_s = rng.uniform(0, duration_s), rng.uniform(0.3, 1.5)
        events.append(SoundEvent('motor', at_s, rng.uniform(0.1, 1.0), length_s))
    return events
