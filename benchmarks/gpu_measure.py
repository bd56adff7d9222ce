"""Sizes, times and rows of the stages in `benchmarks.gpu_stages`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.text.clip import VOCABULARY, TextConfig
from encoders.vision.config import VisionConfig
from lb_ros.bench.subjects import LARGE, SHAPES

HUGE = replace(LARGE, width=1280, layers=32, mlp_width=5120, projection=1024)
# Of languagebind-large.
CLIP_TEXT = TextConfig(
    width=768, layers=12, heads=12, mlp_width=3072, vocabulary=VOCABULARY, context=77,
    projection=LARGE.projection,
)  # fmt: skip
TINY = replace(LARGE, width=64, layers=2, heads=2, mlp_width=128, patch_size=56, projection=32)
MAX_RUNS = 200


def four_modalities(trunk: VisionConfig) -> dict[str, VisionConfig]:
    """The shapes of LanguageBind's image, depth, infrared and audio encoders on a trunk."""
    return {
        modality: replace(trunk, image_size=shape.image_size, lora_rank=shape.lora_rank)
        for modality, shape in SHAPES.items()
    }


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the stages are.

    Attributes:
        device: Torch device that is compared with the CPU.
        matrix: Rows and columns of the matrices whose product is timed.
        trunks: Trunks of the engine by name.
        layers: Layers of LanguageBind's towers in the comparison with the CPU.
        batches: Samples per modality of the engine.
        train_trunk: Trunk of the training throughput.
        train_text: Text tower of the training throughput.
        train_batch: Pairs of a training step.
        picture: Rows and columns of the raw images.
        predicates: Predicates of the readout.
        case_s: Time for the runs of one case, seconds.
        compiler: Options of `torch.compile`.
    """

    device: str = 'cuda'
    matrix: int = 8192
    trunks: Mapping[str, VisionConfig] = field(
        default_factory=lambda: {'vit-l-14': LARGE, 'vit-h-14': HUGE}
    )
    layers: int = 4
    batches: tuple[int, ...] = (1, 32)
    train_trunk: VisionConfig = LARGE
    train_text: TextConfig = CLIP_TEXT
    train_batch: int = 128
    picture: tuple[int, int] = (720, 1280)
    predicates: int = 1000
    case_s: float = 1.5
    compiler: Mapping[str, str] = field(default_factory=dict)


# On a CPU, without a compiler for it: the calls are traced and run as they are.
REHEARSAL = Sizes(
    device='cpu',
    matrix=128,
    trunks={'vit-l-14': TINY, 'vit-h-14': replace(TINY, layers=3)},
    layers=1,
    batches=(1, 2),
    train_trunk=TINY,
    train_text=replace(CLIP_TEXT, width=64, layers=1, heads=2, mlp_width=64, projection=32),
    train_batch=4,
    picture=(60, 80),
    predicates=10,
    case_s=0.02,
    compiler={'backend': 'eager'},
)


def emit(case: str, **values: Any) -> None:
    """Print a row, which `benchmarks.gpu` collects at once."""
    print(f'ROW {json.dumps({"case": case, **values})}', flush=True)


def wait_for(device: str) -> None:
    """Wait until a GPU has finished."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


def timed(run: Callable[[], object], sizes: Sizes) -> dict[str, Any]:
    """Time runs, each until the device has finished, for `case_s` after two warm-up runs.

    Returns:
        `median_ms`, `p95_ms` and `runs`.
    """
    for _ in range(2):
        run()
    wait_for(sizes.device)
    times_ms: list[float] = []
    end_s = time.perf_counter() + sizes.case_s
    while not times_ms or (time.perf_counter() < end_s and len(times_ms) < MAX_RUNS):
        began_s = time.perf_counter()
        run()
        wait_for(sizes.device)
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    return {
        'median_ms': round(float(np.median(times_ms)), 4),
        'p95_ms': round(float(np.percentile(times_ms, 95)), 4),
        'runs': len(times_ms),
    }


def compared(found: Tensor, expected: Tensor) -> dict[str, float]:
    """The largest difference between two tensors, and the smallest cosine between their rows."""
    one, other = (t.detach().float().cpu() for t in (found, expected))
    cosines = torch.nn.functional.cosine_similarity(one, other, dim=-1)
    return {
        'max_difference': float((one - other).abs().max()),
        'cosine': round(float(cosines.min()), 7),
    }
