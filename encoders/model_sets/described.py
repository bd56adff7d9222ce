"""Other channels for an encoder whose channels are described in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from encoders.decode.channels import ChannelDescription, config_values
from encoders.model_sets.encoder import TextTower
from encoders.model_sets.files import ModelSet
from encoders.preprocess import is_series
from encoders.preprocess.mini.series import DEFAULT_SCALE, STATISTICS, SeriesConfig
from encoders.vision.stem import DescribedStem
from encoders.vision.vit import VisionTower

# Further values that name channels.
OF_CHANNELS = ('required', 'relative', 'resting', 'untrained')


def with_channels(
    model_set: ModelSet,
    modality: str,
    channels: Mapping[str, ChannelDescription],
    text: TextTower,
) -> ModelSet:
    """Return the set with other channels of a modality, in any order and number.

    A channel keeps its statistics if its sentence is one of the training. Otherwise it has the
    default scale and counts as untrained: its samples are no evidence, with that reason, until
    `lb-ros train bind` has trained the set (`start`) with it.

    Args:
        model_set: The set; it is not changed.
        modality: Modality whose channels are described.
        channels: Name to description, in the order of the input.
        text: Text tower of the set.

    Raises:
        ValueError: The set does not have this modality, or its layout is fixed.
    """
    spec = model_set.manifest.modalities.get(modality)
    tower = model_set.towers.get(modality)
    stem = None if tower is None else tower.embeddings.patch_embedding
    if spec is None or tower is None or not isinstance(stem, DescribedStem):
        raise ValueError(
            f'{model_set.manifest.name} has no described channels of {modality}; train a set '
            f'whose recipe gives them `words`'
        )
    assert is_series(spec.preprocess)
    config = _config(spec.preprocess, channels)
    vision = replace(spec.vision, channels=len(channels))
    other = VisionTower(vision)
    kept = {n: p for n, p in tower.state_dict().items() if not n.endswith('.channel_vectors')}
    other.load_state_dict(kept, strict=False)
    own = other.embeddings.patch_embedding
    assert isinstance(own, DescribedStem)
    own.describe(torch.from_numpy(text.embed(config.words)), like=stem)
    modalities = {
        **model_set.manifest.modalities,
        modality: replace(spec, vision=vision, preprocess=config),
    }
    manifest = replace(model_set.manifest, modalities=modalities)
    return ModelSet(manifest, {**model_set.towers, modality: other.eval()})


def _config(before: SeriesConfig, channels: Mapping[str, ChannelDescription]) -> SeriesConfig:
    trained = {
        sentence: index
        for index, (name, sentence) in enumerate(zip(before.channels, before.words, strict=True))
        if name not in before.untrained
    }
    emptied: dict[str, Any] = dict.fromkeys((*STATISTICS, *OF_CHANNELS), ())
    config = replace(before, **{**emptied, **config_values(channels)})
    places = [trained.get(sentence) for sentence in config.words]

    def kept(name: str, others: Sequence[float]) -> tuple[float, ...]:
        """Values of the trained channels, and of others where a channel is untrained."""
        values = getattr(before, name)
        return tuple(
            other if place is None else values[place]
            for place, other in zip(places, others, strict=True)
        )

    given = [one.floor for one in channels.values()]
    floors = kept('floor', config.floor)
    floors = tuple(own or floor for own, floor in zip(given, floors, strict=True))
    required = tuple(name for name in before.required if name in config.channels)
    statistics: dict[str, Any] = {'floor': floors, 'required': required}
    if before.scale:
        statistics['centre'] = kept('centre', [0.0] * len(places))
        statistics['scale'] = kept('scale', [DEFAULT_SCALE * floor for floor in floors])
    if before.baseline and None not in places:
        statistics['baseline'] = kept('baseline', floors)
        statistics['baseline_spread'] = kept('baseline_spread', floors)
    untrained = [
        name for name, place in zip(config.channels, places, strict=True) if place is None
    ]
    return replace(config, **statistics, untrained=tuple(untrained))
