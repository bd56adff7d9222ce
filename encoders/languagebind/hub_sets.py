"""Table of the released checkpoints on the hub; does not import PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LARGE, HUGE = 'languagebind-large', 'languagebind-huge'


@dataclass(frozen=True, slots=True)
class HubSet:
    """A model set that can be pulled.

    Attributes:
        repositories: Repository of each modality.
        gigabytes: Approximate download size, from the parameter count.
        about: One-line description.
    """

    repositories: Mapping[str, str]
    gigabytes: float
    about: str


HUB_SETS: dict[str, HubSet] = {
    LARGE: HubSet(
        {
            'image': 'LanguageBind/LanguageBind_Image',
            'video': 'LanguageBind/LanguageBind_Video_V1.5_FT',
            'depth': 'LanguageBind/LanguageBind_Depth',
            'infrared': 'LanguageBind/LanguageBind_Thermal',
            'audio': 'LanguageBind/LanguageBind_Audio_FT',
        },
        8.9,
        'ViT-L/14, all modalities in one space of 768',
    ),
    HUGE: HubSet(
        {'video': 'LanguageBind/LanguageBind_Video_Huge_V1.5_FT'},
        4.8,
        'ViT-H/14, video alone, in a space of 1024 that is not the one of languagebind-large',
    ),
}
