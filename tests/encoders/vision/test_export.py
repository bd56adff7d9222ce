"""Exported towers give the same vectors in ONNX Runtime, at any batch size."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from encoders.model_sets.files import load_set
from encoders.model_sets.sources import load_encoders
from encoders.vision import export
from lb_ros.cli import main

missing = [name for name in export.PACKAGES if importlib.util.find_spec(name) is None]
needs_packages = pytest.mark.skipif(bool(missing), reason=f'the extra `export` lacks {missing}')


@needs_packages
def test_a_set_is_exported_and_compared(
    tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['models', 'export', str(tiny_model_set), '--modalities', 'depth']
    assert main([*words, '--out', str(tmp_path), '--json']) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry['modality'] == 'depth' and entry['deviation'] < 1e-5
    encoder = load_set(tiny_model_set).encoders['depth']
    for batch in (1, 3):
        inputs = torch.randn(batch, *entry['input'][1:])
        assert export.deviation(encoder.tower, Path(entry['file']), inputs) < 1e-5


@needs_packages
def test_low_rank_updates_are_exported(oracle_folder: Path, tmp_path: Path) -> None:
    encoder = load_encoders({'depth': oracle_folder / 'depth'}).encoders['depth']
    export.export_tower(encoder.tower, tmp_path / 'depth.onnx')
    size = encoder.tower.config.image_size
    inputs = torch.randn(2, 3, *size)
    assert export.deviation(encoder.tower, tmp_path / 'depth.onnx', inputs) < 1e-5


def test_a_missing_package_is_named(
    tiny_model_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(export, 'PACKAGES', ('onnx_that_is_not_there',))
    assert main(['models', 'export', str(tiny_model_set), '--out', str(tmp_path)]) == 2
    assert "onnx_that_is_not_there: pip install 'lb_ros[export]'" in capsys.readouterr().err
