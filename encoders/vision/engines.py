"""Engines other than PyTorch that run one exported tower each.

`open_engine` opens the file that `encoders.vision.export` wrote. ONNX Runtime runs on the CPU in
float32, TensorRT on an NVIDIA GPU. Both need the extra of their name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from encoders.errors import EngineError
from encoders.vision.choices import ENGINES
from encoders.vision.export import INPUT, OUTPUT, PACKAGES, TOKENS, need_packages


class TowerEngine(Protocol):
    """One tower."""

    def __call__(self, inputs: Tensor, *, tokens: bool = False) -> tuple[Tensor, Tensor | None]:
        """Encode preprocessed inputs.

        Args:
            inputs: float32 `[B, ...]`, on the device of the engine.
            tokens: Whether to return tokens, if the tower was exported with a reducer.

        Returns:
            Unit vectors float32 `[B, D]`, and reduced tokens float16 `[B, N, width]` or None.
        """
        ...


def check_engine(engine: str, *, device: str | torch.device) -> None:
    """Refuse an engine that does not run on a device, or whose packages are missing.

    Raises:
        ValueError: `engine` is not one of `ENGINES`.
        EngineError: It does not run on the device.
        ModuleNotFoundError: Its extra is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f'engine must be one of {", ".join(ENGINES)}, not {engine!r}')
    kind = torch.device(device).type
    if engine == 'onnxruntime':
        if kind != 'cpu':
            raise EngineError(
                f'engine onnxruntime runs on the CPU, not on {device}; '
                'on a GPU use engine tensorrt or torch'
            )
        need_packages(PACKAGES, what='engine onnxruntime', extra='onnxruntime')
    if engine == 'tensorrt':
        need_packages(('tensorrt', *PACKAGES), what='engine tensorrt', extra='tensorrt')
        if kind != 'cuda':
            raise EngineError(
                f'engine tensorrt runs on NVIDIA GPUs, not on {device}; set device to cuda:0, or '
                'use engine onnxruntime or torch'
            )


def open_engine(engine: str, path: Path, *, device: str | torch.device) -> TowerEngine:
    """Open an exported tower with `onnxruntime` or `tensorrt`.

    Raises:
        EngineError: TensorRT cannot build the tower.
    """
    if engine == 'tensorrt':
        from encoders.vision.tensorrt import TensorRtEngine

        return TensorRtEngine(path, device=device)
    return OnnxRuntimeEngine(path)


class OnnxRuntimeEngine:
    """An exported tower in ONNX Runtime on the CPU, with as many threads as PyTorch.

    Thread-safe.

    Args:
        path: File written by `export_tower`, float32.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait actively would take the processor from the other work of the process.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider']
        )
        self._has_tokens = len(self._session.get_outputs()) > 1

    def __call__(self, inputs: Tensor, *, tokens: bool = False) -> tuple[Tensor, Tensor | None]:
        """See `TowerEngine`."""
        asked = [OUTPUT, TOKENS] if tokens and self._has_tokens else [OUTPUT]
        found = self._session.run(asked, {INPUT: inputs.float().numpy()})
        vectors, *rest = (torch.from_numpy(array) for array in found)
        return vectors, rest[0] if rest else None
