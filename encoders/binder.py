"""The public face: raw sensor arrays and sentences to unit vectors of one language space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.calibration import Calibration
from encoders.model_set import ModelSet, find_model_set, load_model_set
from encoders.preprocess import preprocess
from encoders.text_tower import text_tower

Vectors = NDArray[np.float32]


class SpaceError(ValueError):
    """Vectors of two different language spaces were about to be compared."""


class Binder:
    """Encoders of several modalities and the text tower they are bound to.

    Attributes:
        model: Name of the model set.
        space: Identity of the language space; only vectors with equal spaces may be compared.
        modalities: Names of the modalities that can be embedded.
        calibration: From cosines to probabilities, or None where the set has not been calibrated.
    """

    def __init__(
        self,
        model_set: ModelSet,
        *,
        modalities: Sequence[str] | None = None,
        calibration: Calibration | None = None,
        device: str = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> None:
        manifest = model_set.manifest
        chosen = tuple(modalities or manifest.modalities)
        for name in chosen:
            if name not in manifest.modalities:
                raise KeyError(self._no_encoder(name, manifest.name, manifest.modalities))
        self._tower = text_tower(manifest.text_tower)
        if self._tower.space != manifest.space:
            raise SpaceError(
                f'model set {manifest.name} is bound to {manifest.space}, '
                f'but this text tower is {self._tower.space}'
            )
        self.model, self.space, self.modalities = manifest.name, manifest.space, chosen
        self.calibration = calibration
        self._specs = {name: manifest.modalities[name] for name in chosen}
        self._device, self._dtype = torch.device(device), dtype
        self._trunk = model_set.trunk.to(self._device, dtype)
        self._adapters = {n: model_set.adapters[n].to(self._device, dtype) for n in chosen}

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        modalities: Sequence[str] | None = None,
        device: str = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> Binder:
        """Load a model set by name (`lb-mini`) or folder.

        Args:
            name_or_path: Name of a shipped set, or a folder.
            modalities: Load only these encoders; all where None.
            device: A torch device.
            dtype: Of the weights at work.

        Raises:
            ModelSetError: There is no such set, or it is damaged.
            KeyError: The set has no encoder for one of `modalities`.
        """
        folder = find_model_set(name_or_path)
        return cls(
            load_model_set(folder),
            modalities=modalities,
            calibration=Calibration.load_if_present(folder),
            device=device,
            dtype=dtype,
        )

    def preprocess(self, modality: str, raw: Any) -> Tensor:
        """The network's input, float32 `[1, 3, H, W]`, for one raw sample (see `preprocess`)."""
        return self.preprocess_with_validity(modality, raw)[0]

    def preprocess_with_validity(self, modality: str, raw: Any) -> tuple[Tensor, float]:
        """As `preprocess`, with the valid share of the sample, 0..1.

        Raises:
            KeyError: The set has no encoder for this modality.
            ValueError: The array has a shape or dtype that this modality does not take.
        """
        spec = self._specs.get(modality)
        if spec is None:
            raise KeyError(self._no_encoder(modality, self.model, self._specs))
        inputs, valid = preprocess(modality, raw, spec.preprocess)
        return inputs.unsqueeze(0), valid

    @torch.inference_mode()
    def encode(self, inputs: dict[str, Tensor]) -> dict[str, Vectors]:
        """Unit vectors float32 `[B, D]` per modality, from preprocessed inputs `[B, 3, H, W]`."""
        vectors = {}
        for name, batch in inputs.items():
            if name not in self._adapters:
                raise KeyError(self._no_encoder(name, self.model, self._specs))
            on_device = batch.to(self._device, self._dtype)
            vectors[name] = self._trunk(on_device, self._adapters[name]).float().cpu().numpy()
        return vectors

    def embed(self, **raw: Any) -> dict[str, Vectors]:
        """Unit vectors float32 `[B, D]` per modality, from raw samples.

        Args:
            raw: Modality to one raw sample, or to a list of samples. `image`: uint8 `[H, W, 3]`
                RGB; `depth`: uint16 millimetres or float metres `[H, W]`; `infrared`: uint8 or
                uint16 `[H, W]`; `audio`: (wave, rate in hertz).

        Raises:
            KeyError: The set has no encoder for a modality.
            ValueError: A sample has a shape or dtype that its modality does not take.
        """
        inputs = {}
        for name, samples in raw.items():
            several = samples if isinstance(samples, list) else [samples]
            inputs[name] = torch.cat([self.preprocess(name, sample) for sample in several])
        return self.encode(inputs)

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors float32 `[N, D]` of sentences.

        Raises:
            ValueError: A sentence is empty.
        """
        return self._tower.embed(texts)

    @staticmethod
    def _no_encoder(name: str, model: str, known: Any) -> str:
        return f'model set {model} has no encoder for {name!r}, only for {", ".join(known)}'
