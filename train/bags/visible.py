"""Which facts are about things that the camera does not see at that moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from train.bags.samples import Samples
from train.phrasings import Fact

# Fewer of the 64 x 64 cells than this do not show a thing.
MIN_VISIBLE_CELLS = 4


def hidden_facts(samples: Samples) -> NDArray[np.bool_]:
    """Facts with an argument that is in the scene but not in view, bool `[N, P]`.

    A bag without `ground_truth/regions` has no hidden facts, and an argument without a region
    (`something`) is never hidden. The regions are those of the fixed camera.

    Args:
        samples: Samples of one bag, as their `region_names` must be those of that bag alone.
    """
    seen = visible_parts(samples)
    hidden = np.zeros(samples.truth.shape, bool)
    for column, predicate in enumerate(samples.predicates):
        for argument in Fact.parse(predicate).arguments:
            if argument in samples.region_names:
                hidden[:, column] |= ~seen[:, samples.region_names.index(argument)]
    return hidden


def visible_parts(samples: Samples) -> NDArray[np.bool_]:
    """Whether each named part of the scene is in view, bool `[N, V]`.

    A sample without regions, of which no cell has a name, shows all parts.
    """
    count = len(samples.region_names)
    cells = np.stack(
        [(samples.regions == 1 + part).sum(axis=(1, 2)) for part in range(count)]
        or [np.zeros(len(samples))],
        axis=1,
    )[:, :count]
    unknown = ~np.asarray(samples.regions.any(axis=(1, 2)), bool)[:, None]
    return np.asarray((cells >= MIN_VISIBLE_CELLS) | unknown, bool)
