"""Commands in this process, recipes for `lb-ros train contrast`, and the losses it logs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from train.cli import main
from train.training.checkpoint import LOG


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """What `lb-ros ...` would do."""
    monkeypatch.setattr(sys, 'argv', ['lb-ros', *map(str, arguments)])
    return main()


def recipe_file(path: Path, values: dict[str, Any], **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(values | changes))
    return path


def losses(out: Path) -> list[float]:
    records = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert [r['step'] for r in records] == list(range(1, len(records) + 1))
    return [r['loss'] for r in records]
