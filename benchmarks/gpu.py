"""Runs the stages of the GPU measurements, each in a process of its own with a time limit.

A stage that fails or hangs loses nothing but the rows that it has not written yet. The result
files are written again after every stage. Started by `benchmarks/gpu.sh`. Standard library only.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from encoders.atomic import write_atomically
from lb_ros.bench.environment import environment

MARK = 'ROW '  # before the JSON of a row in the output of a stage
TOTAL_S = 530.0
LAST_LINES = 20
# A rehearsal may share its processor with anything, and measures nothing.
REHEARSAL_SLACK = 20
# Limits in seconds. Short stages come first, so that they are not lost if the total runs out.
STAGES = {
    'device': 40.0,
    'tests': 90.0,
    'parity': 90.0,
    'memory': 60.0,
    'preprocessing': 60.0,
    'readout': 40.0,
    'training': 110.0,
    'engine-vit-l-14-bf16': 80.0,
    'engine-vit-h-14-bf16': 80.0,
    'engine-vit-l-14-fp16': 80.0,
    'engine-vit-h-14-fp16': 80.0,
}


@dataclass
class Outcome:
    """What a stage gave.

    Attributes:
        stage: Its name.
        status: `done`, `failed`, `timed out` or `not run` (the total time was over).
        seconds: How long it ran.
        rows: Its measurements; of a stage that ended early, those before that.
        last_lines: The end of its other output, if it did not end well.
    """

    stage: str
    status: str = 'not run'
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    last_lines: list[str] = field(default_factory=list)


def main() -> int:
    """Run the stages; return 0 if all are done, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--stages', nargs='+', choices=STAGES, default=list(STAGES))
    parser.add_argument('--rehearse', action='store_true', help='on the CPU with tiny models')
    parser.add_argument('--out', type=Path, default=Path('runs/gpu'))
    args = parser.parse_args()
    slack = REHEARSAL_SLACK if args.rehearse else 1
    end_s = time.monotonic() + TOTAL_S * slack
    outcomes = [Outcome(name) for name in STAGES if name in args.stages]
    for outcome in outcomes:
        left_s = end_s - time.monotonic()
        if left_s > 0:
            command = [sys.executable, '-m', 'benchmarks.gpu_stages', outcome.stage]
            command += ['--rates', json.dumps(rates_of(outcomes))]
            command += ['--rehearse'] if args.rehearse else []
            run_stage(outcome, command, limit_s=min(STAGES[outcome.stage] * slack, left_s))
        told = f'{outcome.status}, {outcome.seconds:.0f} s, {len(outcome.rows)} rows'
        print(f'{outcome.stage}: {told}', flush=True)
        write(args.out, outcomes, rehearsal=args.rehearse)
    print(f'written to {args.out}/gpu.json and gpu.csv')
    return int(any(outcome.status != 'done' for outcome in outcomes))


def run_stage(outcome: Outcome, command: Sequence[str], *, limit_s: float) -> None:
    """Run a command and collect its rows; end it and its children after `limit_s`."""
    began_s = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        start_new_session=True,
    )
    last: deque[str] = deque(maxlen=LAST_LINES)
    reader = threading.Thread(target=_read, args=(process, outcome.rows, last), daemon=True)
    reader.start()
    try:
        process.wait(limit_s)
        outcome.status = 'done' if process.returncode == 0 else 'failed'
    except subprocess.TimeoutExpired:
        outcome.status = 'timed out'
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    reader.join(1.0)  # a pipe that a lost child still holds is not waited for
    outcome.seconds = round(time.monotonic() - began_s, 1)
    if outcome.status != 'done':
        outcome.last_lines = list(last)
        print('\n'.join(outcome.last_lines), file=sys.stderr)


def _read(process: subprocess.Popen[str], rows: list[dict[str, Any]], last: deque[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(MARK):
            rows.append(json.loads(line.removeprefix(MARK)))
        else:
            last.append(line.rstrip())


def rates_of(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the measured rate of matrix products by precision, TFLOP/s."""
    return {
        row['precision']: row['tflop_per_s']
        for outcome in outcomes
        if outcome.stage == 'device'
        for row in outcome.rows
        if row['case'].startswith('matrix product')
    }


def write(out: Path, outcomes: Sequence[Outcome], *, rehearsal: bool) -> None:
    """Write gpu.json (everything) and gpu.csv (a line per row), replacing earlier ones."""
    out.mkdir(parents=True, exist_ok=True)
    device = next((row for o in outcomes for row in o.rows if row['case'] == 'device'), {})
    result = {
        **environment(),
        'device': device,
        'rehearsal': rehearsal,
        'matrix_tflop_per_s': rates_of(outcomes),
        'stages': [asdict(outcome) for outcome in outcomes],
    }
    write_atomically(out / 'gpu.json', (json.dumps(result, indent=2) + '\n').encode())
    rows = [
        {'stage': outcome.stage, 'status': outcome.status, **row}
        for outcome in outcomes
        for row in outcome.rows or [{}]
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (out / 'gpu.csv').open('w', newline='') as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == '__main__':
    sys.exit(main())
