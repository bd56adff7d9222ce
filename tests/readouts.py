"""Model sets with random readouts, for tests of everything that reads tokens."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from encoders import Binder
from encoders.model_sets.calibration import Calibration
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.readouts import config_for, save_readouts
from encoders.vision.readout import Readout, ReadoutConfig
from train.language import fact_vectors
from train.phrasings import Phrasings


def random_readout(config: ReadoutConfig, *, seed: int = 0) -> Readout:
    """A readout in which no parameter is zero, so that every part has an effect."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        readout = Readout(config)
        for parameter in readout.parameters():
            if parameter.ndim:
                size = (0.5 if parameter.ndim > 1 else 0.1) * config.width**-0.5
                parameter += torch.randn(parameter.shape) * size
    return readout.eval().requires_grad_(False)


def copy_with_readouts(
    folder: Path, target: Path, *, modalities: Sequence[str], width: int = 16
) -> Path:
    """Copy a model set and add a random readout for some of its modalities."""
    shutil.copytree(folder, target)
    specs = read_manifest(target).manifest.modalities
    readouts = {
        name: random_readout(
            config_for(specs[name].vision, width=width, heads=2, text_hidden=32), seed=place
        )
        for place, name in enumerate(modalities)
    }
    save_readouts(target, readouts, provenance={'recipe': 'random'})
    return target


def some_calibration(
    binder: Binder, names: Sequence[str], *, modalities: Sequence[str]
) -> Calibration:
    """A calibration of facts in trained wording, with values that only have to be used."""
    facts = fact_vectors(names, Phrasings.load('trained'), binder.embed_text)
    rng = np.random.default_rng(0)
    tables = rng.uniform(0.5, 1.5, (3, len(names), len(modalities))).astype(np.float32)
    said, denied = (side.numpy() for side in facts.means())
    contrasts = facts.contrasts().numpy()
    return Calibration(
        binder.space, tuple(names), tuple(modalities), contrasts, *tables, said, denied
    )
