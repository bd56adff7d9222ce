"""Which engine runs each tower of a set, and whether it gives PyTorch's vectors.

Towers are exported once, into a folder of the user's cache whose name is a hash of the tower.
Before an engine is used, its result for a golden input is compared with PyTorch's.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from encoders.errors import EngineError
from encoders.model_sets.encoder import EncoderSet
from encoders.model_sets.golden import TOLERANCE, golden_input
from encoders.model_sets.places import cache_folder
from encoders.model_sets.towers import TowerEncoder
from encoders.vision.engines import TowerEngine, check_engine, open_engine
from encoders.vision.export import export_tower
from encoders.vision.packed import observe_together
from encoders.vision.precision import DTYPES, dtype_of, name_of

FORMAT = 1  # of the exported graphs; a change makes them anew
# Of half precision, whose largest difference says little; and of tokens, which are float16.
SMALLEST_COSINE = 0.999
# How much faster an engine must be to be chosen by `auto`, and the runs of each that decide.
WORTH, RUNS = 0.9, 7

# Precisions in which an engine computes, the one that `auto` takes first.
PRECISIONS = {'onnxruntime': ('fp32',), 'tensorrt': ('fp16', 'fp32')}

Reducers = Mapping[str, nn.Module]
Progress = Callable[[str], object]


def usable(engine: str, *, device: str | torch.device) -> str:
    """The engine, or `torch` for `auto` where ONNX Runtime does not run.

    Raises the errors of `check_engine`.
    """
    if engine != 'auto':
        check_engine(engine, device=device)
        return engine
    try:
        check_engine('onnxruntime', device=device)
    except (EngineError, ModuleNotFoundError):
        return 'torch'
    return engine


def dtype_for(engine: str, dtype: torch.dtype | str, *, device: str | torch.device) -> torch.dtype:
    """The dtype of the weights for an engine and a precision; `auto` is one that it computes in.

    Raises:
        ValueError: The engine does not compute in that precision.
    """
    known = PRECISIONS.get(engine)
    if known is None:
        return dtype_of(dtype, device=device) if isinstance(dtype, str) else dtype
    name = dtype if isinstance(dtype, str) else name_of(dtype)
    if name == 'auto':
        return DTYPES[known[0]]
    if dtype_of(name, device=device) not in [DTYPES[each] for each in known]:
        raise ValueError(
            f'engine {engine} computes in {" or ".join(known)}, not in {name}: set the precision '
            'to auto'
        )
    return DTYPES[name]


def reducers_of(encoder_set: EncoderSet) -> dict[str, nn.Module]:
    """By modality with a readout, a copy of what reduces its tokens, on the encoder's device."""
    return {
        name: copy.deepcopy(readout.reducer).to(encoder_set.encoders[name].device)
        for name, readout in encoder_set.readouts.items()
    }


def open_engines(
    engine: str,
    encoders: Mapping[str, object],
    reducers: Reducers,
    *,
    progress: Progress = lambda text: None,
) -> dict[str, TowerEngine]:
    """Open an engine for every tower of a set and compare it with PyTorch.

    Args:
        engine: `onnxruntime` or `tensorrt`.
        encoders: Encoders by modality, whose weights have not been rearranged.
        reducers: What reduces the tokens, of the modalities with a readout.
        progress: Receives a description of each step.

    Raises:
        EngineError: The engine does not run on the device of the towers, or gives other vectors.
        ModuleNotFoundError: Its extra is not installed.
    """
    found = {}
    for name, encoder in encoders.items():
        if isinstance(encoder, TowerEncoder):
            check_engine(engine, device=encoder.device)
            progress(f'preparing {name} for {engine}')
            path = exported(encoder, reducers.get(name))
            found[name] = open_engine(engine, path, device=encoder.device)
            check_parity(engine, name, found[name], encoder, reducers.get(name))
    return found


