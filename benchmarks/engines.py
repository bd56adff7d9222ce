"""Time of every tower of a set in PyTorch and in ONNX Runtime on the CPU, in turn.

One sample of each sensor, with tokens where the set has a readout, as nodes encode it: each tower
alone, and the four usual sensors in one call, which PyTorch packs and ONNX Runtime runs one after
the other. `auto` is what `engine: auto` chose. Processor time is largely independent of other
load.

    python -m benchmarks.engines --threads 1
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from benchmarks.environment import write_result
from encoders import Binder
from encoders.model_sets.golden import golden_input
from encoders.vision.precision import dtype_of, name_of
from lb_ros.bench.measure import measure

FOUR = ('image', 'depth', 'infrared', 'audio')


def main() -> None:
    """Measure and write benchmarks/results/engines.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--repeats', type=int, default=30)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    binders = loaded(args.model)
    exact = binders['torch fp32']
    inputs = {
        name: exact.preprocess(name, golden_input(name, exact.preprocessing[name]))
        for name in exact.modalities
    }
    groups = [*((name,) for name in exact.modalities), FOUR]
    cases: dict[str, Callable[[], object]] = {}
    for names in groups:
        for what, binder in binders.items():
            given = {name: inputs[name] for name in names}
            cases[case_of(names, what)] = partial(binder.encode_evidence, given)
    found = {one.case: one for one in measure('engines', cases, repeats=args.repeats)}
    rows = {
        named(names): {
            what: {
                'median_ms': found[case_of(names, what)].median_ms,
                'cpu_ms': found[case_of(names, what)].cpu_ms,
            }
            for what in binders
        }
        for names in groups
    }
    vectors = {what: binder.encode(inputs) for what, binder in binders.items()}
    differences = {
        what: max(
            float(np.abs(rows_of[name] - vectors['torch fp32'][name]).max()) for name in inputs
        )
        for what, rows_of in vectors.items()
    }
    result = {
        'model': args.model,
        'threads': args.threads,
        'repeats': args.repeats,
        'chosen_by_auto': sorted(binders['auto'].engines),
        'largest_difference_to_fp32': differences,
        'towers': rows,
    }
    print(f'{json.dumps(result, indent=2)}\nwritten to {write_result("engines", result)}')


def loaded(model: str) -> dict[str, Binder]:
    """The set in PyTorch in float32 and in the precision of nodes, in ONNX Runtime, and `auto`."""
    usual = name_of(dtype_of('auto'))
    return {
        'torch fp32': Binder.load(model, dtype='fp32'),
        f'torch {usual}': Binder.load(model, dtype='auto'),
        'onnxruntime': Binder.load(model, engine='onnxruntime', progress=print),
        'auto': Binder.load(model, engine='auto', dtype='auto', progress=print),
    }


def named(names: Sequence[str]) -> str:
    """The name of a group of sensors."""
    return names[0] if len(names) == 1 else 'four together'


def case_of(names: Sequence[str], what: str) -> str:
    """The name of a case."""
    return f'{named(names)}, {what}'


if __name__ == '__main__':
    main()
