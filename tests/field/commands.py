"""The commands that read bags, as words for a bag, where to write, a model and predicates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Words = Callable[[Path, Path, Path, Path], list[str | Path]]

COMMANDS: dict[str, Words] = {
    'score': lambda bag, out, model, predicates: [
        'score', bag, '--model', model, '--predicates', predicates, '-o', out, '--no-timeline',
        '--modality', 'image,depth', '--precision', 'fp32', '--threads', '1',
    ],
    'index': lambda bag, out, model, predicates: [
        'index', bag, '--model', model, '-o', out, '--modality', 'image,depth', '--threads', '1',
    ],
    'pairs': lambda bag, out, model, predicates: [
        'train', 'pairs', '--data', bag, '--out', out, '--modalities', 'image', 'depth',
    ],
    'calibrate': lambda bag, out, model, predicates: [
        'calibrate', '--model', model, '--data', bag, '--out', out / 'p.yaml',
        '--workers', '1', '--threads', '1', '--cache', out / 'cache',
    ],
    'eval': lambda bag, out, model, predicates: [
        'eval', '--model', model, '--data', bag, '--report', out / 'r.json',
        '--workers', '1', '--threads', '1', '--cache', out / 'cache',
    ],
    'bind': lambda bag, out, model, predicates: [
        'train', 'bind', '--config', ROOT / 'config/recipes/lb-mini.yaml', '--data', bag,
        '--out', out, '--workers', '1', '--threads', '1', '--cache', out / 'cache',
    ],
    'contrast': lambda bag, out, model, predicates: [
        'train', 'contrast', '--config', ROOT / 'config/recipes/languagebind-depth.yaml',
        '--data', bag, '--out', out,
    ],
    'readout': lambda bag, out, model, predicates: [
        'train', 'readout', '--config', ROOT / 'config/recipes/lb-mini-readout.yaml',
        '--data', bag, '--out', out, '--workers', '1', '--threads', '1', '--cache', out / 'cache',
    ],
}  # fmt: skip
