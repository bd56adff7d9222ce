"""Speed of the encoders, compared with plain PyTorch, OpenCLIP and bare matrix products."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.model_sets.encoder import Encoder
from encoders.model_sets.towers import towers_of
from encoders.vision.compiled import ReadyCalls, is_compiled
from encoders.vision.packed import encode_together
from encoders.vision.precision import DTYPES, dtype_of
from encoders.vision.prepacked import prepack
from lb_ros.bench.arguments import RANDOM
from lb_ros.bench.measure import Measurement, measure
from lb_ros.bench.products import Cases, linear_flops, product_cases
from lb_ros.bench.subjects import open_clip_tower, open_encoders

Inputs = Mapping[str, Tensor]


def engine(
    model: str,
    precision: str,
    repeats: int,
    *,
    device: str = 'cpu',
    batch: int = 1,
    compilation: str = 'auto',
) -> list[Measurement]:
    """Measure a packed call of all modalities, `batch` samples of each, and its references.

    `plain` is the reference, as LanguageBind runs: float32, one tower after the other, layer by
    layer in PyTorch. The engine runs in float32 and in `precision`: each modality alone, all one
    after the other, and packed. OpenCLIP's image tower has the same shape. The linear layers of
    the trunk, each with its own weights, are compared with matrix products of the same shapes
    whose weights stay in the cache. `ready` is the packed call compiled or captured as in the
    nodes, if `compilation` enables it.
    """
    chosen = dtype_of(precision, device=device)
    names = {'fp32': torch.float32} | {n: d for n, d in DTYPES.items() if d == chosen}
    vectors: dict[str, dict[str, Tensor]] = {}
    with torch.inference_mode():
        plain, inputs = open_encoders(model, torch.float32, device=device, batch=batch)
        cases = _plain_cases(plain, inputs)
        for name, dtype in names.items():
            encoders, _ = open_encoders(model, dtype, device=device, batch=batch)
            if is_compiled(compilation, device=device):
                ready = _ready_case(name, encoders, inputs)
                vectors |= {case: run() for case, run in ready.items()}
                cases |= ready
            else:  # the compiler does not support rearranged weights
                prepack(towers_of(encoders).values())
            cases |= _engine_cases(name, encoders, inputs)
            cases |= product_cases(name, towers_of(encoders), batch=batch)
            vectors[f'all {name} packed'] = _encode(encoders, inputs)
        if model.startswith(RANDOM):
            cases |= _open_clip_case(model, chosen, inputs['image'])
        exact = {m: plain[m].encode(inputs[m]).cpu() for m in plain}
        found = measure('engine', cases, repeats=repeats, facts={'batch': batch, 'device': device})
    medians = {one.case: one.median_ms for one in found}
    flops = linear_flops(towers_of(plain), batch=batch)
    return [
        replace(one, facts=one.facts | _facts(one.case, medians, vectors, exact, flops=flops))
        for one in found
    ]


def _encode(encoders: Mapping[str, Encoder], inputs: Inputs) -> dict[str, Tensor]:
    return _on_cpu(encode_together(towers_of(encoders), inputs))


def _on_cpu(vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy vectors to the CPU, which waits for a GPU to finish."""
    return {name: rows.cpu() for name, rows in vectors.items()}


def _plain_cases(encoders: Mapping[str, Encoder], inputs: Inputs) -> Cases:
    def plain(modality: str) -> Tensor:
        return encoders[modality].encode(inputs[modality]).cpu()

    cases: Cases = {f'{m} fp32 plain': partial(plain, m) for m in encoders}
    cases['all fp32 plain'] = lambda: [plain(m) for m in encoders]
    return cases


def _engine_cases(name: str, encoders: Mapping[str, Encoder], inputs: Inputs) -> Cases:
    def alone(modality: str) -> object:
        return _encode(encoders, {modality: inputs[modality]})

    cases: Cases = {f'{m} {name}': partial(alone, m) for m in encoders}
    cases[f'all {name} one by one'] = lambda: [alone(m) for m in encoders]
    cases[f'all {name} packed'] = lambda: _encode(encoders, inputs)
    return cases


def _ready_case(
    name: str, encoders: Mapping[str, Encoder], inputs: Inputs
) -> dict[str, Callable[[], dict[str, Tensor]]]:
    """Return the compiled or captured packed call; empty if that is not possible."""
    calls = ReadyCalls(
        towers_of(encoders), log=lambda line: print(f'{name}: {line}', file=sys.stderr)
    )
    calls.prepare([{modality: len(batch) for modality, batch in inputs.items()}])
    if not calls.ready:
        return {}
    return {f'all {name} ready': lambda: _on_cpu(calls(inputs).vectors)}


def _open_clip_case(model: str, dtype: torch.dtype, images: Tensor) -> Cases:
    tower = open_clip_tower(model, dtype, device=images.device)
    name = next(name for name, known in DTYPES.items() if known == dtype)

    def run() -> Tensor:
        return F.normalize(tower(images.to(dtype)).float(), dim=-1).cpu()

    return {f'image {name} open_clip': run}


def _facts(
    case: str,
    medians: Mapping[str, float],
    vectors: Mapping[str, Mapping[str, Tensor]],
    exact: Mapping[str, Tensor],
    *,
    flops: float,
) -> dict[str, Any]:
    """Return facts from the name of a case, and its comparison with other cases of this run."""
    what, name, *_ = case.split()
    facts: dict[str, Any] = {'precision': name}
    if case in vectors:
        cosines = [float((z * exact[m]).sum(-1).min()) for m, z in vectors[case].items()]
        facts['cosine_to_plain'] = round(min(cosines), 7)
    if what in ('trunk', 'products') or case in vectors:
        # For whole calls, only the linear layers of the blocks are counted.
        facts['gflop_per_s'] = round(flops / medians[case] * 1e-6, 1)
    for key, rival in _rivals(case, medians).items():
        if rival in medians:
            facts[key] = round(medians[rival] / medians[case], 3)
    return facts


def _rivals(case: str, medians: Mapping[str, float]) -> dict[str, str]:
    """Return the cases to compare a case with, by the name of the fact with the speed ratio."""
    what, name, *_ = case.split()
    bare = [other for other in medians if other.startswith(f'products {name} ')]
    fastest = min(bare, key=lambda other: medians[other]) if bare else ''
    if case in (f'all {name} packed', f'all {name} ready'):
        return {
            'times_faster_than_plain': 'all fp32 plain',
            'times_faster_than_one_by_one': f'all {name} one by one',
            'share_of_product_rate': fastest,
        }
    if case == f'{what} {name}':
        return {
            'times_faster_than_plain': f'{what} fp32 plain',
            'times_faster_than_open_clip': f'{what} {name} open_clip',
        }
    if what == 'trunk':
        return {'share_of_product_rate': fastest}
    return {}
