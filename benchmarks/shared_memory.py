"""Memory of four LanguageBind encoders loaded together, compared with four separate models.

The weights are random, of full size (ViT-L/14, 768-d space), and differ where LanguageBind's
training makes them differ: depth and infrared in rank-2 updates, audio in its attention and
positions, all in class token, last LayerNorm, projection, temperature. Needs 5 GB, no downloads.

python -m benchmarks.shared_memory --name shared_memory
"""

from __future__ import annotations

import argparse
import gc
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.environment import write_result
from encoders.model_sets.sharing import TensorPool
from encoders.model_sets.towers import build_tower
from encoders.text.clip import ClipText, TextConfig, text_shapes
from encoders.vision.config import VisionConfig
from encoders.vision.vit import vision_shapes

LARGE = VisionConfig(
    width=1024,
    layers=24,
    heads=16,
    mlp_width=4096,
    patch_size=14,
    image_size=(224, 224),
    projection=768,
)
TEXT = TextConfig(
    width=768, layers=12, heads=12, mlp_width=3072, vocabulary=49408, context=77, projection=768
)
CONFIGS = {
    'image': LARGE,
    'depth': replace(LARGE, lora_rank=2),
    'infrared': replace(LARGE, lora_rank=2),
    'audio': replace(LARGE, image_size=(112, 1036)),
}
TRAINED = ('class_embedding', 'post_layernorm', 'visual_projection', 'logit_scale', 'lora_')
AUDIO = ('self_attn', 'position_embedding')
LIMIT = 0.40


def main() -> None:
    """Load, count, measure, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--name', default='shared_memory', help='of the result file')
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = measure()
    path = write_result(args.name, found)
    print(
        f'together {found["together_mib"]} MiB (measured {found["measured_mib"]} MiB), '
        f'separate {found["separate_mib"]} MiB: {100 * found["share"]:.1f} % (limit 40 %)'
    )
    print(f'written to {path}')
    if found['share'] > LIMIT:
        raise SystemExit(f'more than {100 * LIMIT:.0f} %')


def measure() -> dict[str, Any]:
    """Bytes of parameters, shared and separate, and the measured growth of the process."""
    generator = torch.Generator().manual_seed(0)
    base = {n: _random(s, generator) for n, s in vision_shapes(LARGE).items()}
    text_tensors = {n: _random(s, generator) for n, s in text_shapes(TEXT).items()}
    gc.collect()
    before, began_s = _resident_bytes(), time.monotonic()
    pool = TensorPool(torch.device('cpu'))
    text = ClipText(TEXT, text_tensors)
    text_bytes = sum(p.nbytes for p in text.module.parameters())
    towers, apart = [], 0
    for name, config in CONFIGS.items():
        tensors = _checkpoint(name, config, base, generator)
        towers.append(build_tower(config, tensors, pool))
        apart += sum(t.nbytes for t in tensors.values()) + text_bytes
        del tensors
        gc.collect()
    together = pool.held_bytes + text_bytes
    return {
        'modalities': list(CONFIGS),
        'seeds': {'weights': 0},
        'together_mib': _mib(together),
        'separate_mib': _mib(apart),
        'saved_mib': _mib(apart - together),
        'share': round(together / apart, 4),
        'measured_mib': _mib(_resident_bytes() - before),
        'seconds': round(time.monotonic() - began_s, 1),
    }


def _checkpoint(
    name: str, config: VisionConfig, base: dict[str, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    own = (*TRAINED, *AUDIO) if name == 'audio' else TRAINED
    return {
        key: _random(shape, generator) if any(part in key for part in own) else base[key]
        for key, shape in vision_shapes(config).items()
    }


def _random(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator).sub_(0.5).mul_(0.04)


def _resident_bytes() -> int:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmRSS'):
            return int(line.split()[1]) * 1024
    return 0


def _mib(count: int) -> int:
    return round(count / 2**20)


if __name__ == '__main__':
    main()