def exported(encoder: TowerEncoder, reducer: nn.Module | None) -> Path:
    """The ONNX file of a tower in the cache, exported if it is not there yet."""
    folder = cache_folder() / 'engines' / _key(encoder, reducer)
    path = folder / 'tower.onnx'
    if path.is_file():
        return path
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix='.', dir=folder.parent))
    try:
        export_tower(encoder.tower, partial / path.name, reducer=reducer)
        with suppress(OSError):  # another process was faster
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _key(encoder: TowerEncoder, reducer: nn.Module | None) -> str:
    """A hash of everything that the exported graph depends on."""
    described = (FORMAT, torch.__version__, encoder.tower.config, encoder.tower.logit_scale.dtype)
    found = hashlib.sha256(repr(described).encode())
    modules: list[nn.Module] = [encoder.tower, *([] if reducer is None else [reducer])]
    for module in modules:
        for name, tensor in module.state_dict().items():
            found.update(name.encode())
            found.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:32]


@torch.inference_mode()
def check_parity(
    engine: str,
    modality: str,
    run: TowerEngine,
    encoder: TowerEncoder,
    reducer: nn.Module | None,
) -> None:
    """Compare an engine with PyTorch on one sample and on two.

    Raises:
        EngineError: The vectors or tokens differ; the message gives the measured difference.
    """
    sample = encoder.preprocess(golden_input(modality, encoder.config))[0].unsqueeze(0)
    for batch in (sample, torch.cat([sample, -sample])):
        vectors, tokens = run(batch, tokens=reducer is not None)
        expected, expected_tokens = _by_torch(modality, batch, encoder, reducer)
        difference, cosine = _compared(vectors, expected)
        is_exact = encoder.tower.logit_scale.dtype == torch.float32
        if (is_exact and difference > TOLERANCE) or not cosine >= SMALLEST_COSINE:
            raise EngineError(
                f'engine {engine}: {modality} differs from PyTorch by {difference:.1e} (cosine '
                f'{cosine:.4f}), accepted is {TOLERANCE:.0e} in fp32 and a cosine of '
                f'{SMALLEST_COSINE}; use engine torch, or another version of {engine}'
            )
        if tokens is not None and expected_tokens is not None:
            _, cosine = _compared(tokens.flatten(1), expected_tokens.flatten(1))
            if not cosine >= SMALLEST_COSINE:
                raise EngineError(
                    f'engine {engine}: the tokens of {modality} have a cosine of {cosine:.4f} to '
                    f"PyTorch's, accepted is {SMALLEST_COSINE}; use engine torch"
                )


def _by_torch(
    modality: str, batch: Tensor, encoder: TowerEncoder, reducer: nn.Module | None
) -> tuple[Tensor, Tensor | None]:
    reducers = {} if reducer is None else {modality: reducer}
    found = observe_together({modality: encoder.tower}, {modality: batch}, reducers=reducers)
    return found.vectors[modality], found.tokens.get(modality)


def _compared(found: Tensor, expected: Tensor) -> tuple[float, float]:
    """Largest difference, and smallest cosine of the rows."""
    one, other = found.float().cpu(), expected.float().cpu()
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=-1)
    return float((one - other).abs().max()), float(cosine.min())


@torch.inference_mode()
def faster_engines(
    engines: Mapping[str, TowerEngine], encoders: Mapping[str, object], reducers: Reducers
) -> dict[str, TowerEngine]:
    """The engines that run their tower in at most `WORTH` of PyTorch's time on this machine.

    Args:
        engines: Engines by modality.
        encoders: The encoders that PyTorch would run, in their precision and arrangement.
        reducers: What reduces the tokens, of the modalities with a readout.
    """
    chosen = {}
    for name, run in engines.items():
        encoder = encoders[name]
        assert isinstance(encoder, TowerEncoder)
        batch = encoder.preprocess(golden_input(name, encoder.config))[0].unsqueeze(0)
        times_s: tuple[list[float], list[float]] = ([], [])
        for _ in range(1 + RUNS):
            began_s = time.perf_counter()
            run(batch, tokens=name in reducers)
            between_s = time.perf_counter()
            _by_torch(name, batch, encoder, reducers.get(name))
            for each, taken_s in zip(
                times_s, (between_s - began_s, time.perf_counter() - between_s), strict=True
            ):
                each.append(taken_s)
        if median(times_s[0][1:]) <= WORTH * median(times_s[1][1:]):
            chosen[name] = run
    return chosen
