"""Interfaces of encoders and text towers, as `Binder` uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.model_sets.calibration import Calibration
from encoders.preprocess import Config
from encoders.preprocess.columns import Columns
from encoders.vision.readout import Readout


class Encoder(Protocol):
    """Maps raw samples of one modality to unit vectors."""

    @property
    def config(self) -> Config:
        """Preprocessing constants."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of its inputs."""
        ...

    @property
    def logit_scale(self) -> float:
        """Factor of its cosines with sentences in training."""
        ...

    def preprocess(self, raw: Any, *, columns: Columns | None = None) -> tuple[Tensor, float]:
        """The network's input for one sample, without batch dimension, and its valid share, 0..1.

        For audio, `columns` may reuse known spectrogram frames.

        Raises:
            ValueError: The shape or dtype of the array is not supported for this modality.
        """
        ...

    def encode(self, inputs: Tensor) -> Tensor:
        """Unit vectors float `[B, D]` of inputs `[B, ...]`."""
        ...


class TextTower(Protocol):
    """Maps sentences to unit vectors of a language space."""

    @property
    def space(self) -> str:
        """Identity of the language space."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory of its parameters, bytes."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32 `[N, D]`.

        Raises:
            ValueError: A sentence is empty.
        """
        ...

    def unread(self, text: str) -> int:
        """Number of tokens that are truncated at the end of a sentence."""
        ...

    def unload(self) -> None:
        """Unload weights that are mapped from a file, until the next new sentence."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderSet:
    """Encoders that share a language space.

    Attributes:
        name: Name of the set.
        encoders: Encoders by modality.
        text: Their text tower.
        held_bytes: Memory of all parameters, bytes. `saved_bytes` is the additional memory that
            one model per modality, each with its own text tower, would take.
        calibration: Cosines to probabilities; None if the set is not calibrated.
        readouts: Readouts by modality, of those that have one.
        readout_calibration: Log-odds of the readouts to probabilities; None without a fit.
        weights_sha256: SHA-256 of the weights; empty for a set without a manifest.
    """

    name: str
    encoders: Mapping[str, Encoder]
    text: TextTower
    held_bytes: int
    saved_bytes: int
    calibration: Calibration | None = None
    readouts: Mapping[str, Readout] = field(default_factory=dict)
    readout_calibration: Calibration | None = None
    weights_sha256: str = ''


def no_encoder(name: str, model: str, known: Mapping[str, object]) -> KeyError:
    """The error for a modality without an encoder."""
    return KeyError(f'model set {model} has no encoder for {name!r}, only for {", ".join(known)}')
