"""Packed calls of frequent shapes, compiled before the first sample and on a GPU captured.

The sensors of a robot always have the same shapes. For these shapes the layers of a pack are
compiled, once for all layers of a trunk, and on a GPU the whole call is captured as a CUDA graph,
because with few samples launching a thousand kernels takes longer than running them. All other
calls, and those that cannot be compiled or captured, run `observe_together`; the log gives the
reason.
"""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from encoders.vision.choices import COMPILATIONS
from encoders.vision.config import VisionConfig
from encoders.vision.packed import (
    Encodings,
    Reducers,
    Through,
    observe_together,
    through_layer,
)
from encoders.vision.vit import VisionTower

MAX_READY = 16
WARM_UP_RUNS = 3  # before a capture, so that libraries choose kernels and allocate buffers

Call = Callable[[Mapping[str, Tensor]], Encodings]
Shapes = tuple[tuple[str, torch.Size], ...]


def is_compiled(compilation: str, *, device: str | torch.device) -> bool:
    """Whether to compile calls: `always`, or `auto` on a GPU.

    Raises:
        ValueError: `compilation` is not one of `COMPILATIONS`.
    """
    if compilation not in COMPILATIONS:
        expected = ', '.join(COMPILATIONS)
        raise ValueError(f'compilation must be one of {expected}, not {compilation!r}')
    on_gpu = torch.device(device).type == 'cuda'
    return compilation == 'always' or (compilation == 'auto' and on_gpu)


def usual(counts: Mapping[str, int]) -> list[dict[str, int]]:
    """The possible calls of a set of sensors, the frequent ones first, as samples per modality.

    First all sensors together, then each sensor alone, then other combinations from small to
    large; at most `MAX_READY`.

    Args:
        counts: Number of sensors of each modality, at least one in total.
    """
    numbers = itertools.product(*(range(count + 1) for count in counts.values()))
    *others, everything = sorted((n for n in numbers if any(n)), key=sum)
    chosen = [everything, *others][:MAX_READY]
    return [
        {name: number for name, number in zip(counts, numbers, strict=True) if number}
        for numbers in chosen
    ]


class ReadyCalls:
    """`observe_together` for fixed towers, faster for the shapes that were prepared.

    Results equal those of `observe_together` up to rounding.

    Args:
        towers: Towers by modality.
        log: Receives a line for each kind of call that runs unprepared, with the reason, once.
        reducers: By modality, what reduces its tokens; every call computes the tokens of these.
    """

    def __init__(
        self,
        towers: Mapping[str, VisionTower],
        *,
        log: Callable[[str], object],
        reducers: Reducers = MappingProxyType({}),
    ) -> None:
        self._towers, self._log = towers, log
        self._run = partial(observe_together, towers, reducers=reducers)
        self._ready: dict[Shapes, Call] = {}
        self._told: set[str] = set()
        self._compiles = True
        self._pool: Any = None  # a handle

    @property
    def ready(self) -> int:
        """Number of prepared calls."""
        return len(self._ready)

    @torch.inference_mode()
    def prepare(
        self,
        calls: Sequence[Mapping[str, int]],
        *,
        progress: Callable[[str], object] = lambda text: None,
    ) -> None:
        """Compile and capture calls. The first time, each call takes seconds to a minute.

        Args:
            calls: Samples per modality of every call; see `usual`.
            progress: Receives a description before each call is prepared.
        """
        for number, samples in enumerate(calls, start=1):
            progress(f'preparing call {number} of {len(calls)}: {", ".join(samples)}')
            inputs = {
                name: torch.zeros(
                    samples[name], *_input_shape(tower.config), device=tower.logit_scale.device
                )
                for name, tower in self._towers.items()
                if samples.get(name)
            }
            if inputs:
                self._prepare(inputs)

    def __call__(self, inputs: Mapping[str, Tensor]) -> Encodings:
        """Vectors and tokens by modality, of preprocessed inputs `[B, ...]`.

        Raises the errors of `observe_together`.
        """
        ordered = {name: inputs[name] for name in self._towers if name in inputs}
        call = self._ready.get(_shapes(ordered))
        if call is None:
            if self._ready:
                self._tell(f'{_named(ordered)}: not among the calls made ready, runs as it is')
            return self._run(inputs)
        return call(ordered)

    def _prepare(self, inputs: Mapping[str, Tensor]) -> None:
        call: Call = self._run
        if self._compiles:
            compiled: Call = partial(self._run, through=compiled_layer())
            try:
                compiled(inputs)
            except Exception as error:  # compilers raise errors of many types
                self._compiles = False
                self._tell(f'not compiled: {_reason(error)}')
            else:
                call = compiled
        if next(iter(inputs.values())).is_cuda:
            captured = self._captured(call, inputs)
            if captured is not None:
                self._ready[_shapes(inputs)] = captured
                return
        if self._compiles:
            self._ready[_shapes(inputs)] = call

    def _captured(self, call: Call, inputs: Mapping[str, Tensor]) -> CapturedCall | None:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        try:
            return CapturedCall(call, inputs, pool=self._pool)
        except RuntimeError as error:
            self._tell(f'{_named(inputs)}: not captured: {_reason(error)}')
        call(inputs)  # raises if not the capture but the device failed
        return None

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._log(line)


