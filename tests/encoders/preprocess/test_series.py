"""Series as network input: forms, patches, masks, statistics, and what is no evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders.decode.series import WRENCH, Series
from encoders.modalities import SERIES
from encoders.model_sets.golden import golden_input
from encoders.preprocess import (
    config_from_dict,
    config_to_dict,
    from_stored,
    mini_config,
    objection,
    preprocess,
    remarks,
    to_stored,
)
from encoders.preprocess.mini.series import FORMS, SeriesConfig, with_statistics
from encoders.preprocess.mini.wrench import WrenchConfig
from tests.encoders.decode.series_messages import forces

TIMES_S = np.arange(-2.5, 0.0, 0.002)
FITTED = WrenchConfig(
    centre=(1.0, 2.0, 3.0, 0.1, 0.2, 0.3),
    scale=(4.0, 4.0, 4.0, 0.5, 0.5, 0.5),
    baseline=(0.0,) * 6,
    baseline_spread=(0.1, 0.1, 0.1, 0.01, 0.01, 0.01),
)


def series(values: np.ndarray, *, baseline: np.ndarray | None = None, frame: str = '') -> Series:
    return Series(values, TIMES_S[-len(values) :], WRENCH, baseline=baseline, frame_id=frame)


def split(inputs: torch.Tensor, config: SeriesConfig) -> dict[str, torch.Tensor]:
    """The parts of an input by form, `[C, steps]` each; and `mask`."""
    parts = inputs[..., :-2].unflatten(-1, (len(config.forms) + 1, config.patch))
    joined = parts.transpose(1, 2).flatten(2)
    return dict(zip((*config.forms, 'mask'), joined.unbind(1), strict=True))


@given(
    offset=st.lists(st.floats(-20, 20), min_size=6, max_size=6),
    seed=st.integers(0, 9),
)
def test_a_bias_changes_the_absolute_form_only(offset: list[float], seed: int) -> None:
    values, baseline = forces(TIMES_S, seed=seed), np.zeros(6)
    bias = np.array(offset) * np.array([1, 1, 1, 0.05, 0.05, 0.05])
    plain = preprocess(series(values, baseline=baseline), FITTED)[0]
    biased = preprocess(series(values + bias, baseline=baseline + bias), FITTED)[0]
    one, other = split(plain, FITTED), split(biased, FITTED)
    for form in ('tared', 'change', 'mask'):
        torch.testing.assert_close(one[form], other[form], atol=2e-4, rtol=0)
    torch.testing.assert_close(plain[..., -2:], biased[..., -2:], atol=2e-3, rtol=0)
    scale, centre = np.array(FITTED.scale), np.array(FITTED.centre)
    grid = to_stored(series(values + bias), FITTED)[1:].astype(np.float64)
    expected = np.clip((grid - centre) / scale, -6, 6).T
    np.testing.assert_allclose(other['absolute'], expected, atol=1e-3)


def test_without_a_baseline_the_start_of_the_window_takes_its_place() -> None:
    parts = split(preprocess(series(forces(TIMES_S)), FITTED)[0], FITTED)
    torch.testing.assert_close(parts['tared'], parts['change'])
    assert parts['change'][:, :5].abs().max() < 0.1


@pytest.mark.parametrize('forms', [FORMS, ('tared',), ('absolute', 'change')])
def test_the_forms_are_those_of_the_configuration(forms: tuple[str, ...]) -> None:
    config = replace(FITTED, forms=forms)
    values = forces(TIMES_S)
    inputs = preprocess(series(values, baseline=np.ones(6)), config)[0]
    assert tuple(inputs.shape) == (6, 25, 8 * (len(forms) + 1) + 2)
    every = split(preprocess(series(values, baseline=np.ones(6)), FITTED)[0], FITTED)
    for form, part in split(inputs, config).items():
        torch.testing.assert_close(part, every[form])


def test_roughness_shows_in_the_spread_of_differences() -> None:
    smooth = forces(TIMES_S)
    rough = smooth + np.where(np.arange(len(TIMES_S)) // 5 % 2, 1.0, -1.0)[:, None]
    one, other = (preprocess(series(values), FITTED)[0] for values in (smooth, rough))
    assert (other[:3, :, -1] - one[:3, :, -1]).min() > 0.5


@given(channel=st.integers(0, 5), first=st.integers(0, 24), seed=st.integers(0, 9))
def test_what_is_masked_is_zero_and_touches_no_other_channel(
    channel: int, first: int, seed: int
) -> None:
    values = forces(TIMES_S, seed=seed)
    whole = preprocess(series(values), FITTED)[0]
    holed = values.copy()
    holed[len(TIMES_S) - 1000 + 40 * first :, channel] = np.nan
    inputs, valid = preprocess(series(holed), FITTED)
    assert inputs.isfinite().all()
    others = [c for c in range(6) if c != channel]
    torch.testing.assert_close(inputs[others], whole[others])
    # A few steps are held; whole patches after those are empty.
    assert (inputs[channel, first + 2 :] == 0).all()
    assert valid == pytest.approx(1 - (25 - first) / 25 / 6, abs=0.02)


@pytest.mark.parametrize('name', SERIES)
def test_inputs_are_finite_and_limited_for_absurd_values(name: str) -> None:
    config = mini_config(name, {})
    raw = golden_input(name)
    for factor in (1e-300, 1e11, 1e200):
        inputs, _ = preprocess(replace(raw, values=raw.values * factor), config)
        assert inputs.isfinite().all()
        assert inputs.abs().max() <= 6


def test_another_robot_without_some_channels_is_masked_there() -> None:
    config = mini_config('joints', {})
    raw = golden_input('joints')
    kept = [i for i, name in enumerate(raw.channels) if not name.endswith('effort')]
    part = Series(raw.values[:, kept], raw.stamps_s, tuple(raw.channels[i] for i in kept))
    inputs, valid = preprocess(part, config)
    assert valid == pytest.approx(2 / 3)
    assert objection(part, config) is None
    assert len(remarks(part, config)) == 8
    assert (inputs[16:, :, :-2] == 0).all()


def test_statistics_of_training_are_stored_in_the_manifest() -> None:
    rng = np.random.default_rng(0)
    raws = [
        series(forces(TIMES_S, seed=k) * 3 + 5, baseline=rng.normal(5, 0.2, 6)) for k in range(8)
    ]
    stored = np.stack([to_stored(raw, WrenchConfig()) for raw in raws] + [np.zeros((201, 6))])
    config = with_statistics(WrenchConfig(), stored.astype(np.float32))
    parts = [split(preprocess(raw, config)[0], config)['absolute'] for raw in raws]
    assert torch.stack(parts).mean((0, 2)).abs().max() < 0.05
    assert (torch.stack(parts).std((0, 2)) - 1).abs().max() < 0.2
    assert np.allclose(config.baseline, 5, atol=0.3)
    assert with_statistics(config, stored * 9) is config
    assert config_from_dict('wrench', config_to_dict(config)) == config


def test_the_scale_of_a_relative_channel_is_that_of_its_changes() -> None:
    config = mini_config('joints', {})
    assert isinstance(config, SeriesConfig)
    raw = golden_input('joints')
    moved = [replace(raw, values=raw.values * 0.01 + pose) for pose in (-2.0, 0.0, 2.0)]
    stored = np.stack([to_stored(one, config) for one in moved])
    fitted = with_statistics(config, stored)
    arm, finger = (config.channels.index(f'{j}.position') for j in ('joint1', 'finger_joint'))
    assert fitted.scale[arm] < 0.1
    assert fitted.scale[finger] > 1
    one, other = (split(preprocess(m, fitted)[0], fitted) for m in (moved[0], moved[2]))
    assert (one['absolute'][arm] == 0).all()
    torch.testing.assert_close(one['change'][arm], other['change'][arm], atol=1e-3, rtol=0)
    assert (one['absolute'][finger] - other['absolute'][finger]).abs().min() > 1


@pytest.mark.parametrize(
    ('change', 'fault', 'reason'),
    [
        (lambda v: v[::100], 'rate', '5 Hz is too slow, expected at least 8'),
        (lambda v: v * np.array([0, 0, 0, 0, 1, 1]), 'masked', 'force.x is constant at 0; '),
        (lambda v: v * np.nan, 'masked', 'force.x has no finite value; force.y has no finite'),
        (lambda v: v[-300:], 'gap', 'only 0.6 of 2 s are known'),
    ],
)
def test_what_is_no_evidence(change: object, fault: str, reason: str) -> None:
    values = change(forces(TIMES_S))  # type: ignore[operator]
    times_s = TIMES_S[::100] if fault == 'rate' else TIMES_S[-len(values) :]
    found = objection(Series(values, times_s, WRENCH), FITTED)
    assert found is not None
    assert found.fault == fault
    assert found.reason.startswith(reason)


def test_a_channel_that_is_required_alone_makes_a_sample_no_evidence() -> None:
    values = forces(TIMES_S)
    values[:, 2] = 0.0
    assert objection(series(values), FITTED) is None
    found = objection(series(values), replace(FITTED, required=('force.z',)))
    assert found is not None
    assert found.reason == 'force.z is constant at 0'
    assert objection(series(values), replace(FITTED, required=('force.x',))) is None


def test_an_untared_sensor_and_another_frame_are_remarked() -> None:
    values = forces(TIMES_S)
    tared = series(values, baseline=np.zeros(6), frame='tool0')
    config = replace(FITTED, frame_id='tool0')
    assert remarks(tared, config) == []
    biased = series(values, baseline=np.array([0, 0, 12.0, 0, 0, 0]), frame='base')
    assert remarks(biased, config) == [
        'its frame is base, trained in tool0',
        'force.z is 12 where nothing acts, in training 0: tare the sensor',
    ]


@pytest.mark.parametrize(
    ('values', 'line'),
    [
        ({'channels': ()}, 'channels must be different names'),
        ({'channels': ('force.x', 'force.x')}, 'channels must be different names'),
        ({'channels': ('pressure',)}, "floor must be given, because the quantity of 'pressure'"),
        ({'scale': (1.0,)}, 'scale must have 6 values, not 1'),
        ({'scale': (0.0,) * 6}, 'must be positive'),
        ({'forms': ('tare',)}, 'forms must be some of'),
        ({'relative': ('elbow.position',)}, "must be channels, not 'elbow.position'"),
        ({'patch_ms': 4.0}, 'a patch of 4.0 ms must have a value'),
        ({'window_s': 0.05}, 'fit into the window'),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        mini_config('wrench', values)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r'must be an encoders.Series, not ndarray'):
        preprocess(np.zeros((5, 6)), FITTED)


def test_stored_series_give_the_same_inputs() -> None:
    raw = series(forces(TIMES_S), baseline=np.ones(6))
    stored = torch.from_numpy(to_stored(raw, FITTED))
    torch.testing.assert_close(from_stored(stored, FITTED), preprocess(raw, FITTED)[0])
    batch = from_stored(stored.expand(3, -1, -1), FITTED)
    torch.testing.assert_close(batch[2], preprocess(raw, FITTED)[0])
