"""The text contrasts of the predicates of a bank, and cosines of vectors with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from encoders.model_sets.anchors import sparse_shares
from encoders.model_sets.calibration import Calibration
from encoders.predicates.parameters import Floats
from encoders.predicates.texts import Entry
from encoders.regions import modality_of


class Contrasts:
    """The contrasts of `P` predicates, as stacked arrays.

    PyTorch's product with one vector starts no threads. Products of NumPy, or with several
    vectors, do, and are much slower when another process occupies a core.

    Args:
        entries: The predicates.
        calibration: Of the model set, whose facts smooth the contrasts; None without one.
    """

    def __init__(self, entries: Sequence[Entry], calibration: Calibration | None) -> None:
        self._count = len(entries)
        if not entries:
            return
        # `[D, P]`: the product of a vector with it sums long rows, which is faster.
        self._texts = torch.from_numpy(np.stack([e.contrast for e in entries], axis=1))
        # By part of the calibration: own weights, weighting of facts, contrasts of these facts.
        self._smoothing = []
        self._part_of: dict[str, int] = {}
        for number, part in enumerate(calibration.parts if calibration else ()):
            anchors = [e.anchors[number] for e in entries]
            used, weighted = sparse_shares(anchors)
            own = np.concatenate([one.own for one in anchors])
            along = np.ascontiguousarray(part.facts.contrasts[used].T, np.float32)
            self._smoothing.append((own, weighted, torch.from_numpy(along)))
            self._part_of |= dict.fromkeys(part.modalities, number)

    def cosines(self, vectors: Floats, modality: str) -> Floats:
        """Cosines of unit vectors `[S, D]`, float32 `[S, 2, P]`: plain and smoothed contrasts."""
        rows = [torch.from_numpy(np.asarray(row[None], np.float32)) for row in vectors]
        if not self._count:
            return np.zeros((len(rows), 2, 0), np.float32)
        said = np.concatenate([(row @ self._texts).numpy() for row in rows])
        if not self._smoothing:
            return np.stack([said, said], axis=1)
        own, weighted, along = self._smoothing[self._part_of.get(modality_of(modality), 0)]
        facts = np.concatenate([(row @ along).numpy() for row in rows])
        read = own * said + weighted(facts)
        return np.stack([said, read], axis=1)
