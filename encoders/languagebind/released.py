"""Released checkpoints to encoders: strictly, with one copy of what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoders.languagebind.checkpoint import Checkpoint, read_checkpoint
from encoders.languagebind.configuration import CONFIG, ReleasedConfig, read_config
from encoders.model_sets.encoder import EncoderSet
from encoders.model_sets.manifest import ModelSetError
from encoders.model_sets.sharing import TensorPool
from encoders.model_sets.towers import TowerEncoder, build_tower, vision_shapes
from encoders.preprocess import Config, with_options
from encoders.preprocess.languagebind import released_config
from encoders.text.clip import ClipText, check_tokenizer, text_shapes, text_space
from encoders.text.space import SpaceError

Options = Mapping[str, Mapping[str, Any]]
# These two lie beside the vision model in a checkpoint, not in it.
OUTSIDE = ('visual_projection.weight', 'logit_scale')


@dataclass(frozen=True, slots=True)
class ReleasedTensors:
    """One checkpoint, checked, still apart from others.

    Attributes:
        config: Its shapes, with the rank its tensors really have.
        vision: By name in `VisionTower`.
        text: By released name.
        space: Identity of its language space.
    """

    path: Path
    config: ReleasedConfig
    vision: dict[str, Tensor]
    text: dict[str, Tensor]
    space: str


def load_released(
    folders: Mapping[str, str | Path],
    *,
    options: Options | None = None,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> EncoderSet:
    """Load LanguageBind checkpoints in any layout (see `checkpoint`).

    Args:
        folders: Modality to the folder of its checkpoint, or to a file of weights beside its
            config.json.
        options: Modality to preprocessing values that replace the released ones.
        device: Of the weights at work.
        dtype: Of the weights at work.

    Raises:
        ModelSetError: Something is missing, unexpected or misshapen; the message names it.
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


def read_released(path: Path) -> ReleasedTensors:
    """Read and check one checkpoint.

    Raises:
        ModelSetError: Something is missing, unexpected or misshapen; the message names it.
    """
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise ModelSetError(f'{path}: there is no such checkpoint')
    config = read_config(folder)
    check_tokenizer(folder)
    checkpoint = read_checkpoint(path)
    rank = checkpoint.lora_rank(config.vision.lora_rank)
    config = replace(config, vision=replace(config.vision, lora_rank=rank))
    vision, text = _split(checkpoint, config)
    return ReleasedTensors(checkpoint.path, config, vision, text, text_space(config.text, text))


def preprocessing(
    modality: str, found: ReleasedTensors, options: Mapping[str, Any] | None = None
) -> Config:
    """How raw arrays of a modality become inputs of a checkpoint's tower.

    Raises:
        ModelSetError: The checkpoint is of another kind of modality, or an option is unusable.
    """
    path = found.path.parent / CONFIG
    kind = found.config.modality or modality
    if kind != modality and {kind, modality} & {'audio', 'video'}:
        raise ModelSetError(f'{path}: is a checkpoint for {kind}, not for {modality}')
    try:
        config = released_config(modality, found.config.vision, found.config.constants)
        return with_options(modality, config, options or {})
    except (TypeError, ValueError) as error:
        raise ModelSetError(f'{path}: {error}') from error


def released_name(name: str) -> str:
    """A vision tower's name of a tensor to the plain name in checkpoints."""
    return name if name in OUTSIDE else f'vision_model.{name}'


def _split(
    checkpoint: Checkpoint, config: ReleasedConfig
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    shapes = {released_name(name): shape for name, shape in vision_shapes(config.vision).items()}
    wanted_text: dict[str, torch.Size] = text_shapes(config.text)
    checkpoint.refuse_others(shapes.keys() | wanted_text.keys())
    tensors = checkpoint.take(shapes)
    vision = {name.removeprefix('vision_model.'): tensor for name, tensor in tensors.items()}
    return vision, checkpoint.take(wanted_text)
