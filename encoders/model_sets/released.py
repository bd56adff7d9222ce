"""Encoders from LanguageBind checkpoints, with one copy of shared parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from encoders.errors import ModelSetError, SpaceError
from encoders.languagebind.released import preprocessing, read_released
from encoders.model_sets.encoder import EncoderSet
from encoders.model_sets.sharing import TensorPool
from encoders.model_sets.towers import TowerEncoder, build_tower
from encoders.text.clip import ClipText

Options = Mapping[str, Mapping[str, Any]]


def load_released(
    folders: Mapping[str, str | Path],
    *,
    options: Options | None = None,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> EncoderSet:
    """Load LanguageBind checkpoints in any layout (see `checkpoint`).

    Args:
        folders: By modality, the folder of its checkpoint, or a file of weights next to its
            config.json.
        options: By modality, preprocessing values that replace the released ones.
        device: Device of the weights.
        dtype: dtype of the weights.

    Raises:
        ModelSetError: A file or tensor is missing, unexpected or misshapen; the message names it.
        SpaceError: Two checkpoints have different text towers.
    """
    if not folders:
        raise ModelSetError('no checkpoints are given')
    pool = TensorPool(torch.device(device), dtype)
    encoders: dict[str, TowerEncoder] = {}
    text: ClipText | None = None
    first = ''
    for modality, folder in folders.items():
        found = read_released(Path(folder))
        chosen = preprocessing(modality, found, (options or {}).get(modality))
        if text is None:
            text = ClipText(found.config.text, found.text, device=device, dtype=dtype)
            first = modality
            pool.held_bytes += text.nbytes
        elif found.space != text.space:
            raise SpaceError(
                f'{modality} ({found.path}) lies in the language space {found.space}, '
                f'but {first} in {text.space}; they cannot be loaded together'
            )
        else:
            pool.saved_bytes += text.nbytes
        tower = build_tower(found.config.vision, found.vision, pool)
        encoders[modality] = TowerEncoder(tower, chosen)
    assert text is not None
    name = 'languagebind:' + '+'.join(encoders)
    return EncoderSet(name, encoders, text, pool.held_bytes, pool.saved_bytes)
