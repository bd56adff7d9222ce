"""Export of a tower to ONNX, for ONNX Runtime, TensorRT and other runtimes.

Needs the extra `export` (onnx, onnxruntime, onnxscript).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encoders.vision.vit import VisionTower

INPUT, OUTPUT = 'inputs', 'vectors'
PACKAGES = ('onnx', 'onnxruntime', 'onnxscript')


def export_tower(tower: VisionTower, path: Path) -> None:
    """Write a tower in its own dtype, for any batch size.

    The graph maps the output of `Encoder.preprocess`, `inputs` `[B, 3, H, W]` (for video
    `[B, 3, T, H, W]`), to `vectors`, float32 `[B, D]`, unit length. Weights are stored in the file
    `path` + `.data`.

    Raises:
        ModuleNotFoundError: The extra is not installed.
    """
    _need_packages()
    batch = torch.export.Dim('batch', min=1)
    with torch.inference_mode():
        torch.onnx.export(
            tower,
            (_example(tower, 2),),
            path,
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
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
    _need_packages()
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


def _need_packages() -> None:
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"export to ONNX needs {name}: pip install 'lb_ros[export]' "
                f'(or pip install {" ".join(PACKAGES)})'
            )
