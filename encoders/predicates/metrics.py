"""Accuracy of scores and states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score


def auroc(truth: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the ROC curve; None without both positives and negatives."""
    labels = np.asarray(truth, bool)
    if labels.all() or not labels.any():
        return None
    return float(roc_auc_score(labels, np.asarray(scores)))


def average_precision(truth: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the precision-recall curve; None without both positives and negatives."""
    labels = np.asarray(truth, bool)
    if labels.all() or not labels.any():
        return None
    return float(average_precision_score(labels, np.asarray(scores)))


def change_delays_s(
    times_s: Sequence[float], truth: Sequence[bool], states: Sequence[bool | None]
) -> list[float]:
    """Seconds from each change of the ground truth until the state agrees with it.

    A change that the state does not follow before the next change has no delay.

    Args:
        times_s: Time of each sample, ascending.
        truth: Ground truth of each sample.
        states: State at each sample; None for UNKNOWN.
    """
    delays = []
    for index in range(1, len(times_s)):
        if truth[index] == truth[index - 1]:
            continue
        for later in range(index, len(times_s)):
            if truth[later] != truth[index]:
                break
            if states[later] == truth[index]:
                delays.append(times_s[later] - times_s[index])
                break
    return delays
