"""Statistics of a window of a series, against NumPy on its grid."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.decode.series import WRENCH, Series
from encoders.preprocess import preprocess, statistics_of, to_stored
from encoders.preprocess.mini.depth import DepthConfig
from encoders.preprocess.mini.wrench import WrenchConfig
from tests.encoders.decode.series_messages import forces

TIMES_S = np.arange(-2.5, 0.0, 0.002)
CONFIG = WrenchConfig(
    centre=(1.0, 2.0, 3.0, 0.1, 0.2, 0.3), scale=(40.0, 40.0, 40.0, 5.0, 5.0, 5.0)
)


def statistics(values: np.ndarray) -> np.ndarray:
    """By channel, `[6, K]`."""
    inputs = preprocess(Series(values, TIMES_S, WRENCH, baseline=np.ones(6)), CONFIG)[0]
    found = statistics_of(inputs[None], CONFIG)
    assert found is not None and found.dtype == np.float32
    return found[0].reshape(6, -1)


def test_they_are_means_extremes_and_spreads_of_the_scaled_channels() -> None:
    values = forces(TIMES_S, seed=3)
    found = statistics(values)
    grid = to_stored(Series(values, TIMES_S, WRENCH), CONFIG)[1:].astype(np.float64)
    absolute = (grid - CONFIG.centre) / CONFIG.scale
    change = (grid - grid[:5].mean(axis=0)) / CONFIG.scale
    parts = np.stack([part.mean(axis=0) for part in np.split(absolute, 4)], axis=1)
    # Of each part of the window, the forms are next to each other; the first is the absolute one.
    np.testing.assert_allclose(found[:, 0:12:3], parts, atol=1e-4)
    np.testing.assert_allclose(found[:, 12], change.min(axis=0), atol=1e-4)
    np.testing.assert_allclose(found[:, 13], change.max(axis=0), atol=1e-4)
    np.testing.assert_allclose(found[:, 14], change.std(axis=0), atol=1e-4)


def test_what_is_masked_does_not_count() -> None:
    values = forces(TIMES_S, seed=4)
    dead = values.copy()
    dead[:, 2] = np.nan
    found, whole = statistics(dead), statistics(values)
    assert np.isfinite(found).all()
    assert not found[2, :15].any()
    np.testing.assert_array_equal(np.delete(found, 2, axis=0), np.delete(whole, 2, axis=0))


@pytest.mark.parametrize('faster', [4.0, 20.0])
def test_shaking_shows_in_the_spreads(faster: float) -> None:
    still = forces(TIMES_S, seed=5)
    shaken = still + 3.0 * np.sin(2 * np.pi * faster * TIMES_S)[:, None]
    assert (statistics(shaken)[:3, 14:] > statistics(still)[:3, 14:] + 0.01).all()


def test_pictures_have_none() -> None:
    depth = preprocess(np.full((64, 64), 900, np.uint16), DepthConfig(size=64))[0]
    assert statistics_of(depth[None], DepthConfig(size=64)) is None
