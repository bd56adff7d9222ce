"""The stages of the GPU measurements; `benchmarks.gpu` runs each in a process of its own.

python -m benchmarks.gpu_stages parity
python -m benchmarks.gpu_stages engine-vit-l-14-bf16 --rehearse
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_measure import (
    REHEARSAL,
    Sizes,
    compared,
    emit,
    four_modalities,
    timed,
    wait_for,
)
from encoders.vision.compiled import CapturedCall, compiled_layer
from encoders.vision.packed import Encodings, encode_together, observe_together
from encoders.vision.precision import DTYPES, check_device
from encoders.vision.vit import VisionTower
from lb_ros.bench.products import linear_flops
from lb_ros.bench.subjects import random_towers

# Vectors of the device may differ by this much from those of the CPU.
LARGEST_DIFFERENCE, SMALLEST_COSINE = 1e-4, 0.999
PRECISIONS = ('fp32', 'bf16', 'fp16')
RATES: Mapping[str, float] = MappingProxyType({})
MIB = 2**20


def device_stage(sizes: Sizes) -> None:
    """Describe the device and measure the rate of its matrix products."""
    emit('device', **described(sizes.device))
    for name in PRECISIONS:
        shape = (sizes.matrix, sizes.matrix)
        one, other = (torch.randn(shape, device=sizes.device).to(DTYPES[name]) for _ in range(2))
        found = timed(partial(torch.mm, one, other), sizes)
        rate = 2.0 * sizes.matrix**3 / found['median_ms'] * 1e-9
        case = f'matrix product {sizes.matrix}'
        emit(f'{case} {name}', precision=name, tflop_per_s=round(rate, 3), **found)


def described(device: str) -> dict[str, Any]:
    """Name, memory and versions of a device."""
    if torch.device(device).type != 'cuda':
        return {'name': device, 'torch': torch.__version__}
    properties = torch.cuda.get_device_properties(device)
    return {
        'name': properties.name,
        'memory_gib': round(properties.total_memory / 2**30, 1),
        'capability': f'{properties.major}.{properties.minor}',
        'torch': torch.__version__,
        'cuda': torch.version.cuda,
    }


def tests_stage(sizes: Sizes) -> None:
    """Run the tests that need a GPU; in a rehearsal they skip."""
    command = [sys.executable, '-m', 'pytest', '-m', 'gpu', '-p', 'no:cacheprovider']
    done = subprocess.run(
        [*command, 'tests/encoders/vision', 'tests/encoders/preprocess'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    lines = done.stdout.strip().splitlines()
    emit('tests', passed=done.returncode == 0, summary=lines[-1] if lines else '')
    if done.returncode:
        raise SystemExit(1)


@torch.inference_mode()
def parity_stage(sizes: Sizes) -> None:
    """Compare every tower of lb-mini and of LanguageBind's shapes with the CPU."""
    from encoders.model_sets.files import load_model_set
    from encoders.model_sets.golden import golden_input
    from encoders.model_sets.places import find_set
    from encoders.preprocess import preprocess

    # Convolutions of float32 would use TensorFloat-32, which has 10 bits.
    torch.backends.cudnn.allow_tf32 = False
    shipped = load_model_set(find_set('lb-mini'))  # without the text tower, which is 90 MB
    inputs = {
        name: preprocess(golden_input(name, spec.preprocess), spec.preprocess)[0].unsqueeze(0)
        for name, spec in shipped.manifest.modalities.items()
    }
    failed = []
    for family, towers, given in (
        ('lb-mini', shipped.towers, inputs),
        ('languagebind', *languagebind_towers(sizes)),
    ):
        expected = {name: tower(given[name]) for name, tower in towers.items()}
        for precision in PRECISIONS:
            for name, original in towers.items():
                tower = copy.deepcopy(original).to(sizes.device, DTYPES[precision])
                found = tower(given[name].to(sizes.device, DTYPES[precision]))
                case = f'{family} {name} {precision}'
                difference = compared(found, expected[name])
                limits = difference['max_difference'] <= LARGEST_DIFFERENCE or precision != 'fp32'
                passed = limits and difference['cosine'] >= SMALLEST_COSINE
                emit(case, precision=precision, passed=passed, **difference)
                failed += [] if passed else [case]
    if failed:
        raise SystemExit(f'other vectors than the CPU: {", ".join(failed)}')


