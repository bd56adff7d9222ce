"""Model sets for tests of several nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from encoders.model_sets.convert import convert

ORACLE = Path(__file__).resolve().parents[1] / 'data' / 'oracle'
OPEN_CLIP = {
    'embed_dim': 32,
    'vision_cfg': {'image_size': 224, 'layers': 1, 'width': 64, 'patch_size': 14},
    'text_cfg': {
        'context_length': 77,
        'vocab_size': 49408,
        'width': 32,
        'heads': 2,
        'layers': 2,
        'mlp_ratio': 2.0,
    },
}


@pytest.fixture(scope='session')
def other_parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of LanguageBind's architecture, whose text tower is another one."""
    import open_clip

    from encoders.model_sets.openclip import plain_text

    folder = tmp_path_factory.mktemp('other')
    (folder / 'ViT-other.json').write_text(json.dumps(OPEN_CLIP))
    open_clip.add_model_config(folder)
    torch.manual_seed(1)
    model = open_clip.create_model('ViT-other', force_custom_text=True)
    _, text = plain_text('other', model.text)
    parts = {}
    for name in ('image', 'depth'):
        parts[name] = folder / name
        parts[name].mkdir()
        config = json.loads((ORACLE / name / 'config.json').read_text())
        config['text_config']['vocab_size'] = OPEN_CLIP['text_cfg']['vocab_size']
        (parts[name] / 'config.json').write_text(json.dumps(config))
        tensors = torch.load(ORACLE / name / 'pytorch_model.bin', weights_only=True)
        torch.save({**tensors, **text}, parts[name] / 'pytorch_model.bin')
    return parts


@pytest.fixture(scope='session')
def other_space(other_parts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model set of another language space than the tiny one, without infrared and audio."""
    return convert(other_parts, tmp_path_factory.mktemp('other') / 'set', name='other')
