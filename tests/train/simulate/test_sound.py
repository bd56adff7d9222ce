"""Synthetic sound follows from events: repeatable, seamless, and a drop is not a shut."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from train.simulate.sound import DISTRACTORS, RATE_HZ, VOICES, synthesise
from train.simulate.world import SoundEvent

pytestmark = pytest.mark.sim

SEED = 3


def wave_of(
    *events: SoundEvent, start_s: float = 0.0, duration_s: float = 2.0, seed: int = SEED
) -> NDArray[np.int64]:
    wave = synthesise(events, start_s=start_s, duration_s=duration_s, seed=seed)
    return wave.astype(np.int64)


def heard(
    event: SoundEvent, *, start_s: float = 0.0, duration_s: float = 2.0, seed: int = SEED
) -> NDArray[np.int64]:
    """What an event adds to the room, int64 `[samples]` in 16-bit units."""
    room = wave_of(start_s=start_s, duration_s=duration_s, seed=seed)
    return wave_of(event, start_s=start_s, duration_s=duration_s, seed=seed) - room


def test_wave_is_16_bit_pcm_of_the_asked_length() -> None:
    wave = synthesise([], start_s=5.0, duration_s=0.7, seed=SEED)
    assert wave.dtype == np.int16
    assert wave.shape == (round(0.7 * RATE_HZ),)


def test_room_is_never_digitally_silent() -> None:
    assert np.abs(wave_of()).max() > 0


def test_equal_seeds_sound_equal_and_others_do_not() -> None:
    event = SoundEvent('impact', 0.4, 0.8, source='plate_1')
    assert np.array_equal(wave_of(event), wave_of(event))
    assert not np.array_equal(wave_of(event), wave_of(event, seed=SEED + 1))


@pytest.mark.parametrize('kind', sorted(VOICES))
def test_every_voice_is_heard_from_its_time_on(kind: str) -> None:
    added = heard(SoundEvent(kind, 0.5, 1.0, 0.8, 'plate_1'))
    at = RATE_HZ // 2
    assert not added[:at].any()
    assert np.abs(added[at:]).max() > 100


@pytest.mark.parametrize('kind', ['impact', 'thud', 'slide', 'motor', 'hum'])
def test_stronger_events_are_louder(kind: str) -> None:
    weak, strong = (heard(SoundEvent(kind, 0.1, s, 0.5, 'plate_1')) for s in (0.2, 0.6))
    assert np.square(strong).sum() > 4 * np.square(weak).sum()


def test_distractors_are_voices_and_mean_no_event() -> None:
    assert set(DISTRACTORS) <= set(VOICES)
    assert not {'impact', 'thud', 'latch', 'slide'} & set(DISTRACTORS)


def test_windows_join_without_a_seam() -> None:
    event = SoundEvent('slide', 0.6, 1.0, 0.9)
    whole = heard(event)
    halves = [heard(event, start_s=start_s, duration_s=1.0) for start_s in (0.0, 1.0)]
    # Each window is rounded to 16 bits together with its own room noise.
    assert np.abs(np.concatenate(halves) - whole).max() <= 2
    assert np.abs(halves[1]).max() > 100


def test_event_outside_the_window_is_not_heard() -> None:
    for at_s in (-3.0, 2.5):
        assert not heard(SoundEvent('thud', at_s, 1.0)).any()


def test_loud_sums_are_clipped_not_wrapped() -> None:
    events = [SoundEvent('impact', 0.2, 1.0, source='plate_1')] * 20
    wave = wave_of(*events)
    assert wave.max() == 32767
    assert wave.min() == -32767
    one = wave_of(events[0])
    loud = np.abs(one) > 3000
    assert np.array_equal(np.sign(wave[loud]), np.sign(one[loud]))


def test_unknown_voice_is_an_error() -> None:
    with pytest.raises(KeyError, match='applause'):
        wave_of(SoundEvent('applause', 0.1, 1.0))


def test_same_thing_rings_at_the_same_pitch_each_time() -> None:
    peaks = {
        loudest_hz(heard(SoundEvent('impact', 0.3, 1.0, source='plate_1'), seed=seed))
        for seed in range(6)
    }
    others = {
        loudest_hz(heard(SoundEvent('impact', 0.3, 1.0, source=f'thing_{n}'))) for n in range(6)
    }
    assert max(peaks) - min(peaks) < 5
    assert max(others) - min(others) > 100


def loudest_hz(wave: NDArray[np.int64]) -> float:
    spectrum = np.abs(np.fft.rfft(wave))
    return float(np.fft.rfftfreq(len(wave), 1 / RATE_HZ)[spectrum.argmax()])


def low_share(wave: NDArray[np.int64]) -> float:
    """Share of the energy below 450 Hz."""
    power = np.square(np.abs(np.fft.rfft(wave)))
    return float(power[np.fft.rfftfreq(len(wave), 1 / RATE_HZ) < 450].sum() / power.sum())


@pytest.mark.parametrize('seed', range(8))
def test_drop_and_shut_differ_in_pitch(seed: int) -> None:
    drop = heard(SoundEvent('impact', 0.5, 0.7, source=f'thing_{seed}'), seed=seed)
    shut = heard(SoundEvent('thud', 0.5, 0.7), seed=seed)
    assert low_share(drop) < 0.4 < 0.8 < low_share(shut)
