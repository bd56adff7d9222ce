"""Which sensors know what a text says, where those of a set were calibrated on different facts.

A camera was never shown a rough surface, but "the surface is rough" is still a little like one of
the facts that it was calibrated on. The wrench knows a fact that is much more like it. Then the
text is foreign to the camera, which must not vote.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from encoders.model_sets.calibration import Calibration

# A fact of another sensor is known if one of the sensor's own is at least this similar: on the
# shipped sets, "something is held" next to "an object is held" has 0.93, "the cup is full" next to
# "the mug is in the basket" 0.59.
SAME_FACT = 0.7

Floats = NDArray[np.float32]


def is_foreign(
    own: Calibration, others: Iterable[Calibration], *, positive: Floats, negative: Floats
) -> bool:
    """Whether a fact that only other sensors know is nearer to a text than all known ones.

    Args:
        own: The calibration of some sensors, a single part.
        others: Calibrations of a set, in single parts; those of the same sensors are ignored.
        positive: Mean positive sentence, `[D]`.
        negative: Mean negative sentence, `[D]`.
    """
    foreign = [facts for other in others if (facts := _foreign_facts(own, other)) is not None]
    if not foreign:
        return False
    nearest = own.facts_like(positive, negative).nearest
    return any(facts.facts_like(positive, negative).nearest > nearest for facts in foreign)


@lru_cache(maxsize=64)
def _foreign_facts(own: Calibration, other: Calibration) -> Calibration | None:
    """The facts of another calibration that are unlike all of one's own; None without any."""
    if own.positives is None or other.positives is None or other.negatives is None:
        return None  # contrasts alone do not tell how alike two facts are
    if set(own.modalities) & set(other.modalities):
        return None
    sides = zip(other.positives, other.negatives, strict=True)
    unlike = [own.facts_like(*pair).nearest < SAME_FACT for pair in sides]
    return other.only(np.array(unlike)) if any(unlike) else None
