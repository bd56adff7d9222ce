from __future__ import annotations

import pytest

from encoders.predicates.metrics import auroc, average_precision, change_delays_s


def test_perfect_reversed_and_one_sided() -> None:
    assert auroc([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == 1.0
    assert auroc([0, 0, 1, 1], [0.9, 0.8, 0.2, 0.1]) == 0.0
    assert auroc([1, 1], [0.1, 0.2]) is None
    assert average_precision([0, 0], [0.1, 0.2]) is None
    assert average_precision([0, 1], [0.1, 0.2]) == 1.0


def test_delays_count_from_each_change_that_is_followed() -> None:
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    truth = [False, True, True, True, False, True]
    states = [False, False, False, True, True, True]
    assert change_delays_s(times, truth, states) == pytest.approx([0.2, 0.0])