def compiled_layer(**options: Any) -> Through:
    """A new compiled form of `through_layer`, for one kind of call.

    Args:
        options: Further options of `torch.compile`.
    """
    # A separate cache, so that other calls do not cause a recompilation; older PyTorch has none.
    if 'isolate_recompiles' in inspect.signature(torch.compile).parameters:
        options['isolate_recompiles'] = True
    compiled: Through = torch.compile(through_layer, fullgraph=True, dynamic=False, **options)
    return compiled


class CapturedCall:
    """A call of fixed shapes as a CUDA graph. Inputs are copied in and results copied out.

    Thread-safe; calls run one after the other.

    Args:
        call: Does the same work in every call and never waits for the device.
        inputs: Inputs of the shapes to capture.
        pool: Memory pool from `torch.cuda.graph_pool_handle`. Graphs that share a pool must not
            run at the same time.

    Raises:
        RuntimeError: The call cannot be captured.
    """

    def __init__(self, call: Call, inputs: Mapping[str, Tensor], *, pool: Any) -> None:
        self._inputs = {name: batch.clone() for name, batch in inputs.items()}
        self._lock = threading.Lock()
        device = next(iter(inputs.values())).device
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_RUNS):
                    call(self._inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            # Other threads may use the device at the same time, with another model set.
            with torch.cuda.graph(self._graph, pool=pool, capture_error_mode='thread_local'):
                self._results = call(self._inputs)

    def __call__(self, inputs: Mapping[str, Tensor]) -> Encodings:
        """The results of the captured call for these inputs."""
        with self._lock:
            for name, held in self._inputs.items():
                held.copy_(inputs[name], non_blocking=True)
            self._graph.replay()
            vectors, tokens = (
                {name: result.clone() for name, result in found.items()} for found in self._results
            )
            return Encodings(vectors, tokens)


def _input_shape(config: VisionConfig) -> tuple[int, ...]:
    frames = (config.frames,) if config.frames > 1 else ()
    return (config.channels, *frames, *config.image_size)


def _shapes(inputs: Mapping[str, Tensor]) -> Shapes:
    return tuple((name, batch.shape) for name, batch in inputs.items())


def _named(inputs: Mapping[str, Tensor]) -> str:
    return ', '.join(f'{len(batch)} of {name}' for name, batch in inputs.items())


def _reason(error: Exception) -> str:
    """The first line of an error, or of the error that a compiler wrapped."""
    found = getattr(error, 'inner_exception', None) or error
    lines = [line.strip() for line in str(found).splitlines() if line.strip()]
    return f'{type(found).__name__}: {lines[0] if lines else "without a reason"}'
