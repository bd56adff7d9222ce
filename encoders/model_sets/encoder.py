"""What Binder needs of encoders and of a text tower, whatever family they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.model_sets.calibration import Calibration
from encoders.preprocess import Config
from encoders.preprocess.columns import Columns


class Encoder(Protocol):
    """One modality's way from a raw sample to a unit vector."""

    @property
    def config(self) -> Config:
        """Constants of its preprocessing."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its inputs lie."""
        ...

    @property
    def logit_scale(self) -> float:
        """The factor that its cosines with sentences were trained with."""
        ...

    def preprocess(self, raw: Any, *, columns: Columns | None = None) -> tuple[Tensor, float]:
        """The network's input for one sample, without batch dimension, and its valid share, 0..1.

        Of a sound, `columns` may know columns of its spectrogram already.

        Raises:
            ValueError: The array has a shape or dtype that this modality does not take.
        """
        ...

    def encode(self, inputs: Tensor) -> Tensor:
        """Unit vectors float `[B, D]` of inputs `[B, ...]`."""
        ...


class TextTower(Protocol):
    """Sentences to unit vectors, with the identity of the space they lie in."""

    @property
    def space(self) -> str:
        """Identity of the language space."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory of its parameters."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32 `[N, D]`.

        Raises:
            ValueError: A sentence is empty.
        """
        ...

    def unread(self, text: str) -> int:
        """How many tokens at the end of a sentence are beyond what it reads."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderSet:
    """Encoders that share a language space.

    Attributes:
        name: For people.
        encoders: By modality.
        text: Their text tower.
        held_bytes: Memory of all parameters; `saved_bytes` is what one model per modality, each
            with its own text tower, would take more.
        calibration: From cosines to probabilities, where it has been fitted.
    """

    name: str
    encoders: Mapping[str, Encoder]
    text: TextTower
    held_bytes: int
    saved_bytes: int
    calibration: Calibration | None = None


def no_encoder(name: str, model: str, known: Mapping[str, object]) -> KeyError:
    """The error for a modality that a set has no encoder for."""
    return KeyError(f'model set {model} has no encoder for {name!r}, only for {", ".join(known)}')