def languagebind_towers(sizes: Sizes) -> tuple[dict[str, VisionTower], dict[str, Tensor]]:
    """Towers of all of LanguageBind's shapes with few layers, and inputs for them."""
    trunk = replace(next(iter(sizes.trunks.values())), layers=sizes.layers)
    shapes = four_modalities(trunk) | {'video': replace(trunk, frames=8, temporal=True)}
    towers = random_towers(shapes, torch.float32, device='cpu', shared=False)
    return towers, {name: random_input(tower.config, 1) for name, tower in towers.items()}


def random_input(config: Any, batch: int) -> Tensor:
    """A preprocessed input of random values, float32 `[batch, 3, H, W]` or `[.., T, H, W]`."""
    frames = (config.frames,) if config.frames > 1 else ()
    return torch.randn(batch, config.channels, *frames, *config.image_size)


@torch.inference_mode()
def engine_stage(model: str, precision: str, sizes: Sizes, rates: Mapping[str, float]) -> None:
    """Time packed calls of four modalities: eager, captured, compiled, and both."""
    towers = random_towers(
        four_modalities(sizes.trunks[model]), DTYPES[precision], device=sizes.device
    )
    given = {
        batch: {m: random_input(t.config, batch).to(sizes.device) for m, t in towers.items()}
        for batch in sizes.batches
    }
    expected = {batch: encode_together(towers, inputs) for batch, inputs in given.items()}
    # What needs no compiler comes first, because compiling takes longest.
    for compiles in (False, True):
        for batch, inputs in given.items():
            call = partial(observe_together, towers, reducers={})
            if compiles:
                call = partial(call, through=compiled_layer(**sizes.compiler))
            form = 'compiled' if compiles else 'eager'
            kinds: dict[str, Callable[..., Encodings]] = {form: call}
            if sizes.device != 'cpu':
                pool = torch.cuda.graph_pool_handle()
                kinds[f'{form}, captured'] = CapturedCall(call, inputs, pool=pool)
            for kind, run in kinds.items():
                found = run(inputs).vectors
                cosines = [compared(found[m], expected[batch][m])['cosine'] for m in found]
                times = timed(partial(run, inputs), sizes)
                rate = linear_flops(towers, batch=batch) / times['median_ms'] * 1e-9
                emit(
                    f'{model} {precision} batch {batch} {kind}',
                    precision=precision,
                    batch=batch,
                    cosine_to_eager=min(cosines),
                    samples_per_s=round(batch * len(towers) / times['median_ms'] * 1e3, 1),
                    tflop_per_s=round(rate, 3),
                    share_of_matrix_rate=share(rate, rates.get(precision)),
                    **times,
                )


def share(rate: float, measured: float | None) -> float | None:
    """A rate as a share of the measured rate of matrix products; None if that is unknown."""
    return round(rate / measured, 3) if measured else None


@torch.inference_mode()
def readout_stage(sizes: Sizes) -> None:
    """Time the readout of tokens on the device and on the CPU, and compare them."""
    from encoders.model_sets.readouts import config_for
    from encoders.vision.readout import Readout

    torch.manual_seed(0)
    vision = next(iter(sizes.trunks.values()))
    readout = Readout(config_for(vision)).eval()
    tokens = torch.randn(1, 1 + vision.patches, vision.width)
    sides = torch.randn(2, sizes.predicates, vision.projection)
    odds: list[Tensor] = []
    for device in dict.fromkeys(('cpu', sizes.device)):
        placed = readout.to(device)
        prepared = placed.prepare(placed.ask(*sides.to(device)))
        given = tokens.to(device)
        reduced = placed.reduce(given)
        odds.append(placed.read(reduced, prepared))
        on = replace(sizes, device=device)
        emit(f'reduce tokens, {device}', **timed(partial(placed.reduce, given), on))
        case = f'read {sizes.predicates} predicates, {device}'
        emit(
            case,
            **compared(odds[-1], odds[0]),
            **timed(partial(placed.read, reduced, prepared), on),
        )


