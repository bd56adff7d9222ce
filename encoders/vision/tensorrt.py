"""A tower in TensorRT, built from its ONNX file for batches of 1 to `MAX_BATCH`.

Not run yet: no machine of this project had an NVIDIA GPU. Written for TensorRT 10, whose plans
keep the number formats of the ONNX file.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoders.errors import EngineError
from encoders.vision.export import INPUT, OUTPUT, TOKENS

MAX_BATCH = 16
USUAL_BATCH = 1
WORKSPACE_BYTES = 1 << 30


class TensorRtEngine:
    """An exported tower in TensorRT. Thread-safe; calls run one after the other.

    The plan is stored next to the ONNX file, under the name of the GPU and of the version of
    TensorRT, because it is valid for these only.

    Args:
        path: File written by `export_tower`, float32 or float16.
        device: A CUDA device.

    Raises:
        EngineError: TensorRT cannot build the tower.
    """

    def __init__(self, path: Path, *, device: str | torch.device) -> None:
        import tensorrt

        self._device, self._lock = torch.device(device), threading.Lock()
        with torch.cuda.device(self._device):
            plan = _plan(path, tensorrt)
            runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
            self._engine = runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise EngineError(f'{path}: TensorRT {tensorrt.__version__} cannot load its plan')
            self._context = self._engine.create_execution_context()
        self._dtypes = {
            tensorrt.float32: torch.float32,
            tensorrt.float16: torch.float16,
            tensorrt.bfloat16: torch.bfloat16,
        }
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        self._outputs = [name for name in (OUTPUT, TOKENS) if name in names]

    def __call__(self, inputs: Tensor, *, tokens: bool = False) -> tuple[Tensor, Tensor | None]:
        """See `encoders.vision.engines.TowerEngine`; larger batches run in parts."""
        parts = [self._run(part) for part in torch.split(inputs.to(self._device), MAX_BATCH)]
        found = {name: torch.cat([part[name] for part in parts]) for name in self._outputs}
        return found[OUTPUT].float(), found.get(TOKENS) if tokens else None

    def _run(self, inputs: Tensor) -> dict[str, Tensor]:
        given = inputs.to(self._dtype(INPUT)).contiguous()
        with self._lock, torch.cuda.device(self._device):
            self._context.set_input_shape(INPUT, tuple(given.shape))
            self._context.set_tensor_address(INPUT, given.data_ptr())
            found = {}
            for name in self._outputs:
                shape = tuple(self._context.get_tensor_shape(name))
                found[name] = torch.empty(shape, dtype=self._dtype(name), device=self._device)
                self._context.set_tensor_address(name, found[name].data_ptr())
            stream = torch.cuda.current_stream()
            if not self._context.execute_async_v3(stream.cuda_stream):
                raise RuntimeError('TensorRT could not run the tower')
            # The addresses are those of this call until it has ended.
            stream.synchronize()
        return found

    def _dtype(self, name: str) -> torch.dtype:
        return self._dtypes[self._engine.get_tensor_dtype(name)]


def _plan(path: Path, tensorrt: Any) -> bytes:
    """The serialised plan of an ONNX file, built once per GPU and version."""
    name = torch.cuda.get_device_name().replace(' ', '_').replace('/', '_')
    stored = path.with_name(f'{path.stem}.{name}.{tensorrt.__version__}.plan')
    if stored.is_file():
        return stored.read_bytes()
    plan = _build(path, tensorrt)
    partial = stored.with_name(f'.{stored.name}.{threading.get_ident()}')
    partial.write_bytes(plan)
    partial.replace(stored)
    return plan


def _build(path: Path, tensorrt: Any) -> bytes:
    builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.WARNING))
    kinds = tensorrt.NetworkDefinitionCreationFlag
    network = builder.create_network(1 << int(kinds.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, tensorrt.Logger(tensorrt.Logger.WARNING))
    if not parser.parse_from_file(str(path)):
        errors = '; '.join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineError(f'{path}: TensorRT cannot read it: {errors}; use engine torch')
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    profile = builder.create_optimization_profile()
    _, *rest = network.get_input(0).shape
    profile.set_shape(INPUT, *((batch, *rest) for batch in (1, USUAL_BATCH, MAX_BATCH)))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f'{path}: TensorRT cannot build it, see its log; use engine torch')
    return bytes(plan)
