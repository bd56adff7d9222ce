"""Export of a tower to ONNX, for ONNX Runtime, TensorRT and other runtimes.

Needs the extra `export` (onnx, onnxruntime, onnxscript).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.vision.readout import mean_over_frames
from encoders.vision.vit import VisionTower

INPUT, OUTPUT, TOKENS = 'inputs', 'vectors', 'tokens'
PACKAGES = ('onnx', 'onnxruntime', 'onnxscript')


class ObservedTower(nn.Module):
    """A tower whose tokens are returned as well, as `observe_together` does for one tower."""

    def __init__(self, tower: VisionTower, reducer: nn.Module) -> None:
        super().__init__()
        self.tower, self.reducer = tower, reducer

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors float32 `[B, D]`, unit length, and reduced tokens float16 `[B, N, width]`."""
        tokens = self.tower.tokens(inputs)
        vectors = F.normalize(self.tower.pool(tokens).float(), dim=-1)
        samples = mean_over_frames(tokens.float(), self.tower.config.frames)
        return vectors, self.reducer(samples).half()


def export_tower(tower: VisionTower, path: Path, *, reducer: nn.Module | None = None) -> None:
    """Write a tower in its own dtype, for any batch size.

    The graph maps the output of `Encoder.preprocess`, `inputs` `[B, 3, H, W]` (for video
    `[B, 3, T, H, W]`), to `vectors`, float32 `[B, D]`, unit length, and with a reducer also to
    `tokens`, float16 `[B, N, width]`. Weights are stored in the file `path` + `.data`.

    Raises:
        ModuleNotFoundError: The extra is not installed.
    """
    need_packages(PACKAGES, what='export to ONNX', extra='export')
    batch = torch.export.Dim('batch', min=1)
    with torch.inference_mode():
        torch.onnx.export(
            tower if reducer is None else ObservedTower(tower, reducer).eval(),
            (_example(tower, 2),),
            path,
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT] if reducer is None else [OUTPUT, TOKENS],
            dynamic_shapes=({0: batch},),
            external_data=True,
            verbose=False,
        )


def deviation(tower: VisionTower, path: Path, inputs: Tensor) -> float:
    """Largest difference between the vectors of ONNX Runtime on the CPU and those of the tower.

    Args:
        tower: The tower, on the CPU, float32.
        path: The file that `export_tower` wrote.
        inputs: float32 `[B, ...]`, preprocessed.

    Raises:
        ModuleNotFoundError: The extra is not installed.
    """
    need_packages(PACKAGES, what='export to ONNX', extra='export')
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    (found,) = session.run([OUTPUT], {INPUT: inputs.numpy()})
    with torch.inference_mode():
        wanted = tower(inputs).numpy()
    return float(np.abs(found - wanted).max())


def _example(tower: VisionTower, batch: int) -> Tensor:
    config = tower.config
    frames = (config.frames,) if config.frames > 1 else ()
    shape = (batch, config.channels, *frames, *config.image_size)
    return torch.zeros(shape).to(tower.logit_scale)


def need_packages(packages: Sequence[str], *, what: str, extra: str) -> None:
    """Refuse to go on without some packages.

    Raises:
        ModuleNotFoundError: One is missing; the text names it and the extra that installs it.
    """
    for name in packages:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"{what} needs {name}: pip install 'lb_ros[{extra}]' "
                f'(or pip install {" ".join(packages)})'
            )