def preprocessing_stage(sizes: Sizes) -> None:
    """Time preprocessing of raw images on the device, upload included, and on the CPU."""
    from encoders.preprocess import mini_config, preprocess
    from encoders.preprocess.languagebind import MODALITIES as RELEASED

    rng = np.random.default_rng(0)
    raw: dict[str, Any] = {
        'image': rng.integers(0, 255, (*sizes.picture, 3), dtype=np.uint8),
        'depth': rng.integers(300, 9000, sizes.picture, dtype=np.uint16),
        'infrared': rng.integers(0, 255, sizes.picture, dtype=np.uint8),
    }
    for name, array in raw.items():
        for family, config in (
            ('lb-mini', mini_config(name, {})),
            ('languagebind', RELEASED[name][0]()),
        ):
            expected = preprocess(array, config)[0]
            for device in dict.fromkeys(('cpu', sizes.device)):
                run = partial(preprocess, array, config, device=device)
                difference = (run()[0].cpu() - expected).abs()
                emit(
                    f'{family} {name}, {device}',
                    mean_difference=float(difference.mean()),
                    max_difference=float(difference.max()),
                    **timed(run, replace(sizes, device=device)),
                )


def training_stage(sizes: Sizes) -> None:
    """Time training steps of the recipe, without a mask, and as plain float32 full tuning."""
    from benchmarks.training_throughput import VARIANTS, measure, write_random_set

    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_random_set(Path(folder), sizes.train_trunk, sizes.train_text)
        for variant in ('recipe', 'no mask', 'fp32, no mask, full tuning'):
            assert variant in VARIANTS
            found = measure(
                argparse.Namespace(
                    variant=variant,
                    start=Path(folder),
                    batch=sizes.train_batch,
                    device=sizes.device,
                    steps=2,
                    threads=torch.get_num_threads(),
                )
            )
            rates[variant] = float(np.median(found.pop('samples_per_s')))
            emit(variant, samples_per_s=round(rates[variant], 2), **found)
            gc.collect()
            if sizes.device != 'cpu':
                torch.cuda.empty_cache()
    plain = rates['fp32, no mask, full tuning']
    emit('recipe against plain', times_faster=round(rates['recipe'] / plain, 2))


@torch.inference_mode()
def memory_stage(sizes: Sizes) -> None:
    """Measure the memory of four modalities with one trunk, and with a trunk each."""
    for model, trunk in sizes.trunks.items():
        for shared in (True, False):
            gc.collect()
            if sizes.device != 'cpu':
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            towers = random_towers(
                four_modalities(trunk), torch.bfloat16, device=sizes.device, shared=shared
            )
            held = {id(p): p.nbytes for tower in towers.values() for p in tower.parameters()}
            facts: dict[str, float] = {'parameters_mib': round(sum(held.values()) / MIB, 1)}
            inputs = {m: random_input(t.config, 1).to(sizes.device) for m, t in towers.items()}
            for name, batch in inputs.items():
                encode_together(towers, inputs if shared else {name: batch})
            wait_for(sizes.device)
            if sizes.device != 'cpu':
                facts['peak_mib'] = round(torch.cuda.max_memory_allocated() / MIB, 1)
            emit(f'{model} bf16 {"one trunk" if shared else "a trunk each"}', **facts)
            del towers, inputs


def run(stage: str, sizes: Sizes, rates: Mapping[str, float] = RATES) -> None:
    """Run a stage by its name in `benchmarks.gpu.STAGES`."""
    if stage.startswith('engine-'):
        model, _, precision = stage.removeprefix('engine-').rpartition('-')
        engine_stage(model, precision, sizes, rates)
        return
    simple: dict[str, Callable[[Sizes], None]] = {
        'device': device_stage,
        'tests': tests_stage,
        'parity': parity_stage,
        'memory': memory_stage,
        'preprocessing': preprocessing_stage,
        'readout': readout_stage,
        'training': training_stage,
    }
    simple[stage](sizes)


def main() -> None:
    """Run one stage, as `benchmarks.gpu` asks for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('stage')
    parser.add_argument('--rehearse', action='store_true', help='on the CPU with tiny models')
    parser.add_argument('--rates', type=json.loads, default={}, help='TFLOP/s by precision')
    args = parser.parse_args()
    sizes = REHEARSAL if args.rehearse else Sizes()
    try:
        check_device(sizes.device)
    except ValueError as error:
        raise SystemExit(f'{error}; --rehearse runs the stages on the CPU') from error
    run(args.stage, sizes, args.rates)


if __name__ == '__main__':
    main()
