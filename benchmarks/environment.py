"""Where the results of these scripts lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lb_ros.bench.environment import environment

RESULTS = Path(__file__).resolve().parent / 'results'


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write `results/NAME.json`: the environment first, then the measured values."""
    path = RESULTS / f'{name}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**environment(), **result}, indent=2) + '\n')
    return path
