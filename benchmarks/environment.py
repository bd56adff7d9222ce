"""Writing of the result files of the benchmarks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lb_ros.bench.environment import environment

RESULTS = Path(__file__).resolve().parent / 'results'
FRESH = Path('runs') / 'results'  # not tracked
OVERWRITE = 'OVERWRITE_RESULTS'


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write NAME.json with the environment and the measured values; return its path.

    A tracked result stays unchanged unless OVERWRITE_RESULTS=1 is set: the new one is written to
    runs/results.
    """
    path = RESULTS / f'{name}.json'
    if path.exists() and os.environ.get(OVERWRITE, '') in ('', '0'):
        path = FRESH / path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**environment(), **result}, indent=2) + '\n')
    return path
