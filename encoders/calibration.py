"""From cosines to probabilities: fitted for known predicates, interpolated for new sentences.

A cosine of two embeddings is not a probability, and a modality that cannot tell must not vote.
Both are learned from labelled bags, per predicate and modality. A new sentence takes the values
of the fitted predicates whose text contrast lies nearest to its own, and is read along their
contrasts for the most part: encoders learned those directions, and the text tower puts another
wording of the same fact beside them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array

FILE = 'calibration.safetensors'
# Sharp, or the hundred predicates of one relation would outvote the one that is nearest.
SIMILARITY_SCALE = 0.025
MIN_SIMILARITY = 0.35
# How far a contrast is moved towards the nearest fitted ones: not at all up to the first cosine
# to the nearest, in full from the second on. Then how sharply they are chosen, and how many.
ANCHOR_SHARE = 0.8
ANCHOR_FROM, ANCHOR_FULL = 0.4, 0.55
ANCHOR_SCALE = 0.02
ANCHORS = 8

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fit:
    """How one predicate reads in each modality.

    A modality's log-odds are `slope * cosine + offset`; the fused log-odds are the sum of those
    times `weight`, which is 0 for a modality that cannot tell.

    Attributes:
        slope, offset, weight: By modality.
        similarity: Cosine to the nearest fitted predicate; 1 for a fitted one.
    """

    slope: dict[str, float]
    offset: dict[str, float]
    weight: dict[str, float]
    similarity: float


@dataclass(frozen=True, slots=True)
class Anchors:
    """What `P` text contrasts are read along: themselves and up to `K` fitted contrasts each.

    The anchored contrast of a row is `own * contrast + share @ fitted[nearest]`, of unit length.

    Attributes:
        own: float32 `[P]`; 1 where no fitted contrast is near.
        share: float32 `[P, K]`.
        nearest: Rows of the calibration's contrasts, int64 `[P, K]`.
    """

    own: Floats
    share: Floats
    nearest: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Fitted values of `N` predicates in `M` modalities.

    Attributes:
        space: Language space of the contrasts.
        names: `N` predicate names.
        modalities: `M` names.
        contrasts: float32 `[N, D]`, unit length: mean positive minus mean negative sentence.
        slopes, offsets, weights: float32 `[N, M]`.
    """

    space: str
    names: tuple[str, ...]
    modalities: tuple[str, ...]
    contrasts: Floats
    slopes: Floats
    offsets: Floats
    weights: Floats

    @classmethod
    def load_if_present(cls, folder: Path) -> Calibration | None:
        """The calibration of a model set, or None where it has none."""
        path = folder / FILE
        if not path.is_file():
            return None
        with safe_open(path, 'numpy') as stored:
            described = json.loads(stored.metadata()['calibration'])
            arrays = {key: stored.get_tensor(key).astype(np.float32) for key in stored.keys()}  # noqa: SIM118
        return cls(
            space=described['space'],
            names=tuple(described['names']),
            modalities=tuple(described['modalities']),
            **arrays,
        )

    def save(self, folder: Path) -> None:
        """Write the calibration into a model set."""
        arrays: dict[str, NDArray[Any]] = {
            'contrasts': self.contrasts.astype(np.float16),
            'slopes': self.slopes.astype(np.float32),
            'offsets': self.offsets.astype(np.float32),
            'weights': self.weights.astype(np.float32),
        }
        described = {'space': self.space, 'names': self.names, 'modalities': self.modalities}
        save_file(arrays, folder / FILE, metadata={'calibration': json.dumps(described)})

    def fit_for(self, contrast: Floats) -> Fit | None:
        """Values for a text contrast `[D]` of unit length, averaged over the nearest predicates.

        Returns:
            None where no fitted predicate is near enough to say anything.
        """
        similarity = self.contrasts @ contrast
        nearest = float(similarity.max(initial=-1.0))
        if nearest < MIN_SIMILARITY:
            return None
        share = np.exp((similarity - nearest) / SIMILARITY_SCALE)
        share /= share.sum()
        columns = range(len(self.modalities))
        rows = [
            {self.modalities[m]: float(share @ table[:, m]) for m in columns}
            for table in (self.slopes, self.offsets, self.weights)
        ]
        slope, offset, weight = rows
        return Fit(slope, offset, weight, similarity=nearest)


def anchors_of(contrasts: Floats, fitted: Floats) -> Anchors:
    """What text contrasts `[P, D]` are read along, given the fitted ones `[N, D]`; unit rows."""
    similarity = contrasts @ fitted.T
    count = min(ANCHORS, len(fitted))
    nearest = np.argsort(-similarity, axis=1, kind='stable')[:, :count].astype(np.int64)
    near = np.take_along_axis(similarity, nearest, axis=1)
    share = np.exp((near - near[:, :1]) / ANCHOR_SCALE)
    known = np.einsum('pk,pkd->pd', share, fitted[nearest])
    ramp = (near[:, :1] - ANCHOR_FROM) / (ANCHOR_FULL - ANCHOR_FROM)
    moved = ANCHOR_SHARE * np.clip(ramp, 0.0, 1.0)
    share *= moved / np.linalg.norm(known, axis=1, keepdims=True)
    own = 1.0 - moved[:, 0]
    mixed = own[:, None] * contrasts + np.einsum('pk,pkd->pd', share, fitted[nearest])
    length = np.linalg.norm(mixed, axis=1)
    return Anchors(
        (own / length).astype(np.float32), (share / length[:, None]).astype(np.float32), nearest
    )


def sparse_shares(anchors: Sequence[Anchors], *, fitted: int) -> csr_array:
    """The shares of several in one matrix float32 `[P, N]`, for `N` fitted contrasts."""
    share = np.concatenate([one.share for one in anchors])
    nearest = np.concatenate([one.nearest for one in anchors])
    starts = np.arange(len(share) + 1) * share.shape[1]
    return csr_array((share.ravel(), nearest.ravel(), starts), shape=(len(share), fitted))


def anchored(contrasts: Floats, fitted: Floats) -> Floats:
    """Text contrasts `[P, D]` as they are read, unit length; see `anchors_of`."""
    anchors = anchors_of(contrasts, fitted)
    known = np.einsum('pk,pkd->pd', anchors.share, fitted[anchors.nearest])
    return np.asarray(anchors.own[:, None] * contrasts + known, np.float32)
