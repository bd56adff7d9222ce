"""Speed and accuracy of int8 on this CPU: a packed call with the trunk's linear layers in int8.

The baseline is bf16. Weights are quantised per output channel, activations per call (one scale and
zero point from their largest magnitude); oneDNN multiplies (VNNI or AMX). Low-rank updates,
attention and LayerNorm are unchanged. Accuracy depends on the set: random weights lack outliers.

    python -m benchmarks.int8 --model lb-mini random:vit-l-14
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from benchmarks.environment import write_result
from encoders.vision.packed import encode_together
from encoders.vision.prepacked import prepack, rearranged
from encoders.vision.vit import Linear, LoraLinear, VisionTower, linear
from lb_ros.bench.measure import Measurement, measure
from lb_ros.bench.products import rows_of
from lb_ros.bench.subjects import open_encoders, towers_of

LEVELS, ZERO = 127.0, 128


class Int8Product:
    """`W x + b` with an int8 weight; an input shared by query, key and value is quantised once."""

    _rounded: tuple[Tensor, Tensor, float] | None = None

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._scales = weight.float().abs().amax(1).clamp(min=1e-12) / LEVELS
        whole = (weight.float() / self._scales[:, None]).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._bias, self._dtype = bias.float(), weight.dtype

    def __call__(self, inputs: Tensor) -> Tensor:
        """Map `[rows, in]` to `[rows, out]` in the dtype of the original weight."""
        whole, scale = self._round(inputs)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, scale, ZERO, self._weight, self._scales, self._zeros, self._bias,
            1.0, 0, self._dtype, 'none', [], '',
        )  # fmt: skip
        return product

    @classmethod
    def _round(cls, inputs: Tensor) -> tuple[Tensor, float]:
        if cls._rounded is not None and _is_same(cls._rounded[0], inputs):
            return cls._rounded[1:]
        scale = float(inputs.abs().max()) / LEVELS or 1.0
        whole = torch.quantize_per_tensor(inputs.float(), scale, ZERO, torch.quint8).int_repr()
        cls._rounded = (inputs, whole, scale)  # keeps the input alive: its address stays unique
        return whole, scale


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


def to_int8(towers: Mapping[str, VisionTower]) -> None:
    """Replace the linear layers of all blocks by int8 products; shared layers stay shared."""
    products: dict[int, Int8Product] = {}
    for tower in towers.values():
        for module in tower.encoder.modules():
            if isinstance(module, (Linear, LoraLinear)):
                key = id(module.weight)
                if key not in products:
                    products[key] = Int8Product(module.weight, module.bias)
                name = 'base' if isinstance(module, LoraLinear) else 'forward'
                setattr(module, name, products[key])


def whole_calls(model: str, *, repeats: int) -> list[Measurement]:
    """Measure the packed call in bf16 and int8, with the lowest cosine to fp32 of a modality."""
    exact, inputs = open_encoders(model, torch.float32)
    wanted = encode_together(exact, inputs)
    cases: dict[str, Callable[[], object]] = {}
    cosines = {}
    for name, change in (('bf16', lambda towers: prepack(towers.values())), ('int8', to_int8)):
        encoders, _ = open_encoders(model, torch.bfloat16)
        change(towers_of(encoders))
        found = encode_together(encoders, inputs)
        cosines[name] = min(float((found[m] * wanted[m]).sum()) for m in wanted)
        cases[f'{model} all {name} packed'] = lambda e=encoders: encode_together(e, inputs)
    del exact
    return [
        Measurement(**{**asdict(one), 'facts': {'cosine_to_fp32': round(cosines[name], 6)}})
        for one, name in zip(measure('whole', cases, repeats=repeats), cosines, strict=True)
    ]


def layers(model: str, *, repeats: int) -> list[Measurement]:
    """Measure each shape of linear layer separately, on the rows of a packed call."""
    encoders, _ = open_encoders(model, torch.bfloat16)
    towers = towers_of(encoders)
    rows = rows_of(towers, batch=1)
    block = next(iter(towers.values())).encoder.layers[0]
    parts = {'attention': block.self_attn.out_proj, 'mlp 1': block.mlp.fc1, 'mlp 2': block.mlp.fc2}
    cases: dict[str, Callable[[], object]] = {}
    for name, part in parts.items():
        inputs = torch.randn(rows, part.weight.shape[1]).bfloat16()
        product = Int8Product(part.weight, part.bias)
        packed = rearranged(part.weight)
        cases[f'{model} {name} bf16'] = lambda x=inputs, w=packed, b=part.bias: linear(x, w, b)
        # A copy for each call; otherwise it would be quantised only once, as in the last case.
        cases[f'{model} {name} int8'] = lambda x=inputs, p=product: p(x.clone())
        cases[f'{model} {name} int8, inputs rounded before'] = lambda x=inputs, p=product: p(x)
    return measure('layers', cases, repeats=repeats)


def times_faster(found: list[Measurement]) -> dict[str, dict[str, float]]:
    """Speed-up of int8 over bf16 in CPU time and wall-clock time, by case."""
    by_case = {one.case: one for one in found}
    ratios: dict[str, dict[str, float]] = defaultdict(dict)
    for case, one in by_case.items():
        if 'int8' in case:
            rival = by_case[case.replace('int8', 'bf16').removesuffix(', inputs rounded before')]
            ratios[case] = {
                'clock': round(rival.median_ms / one.median_ms, 3),
                'processor': round(rival.cpu_ms / one.cpu_ms, 3),
            }
    return dict(ratios)


@torch.inference_mode()
def main() -> None:
    """Measure and write benchmarks/results/NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', nargs='+', default=['lb-mini', 'random:vit-l-14'])
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--name', default='int8')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = []
    for model in args.model:
        found += layers(model, repeats=args.repeats) + whole_calls(model, repeats=args.repeats)
    result = {
        'threads': args.threads,
        'times_faster_than_bf16': times_faster(found),
        'measurements': [asdict(one) for one in found],
    }
    print(json.dumps(result['times_faster_than_bf16'], indent=2), write_result(args.name, result))


if __name__ == '__main__':
    main()
