"""What the readouts of a model set read of labelled bags, for their calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import Binder
from encoders.model_sets.evidence import Evidence
from encoders.vision.readout import Readout
from train.bags.labelled import LabelSet
from train.bags.load import LoadReport, extracted_bags, joined_parts
from train.bags.samples import Samples
from train.bags.topics import TOPICS
from train.evaluation.evaluate import heard
from train.evaluation.reading import joined_tables, observe_inputs
from train.language import Embed, FactVectors, fact_vectors
from train.phrasings import Phrasings

BATCH = 16
Floats = NDArray[np.float32]


def read_tokens(
    binder: Binder,
    bags: Sequence[Path],
    *,
    embed: Embed,
    phrasings: Phrasings,
    cache: Path | None = None,
    workers: int = 1,
    labels: LabelSet | None = None,
) -> tuple[dict[str, Floats], dict[str, Floats], Samples, LoadReport]:
    """Embed the labelled samples of bags and read their predicates from tokens.

    Bags are read one by one, because the tokens of a sample take up to 100 KB per sensor.

    Args:
        binder: A model set with readouts.
        bags: Bag folders or files.
        embed: Function from sentences to unit vectors.
        phrasings: Source of the sentences.
        cache: See `load_samples`.
        workers: See `load_samples`.
        labels: See `load_samples`.

    Returns:
        Vectors float32 `[N, D]` by modality; log-odds float32 `[N, P]` of the readouts before
        calibration, 0 for the predicates that a bag does not have; the samples; a report.
    """
    configs = {name: c for name, c in binder.preprocessing.items() if name in TOPICS}
    parts, tables = [], []
    read = [name for name in binder.readouts if name in configs]
    found = extracted_bags(bags, configs, cache=cache, workers=workers, labels=labels)
    for samples, problems in found:
        if len(samples):
            asked = fact_vectors(samples.predicates, phrasings, embed, as_sides=True)
            vectors, odds = _read(binder, samples, asked)
            samples = replace(samples, inputs=vectors)
            tables.append((samples, odds))
        parts.append((samples, problems))
    samples, report = joined_parts(parts, tuple(configs))
    vectors = heard(samples.inputs)
    log_odds = {
        name: joined_tables(
            [(part, odds[name]) for part, odds in tables], samples.predicates, fill=0.0
        )
        for name in read
        if name in vectors
    }
    return vectors, log_odds, samples, report


@torch.inference_mode()
def _read(
    binder: Binder, samples: Samples, asked: FactVectors
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    vectors, observed = observe_inputs(binder, samples.inputs)
    odds = {
        name: readout_log_odds(binder.readouts[name], observed[name], asked)
        if name in observed
        else np.zeros(samples.truth.shape, np.float32)
        for name in vectors
        if name in binder.readouts
    }
    return vectors, odds


@torch.inference_mode()
def readout_log_odds(readout: Readout, evidence: Sequence[Evidence], asked: FactVectors) -> Floats:
    """Log-odds `[N, P]` before calibration, from the tokens of `N` samples."""
    queries = readout.ask(*asked.means())
    rows = []
    for start in range(0, len(evidence), BATCH):
        tokens = [
            each.tokens for each in evidence[start : start + BATCH] if each.tokens is not None
        ]
        reduced = torch.from_numpy(np.stack(tokens).astype(np.float32))
        rows.append(readout(reduced, queries)[0].numpy())
    return np.concatenate(rows)
