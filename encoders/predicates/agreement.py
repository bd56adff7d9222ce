"""Whether what a calibration knows about a text agrees with the text itself.

A text tower hardly reads "not", and places a plural or a rare synonym by other words than the one
that matters: "the drawers are open" is next to facts about closed drawers. Its negative sentence
shows that: both are then on the same side of what the calibration knows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.model_sets.calibration import ANCHOR_SCALE, ANCHORS, Calibration, Facts
from encoders.predicates.predicate import Predicate, deny, is_negated

# Cosine by which a sentence must be nearer to a fact than to its opposite where its negative is
# itself with a "not", which says nothing.
MARGIN = 0.08

Floats = NDArray[np.float32]


def agrees(
    calibration: Calibration, predicate: Predicate, said: Floats, denied: Floats, contrast: Floats
) -> bool:
    """Whether positive and negative sentences are on different sides of the facts next to them.

    Args:
        calibration: Facts with their sentences; without these nothing can disagree.
        predicate: The sentences.
        said: The mean positive sentence `[D]`, unit length.
        denied: All negative sentences `[K, D]`, unit rows.
        contrast: From the negative to the positive sentences `[D]`, unit length.
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
    """The contrast of the facts that are next to a sentence, and by how much they are nearer.

    Both compare with the opposites of the facts.
    """
    similarity = facts.said @ sentence
    nearest = np.argsort(-similarity, kind='stable')[:ANCHORS]
    share = np.exp((similarity[nearest] - similarity[nearest[0]]) / ANCHOR_SCALE)
    count = len(similarity) // 2
    opposite = (nearest[0] + count) % (2 * count)
    return share @ facts.contrasts[nearest], float(similarity[nearest[0]] - similarity[opposite])
