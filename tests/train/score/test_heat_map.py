"""Heat maps cover what the encoder saw, and mark the peak."""

from __future__ import annotations

import numpy as np
import pytest

from train.score.heat_map import covered, draw_heat


@pytest.mark.parametrize('size', [(48, 64), (64, 48), (240, 240), (7, 300)])
@pytest.mark.parametrize('central_square', [False, True])
def test_heat_appears_at_its_cell_and_nowhere_else(
    size: tuple[int, int], central_square: bool
) -> None:
    picture = np.full((*size, 3), (40, 120, 200), np.uint8)
    attention = np.zeros((12, 12), np.float32)
    attention[2, 9] = 0.7
    drawn = draw_heat(picture, attention, central_square=central_square)
    assert drawn.shape == picture.shape
    top, left, height, width = covered(size, central_square=central_square)
    peak = drawn[int(top + 2.5 / 12 * height), int(left + 9.5 / 12 * width)]
    assert peak.std() > 10 or peak.max() > 200
    far = drawn[int(top + 0.8 * height), int(left + 0.2 * width)]
    assert far.std() == 0  # grey


def test_even_attention_colours_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    drawn = draw_heat(picture, np.full((14, 14), 1 / 196, np.float32))
    assert (drawn == drawn[..., :1]).all()
