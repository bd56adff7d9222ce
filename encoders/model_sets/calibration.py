"""From cosines to probabilities: fitted for known predicates, interpolated for new sentences.

A cosine of two embeddings is not a probability, and a modality that cannot tell must not vote.
Both are learned from labelled bags, per predicate and modality. A new sentence takes the values
of the fitted facts, or of their opposites, that say nearly the same, and is read along their
contrasts for the most part: encoders learned those directions, and the text tower puts another
wording of the same fact beside them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array

from encoders.model_sets.manifest import share_with_readers

FILE = 'calibration.safetensors'
# Sharp, or the hundred predicates of one relation would outvote the one that is nearest.
SIMILARITY_SCALE = 0.025
MIN_SIMILARITY = 0.45
# How far a contrast is moved towards those of the nearest fitted facts: not at all up to the first
# similarity to the nearest, in full from the second on. Then how sharply they are chosen, and how
# many.
ANCHOR_SHARE = 0.8
ANCHOR_FROM, ANCHOR_FULL = 0.5, 0.65
ANCHOR_SCALE = 0.02
ANCHORS = 16

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
class Facts:
    """What a calibration knows: its `N` facts, then their `N` opposites.

    Attributes:
        said: float32 `[2N, D]`, unit rows: the mean sentence of each.
        contrasts: float32 `[2N, D]`, unit rows: what each is read along; of an opposite, the
            contrast of its fact turned round.
    """

    said: Floats
    contrasts: Floats

    @classmethod
    def of(cls, positives: Floats, negatives: Floats, contrasts: Floats) -> Facts:
        """From the mean positive and negative sentences and the contrasts, `[N, D]` each."""
        both = np.concatenate([positives, negatives])
        return cls(both, np.concatenate([contrasts, -contrasts]))


@dataclass(frozen=True, slots=True)
class Anchors:
    """What `P` text contrasts are read along: themselves and up to `K` known ones each.

    The anchored contrast of a row is `own * contrast + share @ facts.contrasts[nearest]`, of unit
    length.

    Attributes:
        own: float32 `[P]`; 1 where nothing known is near.
        share: float32 `[P, K]`.
        nearest: Rows of `Facts`, int64 `[P, K]`.
    """

    own: Floats
    share: Floats
    nearest: NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """Fitted values of `N` predicates in `M` modalities.

    Attributes:
        space: Language space of the contrasts.
        names: `N` predicate names.
        modalities: `M` names.
        contrasts: float32 `[N, D]`, unit length: mean positive minus mean negative sentence.
        slopes, offsets, weights: float32 `[N, M]`.
        positives, negatives: float32 `[N, D]`, unit length: the mean positive and the mean
            negative sentence. Where they are not known, facts are compared by their contrasts.
    """

    space: str
    names: tuple[str, ...]
    modalities: tuple[str, ...]
    contrasts: Floats
    slopes: Floats
    offsets: Floats
    weights: Floats
    positives: Floats | None = None
    negatives: Floats | None = None

    @cached_property
    def facts(self) -> Facts:
        """Its facts and their opposites."""
        if self.positives is None or self.negatives is None:
            return Facts.of(self.contrasts, -self.contrasts, self.contrasts)
        return Facts.of(self.positives, self.negatives, self.contrasts)

    def compared(self, said: Floats, contrasts: Floats) -> Floats:
        """What of a text is compared with `facts.said`: its sentence, or its contrast."""
        return contrasts if self.positives is None else said

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
        if self.positives is not None and self.negatives is not None:
            arrays['positives'] = self.positives.astype(np.float16)
            arrays['negatives'] = self.negatives.astype(np.float16)
        described = {'space': self.space, 'names': self.names, 'modalities': self.modalities}
        save_file(arrays, folder / FILE, metadata={'calibration': json.dumps(described)})
        share_with_readers(folder / FILE)

    def fit_for(self, said: Floats, contrast: Floats) -> Fit | None:
        """Values for a text, averaged over the facts, or opposites of facts, that say the same.

        Args:
            said: Its mean positive sentence, `[D]`, unit length.
            contrast: Its contrast, likewise.

        Returns:
            None where nothing known is near enough to say anything.
        """
        similarity = self.facts.said @ self.compared(said, contrast)
        nearest = float(similarity.max(initial=-1.0))
        if nearest < MIN_SIMILARITY:
            return None
        share = np.exp((similarity - nearest) / SIMILARITY_SCALE)
        as_fact, as_opposite = np.split(share / share.sum(), 2)
        # An opposite is read the other way round: -(slope * cosine + offset).
        rows = (
            (as_fact + as_opposite) @ self.slopes,
            (as_fact - as_opposite) @ self.offsets,
            (as_fact + as_opposite) @ self.weights,
        )
        slope, offset, weight = (
            dict(zip(self.modalities, row.tolist(), strict=True)) for row in rows
        )
        return Fit(slope, offset, weight, similarity=nearest)

    def anchors_for(self, said: Floats, contrasts: Floats) -> Anchors:
        """What texts are read along; sentences and contrasts `[P, D]`, unit rows."""
        return anchors_of(self.compared(said, contrasts), contrasts, self.facts)

    def anchored(self, said: Floats, contrasts: Floats) -> Floats:
        """Contrasts `[P, D]` as they are read; see `anchors_for`."""
        return anchored(self.compared(said, contrasts), contrasts, self.facts)


def anchors_of(said: Floats, contrasts: Floats, facts: Facts) -> Anchors:
    """What texts are read along, by what they say and their contrasts, `[P, D]`, unit rows."""
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
    """Text contrasts `[P, D]` as they are read, unit length; see `anchors_of`."""
    anchors = anchors_of(said, contrasts, facts)
    known = np.einsum('pk,pkd->pd', anchors.share, facts.contrasts[anchors.nearest])
    return np.asarray(anchors.own[:, None] * contrasts + known, np.float32)


def sparse_shares(anchors: Sequence[Anchors]) -> tuple[NDArray[np.int64], csr_array]:
    """Those rows of `Facts` that anything is read along, `[U]`, and the shares, `[P, U]`."""
    share = np.concatenate([one.share for one in anchors])
    nearest = np.concatenate([one.nearest for one in anchors])
    used, columns = np.unique(nearest, return_inverse=True)
    starts = np.arange(len(share) + 1) * share.shape[1]
    shape = (len(share), len(used))
    return used, csr_array((share.ravel(), columns.ravel(), starts), shape=shape)
