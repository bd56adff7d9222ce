"""What the readouts of a model set believe about all facts of their calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import Binder, Evidence
from encoders.model_sets.calibration import Calibration
from encoders.predicates.readout import fact_queries
from encoders.vision.readout import Queries

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FactReader:
    """The facts of a calibration as the readouts ask them.

    Attributes:
        binder: The model set.
        calibration: Calibration of its readouts.
        queries: The facts by modality.
    """

    binder: Binder
    calibration: Calibration
    queries: Mapping[str, Queries]

    @classmethod
    def of(cls, binder: Binder) -> FactReader | None:
        """The facts of a model set; None if it has no calibrated readouts."""
        calibration = binder.readout_calibration
        if calibration is None or calibration.positives is None or calibration.negatives is None:
            return None
        queries = {
            name: fact_queries(readout, calibration)
            for name, readout in binder.readouts.items()
            if name in calibration.modalities
        }
        return cls(binder, calibration, queries)

    @torch.inference_mode()
    def beliefs(self, evidence: Mapping[str, Evidence]) -> Vector:
        """How true each fact is, float32 `[F]`, from -1 (false) to 1 (true).

        Args:
            evidence: By modality, evidence with tokens; what has none is not read.
        """
        log_odds = np.zeros(len(self.calibration.names), np.float32)
        for name, one in evidence.items():
            if one.tokens is None or name not in self.queries:
                continue
            column = self.calibration.modalities.index(name)
            reduced = torch.from_numpy(one.tokens.astype(np.float32))[None]
            odds = self.binder.readouts[name](reduced, self.queries[name])[0][0].numpy()
            line = self.calibration.slopes[:, column] * odds + self.calibration.offsets[:, column]
            # NaN: facts that were fitted for other sensors, in a joined calibration.
            log_odds += np.nan_to_num(self.calibration.weights[:, column] * line)
        return np.tanh(log_odds / 2)
