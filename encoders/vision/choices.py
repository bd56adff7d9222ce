"""What a user may choose, by name: `--help` shows it without PyTorch."""

from __future__ import annotations

PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16')
COMPILATIONS = ('auto', 'never', 'always')
