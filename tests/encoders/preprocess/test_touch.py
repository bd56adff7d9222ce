"""Tactile images, and that a modality is a record and a module."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders import MODALITIES, SENSED, STANDARD
from encoders.model_sets.golden import golden_input
from encoders.preprocess import (
    config_from_dict,
    config_to_dict,
    from_stored,
    is_series,
    mini_config,
    preprocess,
    stored_form,
    to_stored,
)
from encoders.preprocess.mini.touch import ZERO, TouchConfig, reference_of

MINI = [name for name in MODALITIES if find_spec(f'encoders.preprocess.mini.{name}')]


def lit_gel(rows: int, columns: int) -> np.ndarray:
    """A gel lit from one side, in three colours."""
    across = np.linspace(60, 180, columns)[None, :, None]
    gel = np.broadcast_to(across + np.array([0, 20, 40]), (rows, columns, 3))
    return gel.astype(np.uint8)


@given(rows=st.integers(8, 300), columns=st.integers(8, 300))
def test_an_untouched_gel_is_zero_in_any_light_and_size(rows: int, columns: int) -> None:
    gel = lit_gel(rows, columns)
    config = TouchConfig(size=64, reference=reference_of([gel]))
    inputs, valid = preprocess(gel, config)
    assert inputs.shape == (3, 64, 64)
    assert valid == 1.0
    inner = inputs[:, :, 8:-8] * config.std * 255  # the grid's outermost half cells are flat
    assert inner.abs().max() < 12


def test_a_press_shows_where_the_gel_is_pressed() -> None:
    gel = lit_gel(120, 160)
    config = TouchConfig(size=64, reference=reference_of([gel, gel]))
    pressed = gel.copy()
    pressed[30:60, 40:80] += 50
    inputs = preprocess(pressed, config)[0] * config.std * 255
    assert inputs[:, 18:30, 18:30].mean() == pytest.approx(50, abs=4)
    assert inputs[:, 40:, 40:56].abs().mean() < 4


def test_without_a_reference_the_median_colour_is_the_untouched_gel() -> None:
    gel = np.full((40, 60, 3), (90, 120, 150), np.uint8)
    gel[:10, :10] = 200
    stored = to_stored(gel, TouchConfig(size=20))
    assert stored[-1, -1].tolist() == [ZERO] * 3
    assert stored[0, 0].tolist() == [ZERO + 55, ZERO + 40, ZERO + 25]


@pytest.mark.parametrize('raw', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_other_arrays_are_refused(raw: np.ndarray) -> None:
    with pytest.raises(ValueError, match='tactile image must be'):
        preprocess(raw, TouchConfig())


def test_a_reference_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match='192 values, not 3'):
        TouchConfig(reference=(1, 2, 3))
    with pytest.raises(ValueError, match='at least one'):
        reference_of([])


def test_a_manifest_keeps_the_reference() -> None:
    config = mini_config('touch', {'reference': list(reference_of([lit_gel(20, 20)]))})
    assert config_from_dict('touch', config_to_dict(config)) == config


@pytest.mark.parametrize('name', MINI)
def test_every_modality_of_mini_keeps_the_same_rules(name: str) -> None:
    config = mini_config(name, {})
    raw = golden_input(name)
    inputs, valid = preprocess(raw, config)
    stored = to_stored(raw, config)
    assert (stored.shape, stored.dtype) == stored_form(config)
    channels = len(config.channels) if is_series(config) else 3
    assert tuple(inputs.shape) == (channels, *config.input_size)
    assert 0.0 <= valid <= 1.0
    again = from_stored(torch.from_numpy(stored.astype(np.float32)), config)
    torch.testing.assert_close(again, inputs, atol=2e-2, rtol=0)


def test_touch_runs_where_it_is_named_and_nowhere_else() -> None:
    assert 'touch' in SENSED
    assert 'touch' not in STANDARD
