"""Infrared pictures that show no temperatures: found, not calibrated, without a vote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoders import Binder, ImageOptions, PredicateBank, load_predicates
from encoders.decode import temperature_objection
from encoders.predicates.scoring import Scoring
from encoders.predicates.tracker import State
from encoders.preprocess import objection
from encoders.preprocess.languagebind import infrared as languagebind
from encoders.preprocess.mini.infrared import InfraredConfig

PREDICATES = """
predicates:
  hot:
    positive: [the stove is hot]
    negative: [the stove is cold]
    modalities: [infrared]
    threshold_on: 0.5
    threshold_off: 0.49999
    dwell_ms: 0
  open:
    positive: [the drawer is open]
    negative: [the drawer is closed]
"""
EIGHT_BIT = '8-bit picture, not a temperature'


def scene(*, ambient_k: float = 295.0, hot_k: float = 380.0, seed: int = 0) -> NDArray[np.uint16]:
    """Centikelvin `[120, 160]` of a room with a hot plate."""
    rng = np.random.default_rng(seed)
    kelvin = rng.normal(ambient_k, 0.3, (120, 160))
    kelvin[40:60, 70:100] = rng.normal(hot_k, 1.0, (20, 30))
    return np.clip(100 * kelvin, 0, 65_535).astype(np.uint16)


def stretched(counts: NDArray[Any], top: int, kind: Any) -> NDArray[Any]:
    low, high = float(counts.min()), float(counts.max())
    return np.round((counts - low) / (high - low) * top).astype(kind)


def equalised(counts: NDArray[Any], top: int, kind: Any) -> NDArray[Any]:
    order = counts.ravel().argsort().argsort().reshape(counts.shape)
    return (order * (top / order.max())).astype(kind)


NOT_TEMPERATURES: dict[str, NDArray[Any]] = {
    'automatic gain to 8 bits': stretched(scene(), 255, np.uint8),
    'automatic gain to 14 bits': stretched(scene(), 16383, np.uint16),
    'automatic gain to 16 bits': stretched(scene(), 65535, np.uint16),
    'automatic gain without a hot object': stretched(scene(hot_k=295), 65535, np.uint16),
    'automatic gain around a cold pixel': stretched(
        np.where(np.arange(160) + np.arange(120)[:, None] == 0, 20_000, scene()), 65535, np.uint16
    ),
    'histogram equalised to 8 bits': equalised(scene(), 255, np.uint8),
    'histogram equalised to 16 bits': equalised(scene(), 65535, np.uint16),
    '8 bits shifted to 16': stretched(scene(), 255, np.uint16) << 8,
    '8 bits repeated to 16': (stretched(scene(), 200, np.uint16) + 40) * 257,
    'raw Lepton counts': (scene() / 100 * 27).astype(np.uint16),
    'degrees Celsius': (scene() / 100 - 273.15).astype(np.uint16),
    'degrees Fahrenheit': (scene() / 100 * 1.8 - 459.67).astype(np.uint16),
    'tenths of a kelvin': (scene() / 10).astype(np.uint16),
    'Optris': ((scene() / 100 - 173.15) * 10).astype(np.uint16),
    'everything beyond the scale': np.full((120, 160), 65535, np.uint16),
}


@pytest.mark.parametrize('name', NOT_TEMPERATURES)
def test_a_picture_without_temperatures_is_found(name: str) -> None:
    found = temperature_objection(NOT_TEMPERATURES[name])
    assert found is not None
    assert found.reason in found.line and found.remedy in found.line
    assert objection(NOT_TEMPERATURES[name], InfraredConfig()) == found


@pytest.mark.parametrize(
    ('name', 'says'),
    [
        ('automatic gain to 8 bits', 'mono16'),
        ('automatic gain to 16 bits', 'automatic gain'),
        ('raw Lepton counts', 'TLinear'),
        ('degrees Celsius', '1.0 and 273.15 for degrees Celsius'),
        ('degrees Fahrenheit', 'for degrees Fahrenheit'),
        ('tenths of a kelvin', '0.1 and 0.0 for tenths of a kelvin'),
        ('Optris', '0.1 and 173.15 for'),
    ],
)
def test_the_remedy_names_what_to_set(name: str, says: str) -> None:
    found = temperature_objection(NOT_TEMPERATURES[name])
    assert found is not None and says in found.remedy


@given(
    ambient_k=st.floats(245, 400),
    hot_k=st.floats(200, 640) | st.just(700.0),
    dead=st.integers(0, 40),
    step=st.sampled_from([1, 4, 10, 40]),
    seed=st.integers(0, 1 << 30),
)
def test_counts_of_any_ordinary_scene_are_temperatures(
    ambient_k: float, hot_k: float, dead: int, step: int, seed: int
) -> None:
    """Also with dead pixels, a saturated object, and the coarse steps of low gain."""
    counts = scene(ambient_k=ambient_k, hot_k=hot_k, seed=seed) // step * step
    counts[counts > 65_000] = 65_535
    counts.ravel()[np.random.default_rng(seed).permutation(counts.size)[:dead]] = 0
    assert temperature_objection(counts) is None


@given(
    st.floats(260, 330),
    st.floats(0.5, 300),
    st.integers(0, 1 << 30),
    st.sampled_from([255, 16383]),
)
def test_a_stretched_scene_is_never_a_temperature(
    ambient_k: float, warmer_k: float, seed: int, top: int
) -> None:
    counts = scene(ambient_k=ambient_k, hot_k=ambient_k + warmer_k, seed=seed)
    kind = np.uint8 if top == 255 else np.uint16
    assert temperature_objection(stretched(counts, top, kind)) is not None
    assert temperature_objection(stretched(counts, 65535, np.uint16)) is not None


def test_the_reason_names_the_declared_kind() -> None:
    grey = np.full((8, 8), 90, np.uint8)
    near = temperature_objection(grey, ImageOptions(infrared_kind='near_infrared'))
    raw = temperature_objection(grey, ImageOptions(kelvin_per_count=0.0))
    assert near is not None and near.reason == 'near infrared, not a temperature'
    assert raw is not None and raw.reason == 'counts declared as no temperature'


def test_a_factor_that_does_not_fit_is_named() -> None:
    options = ImageOptions(kelvin_per_count=0.1)
    found = temperature_objection(np.full((8, 8), 65_000, np.uint16), options)
    assert found is not None and 'now 0.1 and 0.0' in found.remedy


def test_an_encoder_that_reads_no_temperatures_takes_any_picture() -> None:
    grey, counts = NOT_TEMPERATURES['automatic gain to 8 bits'], NOT_TEMPERATURES['Optris']
    for raw in (grey, counts):
        assert objection(raw, languagebind.InfraredConfig()) is None
    fixed = languagebind.InfraredConfig(stretch='fixed', low=1000, high=3000)
    assert objection(counts, fixed) is None  # the user has set what counts mean
    found = objection(grey, fixed)
    assert found is not None and found.reason == EIGHT_BIT


@pytest.fixture(scope='module')
def bank(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> PredicateBank:
    file = tmp_path_factory.mktemp('predicates') / 'predicates.yaml'
    file.write_text(PREDICATES)
    return PredicateBank(load_predicates(file), Binder.load(tiny_model_set))


def test_embedded_samples_report_what_is_no_evidence(bank: PredicateBank) -> None:
    raw = [scene(), stretched(scene(), 255, np.uint8)]
    found = bank.binder.embed(infrared=raw, depth=[np.full((8, 8), 900, np.uint16)])
    assert found.invalid == {'infrared': ('', EIGHT_BIT)}
    assert {name: rows.shape for name, rows in found.items()} == {
        'infrared': (2, 384),
        'depth': (1, 384),
    }
    assert not bank.binder.embed(infrared=scene()).invalid


def test_an_8_bit_image_does_not_vote(bank: PredicateBank) -> None:
    hot, opened = bank.score(bank.binder.embed(infrared=stretched(scene(), 255, np.uint8)))
    assert (hot.fused, hot.can_tell, hot.calibrated) == (0.5, False, False)
    assert hot.probability == {'infrared': 0.5}
    assert f'infrared: {EIGHT_BIT}' in hot.reasons
    assert f'infrared: {EIGHT_BIT}' in opened.reasons and not opened.can_tell
    hot, _ = bank.score(bank.binder.embed(infrared=scene()))
    assert hot.can_tell and not [r for r in hot.reasons if 'infrared' in r]


def test_the_other_sensors_still_vote(bank: PredicateBank) -> None:
    depth = np.full((8, 8), 900, np.uint16)
    alone = bank.score(bank.binder.embed(depth=depth))[1]
    both = bank.score(bank.binder.embed(depth=depth, infrared=stretched(scene(), 255, np.uint8)))[
        1
    ]
    assert both.fused == pytest.approx(alone.fused, abs=1e-5)
    assert both.can_tell


def test_a_second_camera_with_temperatures_votes_alone(bank: PredicateBank) -> None:
    raw = [scene(), stretched(scene(), 255, np.uint8)]
    both = bank.score(bank.binder.embed(infrared=raw), ages_ms={'infrared': [10.0, 0.0]})[0]
    alone = bank.score(bank.binder.embed(infrared=raw[0]))[0]
    assert both.fused == pytest.approx(alone.fused, abs=1e-5)
    assert f'infrared (1 of 2): {EIGHT_BIT}' in both.reasons


def test_reasons_must_fit_the_sensors(bank: PredicateBank) -> None:
    vectors = bank.binder.embed(infrared=scene())
    with pytest.raises(ValueError, match='infrared: 2 reasons for 1 sensors'):
        bank.score(vectors, invalid={'infrared': ['', EIGHT_BIT]})


def test_a_state_becomes_unknown_and_comes_back(bank: PredicateBank) -> None:
    scoring = Scoring(bank)
    vector = bank.binder.embed(infrared=scene())['infrared'][0]

    def state_after(stamp_ms: int, invalid_reason: str) -> Any:
        scoring.receive(
            'infrared',
            vector,
            stamp_ns=stamp_ms * 1_000_000,
            space=bank.space,
            invalid_reason=invalid_reason,
        )
        return scoring.evaluate(stamp_ms * 1_000_000).states['hot']

    assert state_after(1000, '').state is not State.UNKNOWN
    lost = state_after(1100, EIGHT_BIT)
    assert lost.state is State.UNKNOWN and EIGHT_BIT in lost.reason
    for at_ns, reason in ((1_050_000_000, ''), (1_100_000_000, EIGHT_BIT)):
        (evidence,) = scoring.at(at_ns, max_age_ms=1000).evidence['infrared']
        assert evidence.invalid_reason == reason
    assert state_after(1200, '').state is not State.UNKNOWN
