"""Audio synthesised from events: impacts, slides, thuds, clicks, hums, and room noise.

No recordings are used. Each voice is a sum of decaying modes or shaped noise, as in classical
modal synthesis, so that the audio depends on the strength and the material of each event.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from train.simulate.world import SoundEvent

RATE_HZ = 16_000
Wave = NDArray[np.float64]


def synthesise(
    events: Sequence[SoundEvent], *, start_s: float, duration_s: float, seed: int
) -> NDArray[np.int16]:
    """Synthesise the microphone signal from `start_s` on.

    An event sounds the same in every window, so adjacent windows join without a seam, except for
    the room noise, which is drawn per window.

    Returns:
        int16 `[samples]` at `RATE_HZ`.
    """
    count = round(duration_s * RATE_HZ)
    mix = np.zeros(count)
    for event in events:
        voice = VOICES[event.kind]
        wave = voice(event, np.random.default_rng([seed, round(event.at_s * 1e4) % 2**32]))
        _add_at(mix, wave, round((event.at_s - start_s) * RATE_HZ))
    room = np.random.default_rng([seed, 7, round(start_s * 1e3)])
    level = 10 ** (np.random.default_rng([seed, 11]).uniform(-56, -38) / 20)
    mix += level * _coloured_noise(count, room)
    return (np.clip(mix, -1, 1) * 32767).astype(np.int16)


def _add_at(mix: Wave, wave: Wave, at: int) -> None:
    begin, end = max(0, at), min(len(mix), at + len(wave))
    if begin < end:
        mix[begin:end] += wave[begin - at : end - at]


def _modes(
    frequencies: Sequence[float] | Wave,
    decays_s: Sequence[float] | Wave,
    gains: Sequence[float] | Wave,
    length_s: float,
) -> Wave:
    time = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    parts = [
        gain * np.exp(-time / decay) * np.sin(2 * np.pi * frequency * time)
        for frequency, decay, gain in zip(frequencies, decays_s, gains, strict=True)
    ]
    return np.asarray(sum(parts))


def _band_noise(rng: np.random.Generator, count: int, low_hz: float, high_hz: float) -> Wave:
    spectrum = np.fft.rfft(rng.normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    spectrum *= np.exp(-np.maximum(0, low_hz - hertz) / (0.3 * low_hz))
    spectrum *= np.exp(-np.maximum(0, hertz - high_hz) / (0.3 * high_hz))
    wave = np.fft.irfft(spectrum, count)
    return np.asarray(wave / (np.abs(wave).max() + 1e-9))


def _coloured_noise(count: int, rng: np.random.Generator) -> Wave:
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / RATE_HZ), 20.0) / 100.0)
    wave = np.fft.irfft(spectrum, count)
    return np.asarray(wave / (wave.std() + 1e-9))


def _impact(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """A thing hits a surface: bright, short modes specific to the thing."""
    thing = np.random.default_rng(zlib.crc32(event.source.encode()))
    base = thing.uniform(500, 2200)
    ratios = np.array([1.0, 1.6, 2.3, 3.1]) * thing.uniform(0.95, 1.05, 4)
    decays = thing.uniform(0.02, 0.12) / np.sqrt(ratios)
    gains = event.strength * rng.uniform(0.3, 0.6) / ratios
    wave = _modes(base * ratios, decays, gains, 0.5)
    click = _band_noise(rng, 160, 800, 5000) * np.exp(-np.arange(160) / 40)
    wave[:160] += 0.3 * event.strength * click
    return wave


def _thud(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """Wood hits wood at the end of a drawer's travel: low and dull."""
    base = rng.uniform(80, 170)
    gains = event.strength * np.array([0.5, 0.3, 0.15])
    wave = _modes([base, base * 1.9, base * 3.2], [0.09, 0.06, 0.04], gains.tolist(), 0.5)
    knock = _band_noise(rng, 800, 150, 900) * np.exp(-np.arange(800) / 220)
    wave[:800] += 0.35 * event.strength * knock
    return wave


def _latch(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """A door falls into its latch: a metallic click on a short thump."""
    wave = _thud(SoundEvent('thud', event.at_s, 0.6 * event.strength), rng)
    base = rng.uniform(2200, 3200)
    gains = [0.3 * event.strength, 0.2 * event.strength]
    _add_at(wave, _modes([base, base * 1.47], [0.03, 0.02], gains, 0.15), 240)
    return wave


def _slide(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """A drawer on its runners: rumbling noise with rattles while it moves."""
    count = max(1600, round(event.duration_s * RATE_HZ))
    shape = np.sin(np.pi * np.arange(count) / count) ** 0.5
    rattle = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(12, 30) * np.arange(count) / RATE_HZ)
    return 0.16 * event.strength * shape * rattle * _band_noise(rng, count, 200, 1600)


def _click(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """A knob snaps."""
    tick = _modes([rng.uniform(2500, 4200)], [0.006], [0.25 * event.strength], 0.05)
    wave = np.zeros(round(0.12 * RATE_HZ))
    _add_at(wave, tick, 0)
    _add_at(wave, 0.6 * tick, round(0.035 * RATE_HZ))
    return wave


def _hum(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """A stove is on: mains hum and a faint sizzle."""
    count = round(event.duration_s * RATE_HZ)
    time = np.arange(count) / RATE_HZ
    phase = event.at_s * 2 * np.pi
    wave = sum(np.sin(100 * k * (2 * np.pi * time + phase)) / k for k in (1, 2, 3, 5))
    sizzle = _band_noise(rng, max(count, 16), 3000, 7000)[:count]
    return event.strength * (0.012 * np.asarray(wave) + 0.012 * sizzle)


def _motor(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """Joint motors: a whine that rises and falls with the motion."""
    count = round(event.duration_s * RATE_HZ)
    shape = np.sin(np.pi * np.arange(count) / max(count, 1))
    hertz = rng.uniform(180, 320) * (1 + 0.6 * shape)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE_HZ
    return 0.03 * event.strength * shape * (np.sin(phase) + 0.5 * np.sin(2 * phase))


def _beep(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """Another machine in the room beeps."""
    count = round(rng.uniform(0.08, 0.4) * RATE_HZ)
    tone = np.sin(2 * np.pi * rng.uniform(600, 2500) * np.arange(count) / RATE_HZ)
    return 0.2 * event.strength * tone * np.hanning(count)


def _speech_like(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """Somebody talks in the next room: syllables of buzzing formants without words."""
    count = round(event.duration_s * RATE_HZ)
    time = np.arange(count) / RATE_HZ
    pitch = rng.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 3) * time))
    buzz = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / RATE_HZ)) * 0.5
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * time + rng.uniform(0, 6)), 0, 1)
    kernel = np.exp(-np.arange(40) / 8) * np.cos(np.arange(40) * rng.uniform(0.2, 0.6))
    return 0.05 * event.strength * np.convolve(buzz * syllables, kernel, 'same')


def _footstep(event: SoundEvent, rng: np.random.Generator) -> Wave:
    """A step on the floor: like a single soft thud."""
    noise = _band_noise(rng, 2400, 60, 300) * np.exp(-np.arange(2400) / 500)
    return 0.15 * event.strength * noise


VOICES: dict[str, Callable[[SoundEvent, np.random.Generator], Wave]] = {
    'impact': _impact,
    'thud': _thud,
    'latch': _latch,
    'slide': _slide,
    'click': _click,
    'hum': _hum,
    'motor': _motor,
    'beep': _beep,
    'speech': _speech_like,
    'footstep': _footstep,
}
DISTRACTORS = ('beep', 'speech', 'footstep', 'click')
