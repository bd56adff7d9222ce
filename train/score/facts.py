"""What the readouts of a model set believe about all facts of their calibration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import Binder, Evidence, Predicate
from encoders.model_sets.calibration import MIN_SIMILARITY, Calibration
from encoders.predicates.readout import fact_queries
from encoders.predicates.wording import sides
from encoders.vision.readout import Queries

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FactReader:
    """The facts of a calibration as the readouts ask them.

    Attributes:
        binder: The model set.
        calibration: Calibration of its readouts, with `F` facts.
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

    @property
    def identity(self) -> str:
        """Distinguishes facts and their calibration, which is fitted anew for other readouts.

        It is the same whichever sensors of the model set are loaded.
        """
        digest = hashlib.sha256(json.dumps(self.calibration.names).encode())
        for part in (self.calibration.weights, self.calibration.slopes, self.calibration.offsets):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    @torch.inference_mode()
    def log_odds(self, modality: str, evidence: Evidence) -> Vector | None:
        """The share of one sensor in the log-odds of each fact, float32 `[F]`.

        None if the evidence has no tokens, or the modality no calibrated readout.
        """
        if evidence.tokens is None or modality not in self.queries:
            return None
        column = self.calibration.modalities.index(modality)
        reduced = torch.from_numpy(evidence.tokens.astype(np.float32))[None]
        odds = self.binder.readouts[modality](reduced, self.queries[modality])[0][0].numpy()
        line = self.calibration.slopes[:, column] * odds + self.calibration.offsets[:, column]
        # NaN: facts that were fitted for other sensors, in a joined calibration.
        share = np.nan_to_num(self.calibration.weights[:, column] * line)
        return np.asarray(share, np.float32)

    def beliefs(self, evidence: Mapping[str, Evidence]) -> Vector:
        """How true each fact is, float32 `[F]`, from -1 (false) to 1 (true).

        Args:
            evidence: By modality, evidence with tokens; what has none is not read.
        """
        log_odds = np.zeros(len(self.calibration.names), np.float32)
        for name, one in evidence.items():
            read = self.log_odds(name, one)
            if read is not None:
                log_odds += read
        return np.tanh(log_odds / 2)

    def like(self, predicate: Predicate) -> tuple[Vector, float] | None:
        """How much each fact says about a predicate, float32 `[F]`, at most 1 in sum.

        It is negative where the fact is true when the predicate is false.

        Returns:
            Also the similarity of the nearest fact; None if no fact is like the predicate.
        """
        pair = [self.binder.embed_text(list(side)).mean(axis=0) for side in sides(predicate)]
        facts = self.calibration.facts_like(*pair)
        if facts.nearest < MIN_SIMILARITY:
            return None
        return np.asarray(facts.share * facts.order, np.float32), facts.nearest
