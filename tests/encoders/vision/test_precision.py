"""The rule that chooses a number format, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders import Binder
from encoders.model_sets.golden import golden_input
from encoders.vision import precision
from encoders.vision.precision import dtype_of


def test_bfloat16_where_the_processor_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, 'cpu_has_bf16', lambda has=has: has)
        assert dtype_of('auto') is wanted
        assert dtype_of('fp32') is torch.float32
    with pytest.raises(ValueError, match="must be one of auto, fp32, bf16, fp16, not 'int3'"):
        dtype_of('int3')


def test_half_precision_keeps_the_direction_of_the_shipped_set() -> None:
    exact, rough = Binder.load('lb-mini'), Binder.load('lb-mini', dtype='bf16')
    raw = {name: golden_input(name) for name in exact.modalities}
    expected, found = exact.embed(**raw), rough.embed(**raw)
    for name in raw:
        assert found[name].dtype == np.float32
        assert float((expected[name] * found[name]).sum()) > 0.9995
