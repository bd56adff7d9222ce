"""What a user may choose, by name: `--help` shows it without PyTorch."""

from __future__ import annotations

PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16')
COMPILATIONS = ('auto', 'never', 'always')
# What runs the towers; auto: ONNX Runtime on a CPU, for the towers that it runs faster.
ENGINES = ('torch', 'onnxruntime', 'tensorrt', 'auto')
