"""Smoothing of sentences towards the facts of a calibration.

Encoders learned the directions of these facts; the text tower places other wordings of the same
fact at some distance from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Share by which a contrast is moved towards the prototypes: nothing below a similarity to the
# nearest of ANCHOR_FROM, all of ANCHOR_SHARE from ANCHOR_FULL on. ANCHOR_SCALE is the temperature
# of their weights, ANCHORS their number.
ANCHOR_SHARE = 0.8
ANCHOR_FROM, ANCHOR_FULL = 0.5, 0.65
ANCHOR_SCALE = 0.02
ANCHORS = 16
# Up to so many texts NumPy is as fast as SciPy's sparse matrices, whose import takes 8 MB.
FEW_TEXTS = 256

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Facts:
    """The prototypes of a calibration: its `N` facts, then their `N` opposites.

    Attributes:
        said: float32 `[2N, D]`, unit rows: prompt embeddings, the mean sentence of each.
        contrasts: float32 `[2N, D]`, unit rows; that of an opposite is the negated contrast of its
            fact.
    """

    said: Floats
    contrasts: Floats

    @classmethod
    def of(cls, positives: Floats, negatives: Floats, contrasts: Floats) -> Facts:
        """Build from mean positive and negative sentences and contrasts, `[N, D]` each."""
        both = np.concatenate([positives, negatives])
        return cls(both, np.concatenate([contrasts, -contrasts]))


@dataclass(frozen=True, slots=True)
class Anchors:
    """Smoothing of `P` text contrasts towards up to `K` prototypes each.

    The smoothed contrast of a row is `own * contrast + share @ facts.contrasts[nearest]`, of unit
    length.

    Attributes:
        own: Weight of the contrast itself, float32 `[P]`; 1 if no prototype is similar.
        share: Weights of the prototypes, float32 `[P, K]`.
        nearest: Rows of `Facts`, int64 `[P, K]`.
    """

    own: Floats
    share: Floats
    nearest: NDArray[np.int64]


def anchors_of(said: Floats, contrasts: Floats, facts: Facts) -> Anchors:
    """Smoothing of texts, given their sentences and contrasts, `[P, D]`, unit rows."""
    similarity = said @ facts.said.T
    count = min(ANCHORS, len(facts.said))
    nearest = np.argsort(-similarity, axis=1, kind='stable')[:, :count].astype(np.int64)
    near = np.take_along_axis(similarity, nearest, axis=1)
    share = np.exp((near - near[:, :1]) / ANCHOR_SCALE)
    known = np.einsum('pk,pkd->pd', share, facts.contrasts[nearest])
    ramp = (near[:, :1] - ANCHOR_FROM) / (ANCHOR_FULL - ANCHOR_FROM)
    moved = ANCHOR_SHARE * np.clip(ramp, 0.0, 1.0)
    scale = moved / np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-6)
    own = 1.0 - moved
    length = np.linalg.norm(own * contrasts + scale * known, axis=1, keepdims=True)
    share *= scale / length
    return Anchors((own / length)[:, 0].astype(np.float32), share.astype(np.float32), nearest)


def anchored(said: Floats, contrasts: Floats, facts: Facts) -> Floats:
    """Text contrasts `[P, D]` smoothed towards prototypes, unit length; see `anchors_of`."""
    anchors = anchors_of(said, contrasts, facts)
    known = np.einsum('pk,pkd->pd', anchors.share, facts.contrasts[anchors.nearest])
    return np.asarray(anchors.own[:, None] * contrasts + known, np.float32)


def sparse_shares(
    anchors: Sequence[Anchors],
) -> tuple[NDArray[np.int64], Callable[[Floats], Floats]]:
    """The used rows of `Facts`, `[U]`, and a function that weights values of these rows.

    The function maps values `[S, U]` to the weighted sums of each text, `[S, P]`.
    """
    share = np.concatenate([one.share for one in anchors])
    nearest = np.concatenate([one.nearest for one in anchors])
    used, places = np.unique(nearest, return_inverse=True)
    places = places.reshape(nearest.shape)
    if len(share) <= FEW_TEXTS:
        return used, lambda values: np.einsum('pk,spk->sp', share, values[:, places])
    from scipy.sparse import csr_array

    starts = np.arange(len(share) + 1) * share.shape[1]
    matrix = csr_array((share.ravel(), places.ravel(), starts), shape=(len(share), len(used)))
    return used, lambda values: np.asarray((matrix @ values.T).T)
