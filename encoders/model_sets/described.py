"""Other channels for an encoder whose channels are described in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from encoders.decode.channels import ChannelDescription, config_values, one_by_one
from encoders.model_sets.encoder import EncoderSet, TextTower
from encoders.model_sets.files import ModelSet
from encoders.model_sets.towers import TowerEncoder
from encoders.preprocess import Config, is_series
from encoders.preprocess.mini.series import DEFAULT_SCALE, STATISTICS, SeriesConfig
from encoders.transformer import unfilled
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
    if spec is None or tower is None:
        raise _no_channels(model_set.manifest.name, modality)
    other, config = _described(
        tower, spec.preprocess, channels, text, of=(model_set.manifest.name, modality)
    )
    changed = replace(spec, vision=other.config, preprocess=config)
    modalities = {**model_set.manifest.modalities, modality: changed}
    manifest = replace(model_set.manifest, modalities=modalities)
    return ModelSet(manifest, {**model_set.towers, modality: other})


def describe_encoder(
    encoders: EncoderSet, modality: str, channels: Mapping[str, ChannelDescription]
) -> EncoderSet:
    """Return loaded encoders with other channels of a modality, as `with_channels` does.

    Raises:
        ValueError: The set does not have this modality, or its layout is fixed.
    """
    encoder = encoders.encoders.get(modality)
    if not isinstance(encoder, TowerEncoder):
        raise _no_channels(encoders.name, modality)
    of = encoders.name, modality
    other = _described(encoder.tower, encoder.config, channels, encoders.text, of=of)
    return replace(encoders, encoders={**encoders.encoders, modality: TowerEncoder(*other)})


def _described(
    tower: VisionTower,
    before: Config,
    channels: Mapping[str, ChannelDescription],
    text: TextTower,
    *,
    of: tuple[str, str],
) -> tuple[VisionTower, SeriesConfig]:
    """A tower that shares all parameters of another one and has the vectors of its channels."""
    stem = tower.embeddings.patch_embedding
    if not isinstance(stem, DescribedStem) or not is_series(before):
        raise _no_channels(*of)
    config = _config(before, one_by_one(channels))
    vectors = torch.from_numpy(text.embed(config.words)).to(stem.channel_vectors)
    tensors = {
        name: vectors if name.endswith('.channel_vectors') else tensor
        for name, tensor in tower.state_dict().items()
    }
    with unfilled():
        other = VisionTower(replace(tower.config, channels=len(config.channels)))
    # Assigned, not copied: the trunk of all modalities is one.
    other.load_state_dict(tensors, strict=True, assign=True)
    return other.eval().requires_grad_(False), config


def _no_channels(name: str, modality: str) -> ValueError:
    return ValueError(
        f'{name} has no described channels of {modality}; train a set whose recipe gives them '
        f'`words` or `described`'
    )


def _config(before: SeriesConfig, channels: Mapping[str, ChannelDescription]) -> SeriesConfig:
    known = list(zip(before.channels, before.words, strict=True))
    trained = {
        sentence: index
        for index, (name, sentence) in enumerate(known)
        if name not in before.untrained
    }
    # Taxels may have one sentence for all; the name then decides whose statistics are whose.
    exact = {key: index for index, key in enumerate(known) if key[0] not in before.untrained}
    emptied: dict[str, Any] = dict.fromkeys((*STATISTICS, *OF_CHANNELS), ())
    config = replace(before, **{**emptied, **config_values(channels)})
    places = [
        exact.get(key, trained.get(key[1]))
        for key in zip(config.channels, config.words, strict=True)
    ]

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
