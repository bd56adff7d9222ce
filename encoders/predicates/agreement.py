"""Checks whether the calibrated facts near a text agree with the text.

A text tower hardly represents "not", and may place a plural or a rare synonym by its other words:
"the drawers are open" is next to facts about closed drawers. The negative sentence reveals this:
both sentences are then on the same side of the nearest facts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.model_sets.anchors import ANCHOR_SCALE, ANCHORS, Facts
from encoders.model_sets.calibration import Calibration
from encoders.predicates.predicate import Predicate, deny, is_negated

# Cosine by which a sentence must be nearer to a fact than to its opposite if its negative sentence
# only adds a "not" and is therefore not informative.
MARGIN = 0.08

Floats = NDArray[np.float32]


def agrees(
    calibration: Calibration, predicate: Predicate, said: Floats, denied: Floats, contrast: Floats
) -> bool:
    """Return whether positive and negative sentences are on different sides of the nearest facts.

    Args:
        calibration: Facts with their sentences; without sentences the result is True.
        predicate: The sentences.
        said: Mean vector of the positive sentences `[D]`, unit length.
        denied: Vectors of all negative sentences `[K, D]`, unit rows.
        contrast: Direction from the negative to the positive sentences `[D]`, unit length.
    """
    if calibration.positives is None:
        return True
    facts = calibration.facts
    towards, margin = _known(said, facts)
    yes, no = predicate.sentences
    if not any(map(is_negated, predicate.positive)) and set(no) <= set(map(deny, yes)):
        return margin > MARGIN
    opposite = any(float(towards @ _known(row, facts)[0]) < 0 for row in denied)
    return opposite and float(towards @ contrast) > 0


def _known(sentence: Floats, facts: Facts) -> tuple[Floats, float]:
    """Return the contrast of the facts nearest to a sentence, and the margin to their opposites.

    The margin is a difference of cosines.
    """
    similarity = facts.said @ sentence
    nearest = np.argsort(-similarity, kind='stable')[:ANCHORS]
    share = np.exp((similarity[nearest] - similarity[nearest[0]]) / ANCHOR_SCALE)
    count = len(similarity) // 2
    opposite = (nearest[0] + count) % (2 * count)
    return share @ facts.contrasts[nearest], float(similarity[nearest[0]] - similarity[opposite])
