"""Samples per second and peak memory of LanguageBind's depth recipe at full size.

A ViT-L/14 with random weights and CLIP's text tower of that size perform steps of
`config/recipes/languagebind-depth.yaml` with the code of the recipe: depth images are decoded,
masked and embedded, gradients are computed and AdamW updates. The same step is also measured with
float32, without a mask, with full tuning, and with all three. Each measurement is a separate
process; rounds alternate between all of them, so that other load affects them equally. Under
other load, CPU time is more informative than wall-clock time.

    python -m benchmarks.training_throughput
    python -m benchmarks.training_throughput --device cuda --batch 128
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.environment import write_result
from benchmarks.gpu_measure import CLIP_TEXT
from encoders.languagebind.released import released_config
from encoders.model_sets.files import write_set
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.text.clip import TextConfig, text_shapes, text_space
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower
from lb_ros.bench.suites import LARGE
from train.pairs.data import PairData
from train.pairs.record import Pair, Text, encode
from train.training.contrast import announcement, contrast_run, open_trained
from train.training.contrast_recipe import load_contrast_recipe
from train.training.loop import training_step
from train.training.ranks import Ranks

RECIPE = Path(__file__).resolve().parent.parent / 'config/recipes/languagebind-depth.yaml'
FP32: dict[str, Any] = {'precision': 'fp32'}
NO_MASK: dict[str, Any] = {'patch_dropout': {'depth': 0.0}}
FULL: dict[str, Any] = {'tuning': 'full'}
VARIANTS: dict[str, dict[str, Any]] = {
    'recipe': {},
    'fp32': FP32,
    'no mask': NO_MASK,
    'full tuning': FULL,
    'fp32, no mask, full tuning': FP32 | NO_MASK | FULL,
}
STATUS, RESET_PEAK = Path('/proc/self/status'), Path('/proc/self/clear_refs')
TIMEOUT_S = 1200.0


def main() -> None:
    """Measure all variants in separate processes and write the result file; or one variant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=3, help='processes of each variant')
    parser.add_argument('--steps', type=int, default=2, help='timed in each process')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--variant', choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument('--start', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        print(json.dumps(measure(args)))
        return
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        write_random_set(Path(folder))
        for number in range(args.rounds):
            for name in VARIANTS:
                found[name].append(_measured_apart(args, name, Path(folder)))
                print(f'round {number + 1}, {name}: {found[name][-1]}', flush=True)
            print(f'written to {_write(args, found)}', flush=True)


def _write(args: argparse.Namespace, found: Mapping[str, list[dict[str, Any]]]) -> Path:
    """Write the results after a round, so that an interrupted round keeps the earlier ones."""
    result = {
        'recipe': 'languagebind-depth',
        'model': 'ViT-L/14, random weights',
        'device': torch.cuda.get_device_name() if args.device == 'cuda' else 'cpu',
        'batch': args.batch,
        'threads': args.threads,
        'variants': summary(found),
    }
    return write_result('training_throughput' + '_cuda' * (args.device == 'cuda'), result)


def summary(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Medians of each variant, also relative to the recipe's."""
    rows: dict[str, dict[str, Any]] = {}
    for name, runs in found.items():
        rates = [rate for run in runs for rate in run['samples_per_s']]
        rows[name] = {
            'samples_per_s': round(median(rates), 3),
            'cpu_s_per_step': round(median(s for run in runs for s in run['cpu_s_per_step']), 2),
            'peak_memory_gib': round(median(run['peak_memory_gib'] for run in runs), 2),
            'trained_values': runs[0]['trained_values'],
            'all_samples_per_s': rates,
        }
    recipe = rows['recipe']
    for row in rows.values():
        row['to_recipe'] = {
            key: round(row[key] / recipe[key], 2)
            for key in ('samples_per_s', 'cpu_s_per_step', 'peak_memory_gib')
        }
    return rows


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time steps of one variant in this process, after one warm-up step."""
    torch.set_num_threads(args.threads)
    changes = {'start': str(args.start), 'batch': args.batch, 'micro_batch': args.batch,
               'device': args.device}  # fmt: skip
    recipe = load_contrast_recipe(RECIPE, **changes | VARIANTS[args.variant])
    ranks = Ranks(0, 1, torch.device(args.device))
    trained = open_trained(recipe)
    steps = 1 + args.steps
    data = PairData(DrawnPairs(args.batch), {'drawn': args.batch})
    run = contrast_run(recipe, trained, data, steps=steps, ranks=ranks)
    print(announcement(recipe, trained.towers, data, steps=steps), file=sys.stderr)
    peak_bytes = _watch_memory(args.device)
    rates, used_s = [], []
    for _ in range(steps):
        began_s, cpu_s = time.perf_counter(), time.process_time()
        training_step(run)
        if args.device == 'cuda':
            torch.cuda.synchronize()
        rates.append(round(args.batch / (time.perf_counter() - began_s), 3))
        used_s.append(round(time.process_time() - cpu_s, 2))
    return {
        'samples_per_s': rates[1:],
        'cpu_s_per_step': used_s[1:],
        'peak_memory_gib': round(peak_bytes() / 2**30, 2),
        'trained_values': sum(p.numel() for t in trained.towers.values() for p in t.learning()),
    }


def _measured_apart(args: argparse.Namespace, variant: str, start: Path) -> dict[str, Any]:
    command = [sys.executable, '-m', 'benchmarks.training_throughput', '--variant', variant]
    for name in ('device', 'batch', 'steps', 'threads'):
        command += [f'--{name}', str(getattr(args, name))]
    done = subprocess.run(
        [*command, '--start', str(start)], stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _watch_memory(device: str) -> Callable[[], int]:
    """Reset the peak memory of loading; return a function for the peak since then, bytes."""
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated
    RESET_PEAK.write_text('5')
    return lambda: next(
        int(line.split()[1]) * 1024
        for line in STATUS.read_text().splitlines()
        if line.startswith('VmHWM')
    )


def write_random_set(
    folder: Path, vision: VisionConfig = LARGE, text: TextConfig = CLIP_TEXT
) -> None:
    """Write a depth-only model set with random weights.

    Args:
        folder: Where to write it.
        vision: Shape of its tower; that of `languagebind-large` by default.
        text: Shape of its text tower; that of `languagebind-large` by default.
    """
    torch.manual_seed(0)
    texts = {name: torch.randn(size) * 0.02 for name, size in text_shapes(text).items()}
    manifest = Manifest(
        'random-depth',
        text_space(text, texts),
        asdict(text),
        {'depth': ModalitySpec(vision, released_config('depth', vision, {}))},
    )
    write_set(folder, manifest, {'depth': VisionTower(vision).state_dict()}, text=texts)


class DrawnPairs:
    """Synthetic depth images of 640x480 with a sentence each, generated when they are read."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        coarse = rng.integers(400, 4000, (count, 12, 16), dtype=np.uint16)
        self._files = [encode('depth', plane.repeat(40, 0).repeat(40, 1)) for plane in coarse]

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int) -> Pair:
        """Generate an image and its sentence."""
        texts = (Text(f'the box stands at place {index}', 'annotation'),)
        return Pair(f'pair{index}', 'drawn', 0, 1, self._files[index], texts)

    outline = read


if __name__ == '__main__':
    main()
