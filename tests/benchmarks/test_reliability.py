"""The soak and the kill cycles in their short modes; docs/reliability.md has the long ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600.0


def run(tmp_path: Path, program: str, *words: str) -> dict[str, object]:
    report = tmp_path / 'report.json'
    done = subprocess.run(
        [sys.executable, '-m', f'benchmarks.{program}', '--json', report, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(report.read_text())
    return found


def test_half_a_minute_of_faults_leaves_nothing_wrong(tmp_path: Path, ros_domain: int) -> None:
    # Memory settles in the first minutes, so only the three-minute mode judges it strictly.
    found = run(tmp_path, 'soak', '--minutes', '0.5', '--growth-percent', '20')
    assert found['faults'] and found['recoveries']


@pytest.mark.parametrize('what', ['bringup', 'training'])
def test_what_is_killed_starts_again(tmp_path: Path, ros_domain: int, what: str) -> None:
    found = run(tmp_path, 'kill_cycles', '--only', what, '--cycles', '2')
    assert found[what]['cycles'] == 2  # type: ignore[index]
