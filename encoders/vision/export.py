"""A tower as an ONNX file, for runtimes other than PyTorch: ONNX Runtime, TensorRT.

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
    """Write a tower in its own dtype, with a batch of any size.

    The graph takes what `Encoder.preprocess` gives, `inputs` `[B, 3, H, W]` (of a video
    `[B, 3, T, H, W]`), and gives `vectors`, float32 `[B, D]`, unit length. Weights lie beside the
    file in `path` + `.data`.

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
    """Largest difference between the vectors of ONNX Runtime on the CPU and of the tower itself.

    Args:
        tower: On the CPU, float32.
        path: What `export_tower` wrote.
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
