"""Latency of a client's requests while four sensors publish at 10 Hz.

Measures `query`, `wait_until` for a state that already holds, and the CPU time of the nodes. With
`--against`, runs alternate with another checkout (with its own `.venv`), so that both are measured
under the same load of the machine:

    python -m benchmarks.client_latency --against ../before

A run takes about 20 s; with both checkouts and three rounds, two to three minutes. Run it on a
idle machine: the targets are for two cores without other load.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import write_result

PROBE = Path(__file__).resolve().with_name('client_probe.py')
RUN_S = 300.0
TARGETS_MS = {'query_ms': 15.0, 'wait_ms': 40.0}


def probe(python: Path | str, *, model: str, turns: int, domain: int) -> dict[str, Any]:
    """Perform one run with the nodes and the client of an installation."""
    command = [str(python), str(PROBE), '--model', model, '--turns', str(turns)]
    environment = {
        **_unprepared(),
        'ROS_DOMAIN_ID': str(domain),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    }
    # From an empty folder, so that only packages installed for that Python are imported.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=RUN_S,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _unprepared() -> dict[str, str]:
    """The environment without the variables that ROS from wheels set for this Python."""
    found = {k: v for k, v in os.environ.items() if k != '_ROS_WHEELS_BOOTSTRAP_COMPLETE'}
    entries = found.pop('LD_LIBRARY_PATH', '').split(':')
    others = [each for each in entries if each and not each.startswith(sys.prefix)]
    return found | ({'LD_LIBRARY_PATH': ':'.join(others)} if others else {})


def commit(python: Path | str) -> str:
    """Short hash of the commit of the checkout that a Python's environment belongs to."""
    folder = Path(python).parents[2]
    command = ['git', '-C', str(folder), 'rev-parse', '--short', 'HEAD']
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Percentiles over all runs of a checkout."""
    found: dict[str, Any] = {}
    for name in TARGETS_MS:
        values = [value for run in runs for value in run[name]]
        found[name] = {
            f'p{q}': round(float(np.percentile(values, q)), 1) for q in (50, 95, 99)
        } | {'count': len(values)}
    found['nodes_cpu_percent'] = [run['nodes_cpu_percent'] for run in runs]
    return found


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--against', type=Path, metavar='CHECKOUT', help='measure it in turn')
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--turns', type=int, default=60, help='calls of each kind in a round')
    parser.add_argument('--domain', type=int, default=73, help='ROS domain; default 73')
    args = parser.parse_args()
    pythons: dict[str, Path | str] = {'now': sys.executable}
    if args.against is not None:
        pythons['before'] = args.against.resolve() / '.venv' / 'bin' / 'python'
        if not Path(pythons['before']).exists():
            parser.error(f'{args.against} has no .venv; run scripts/setup.sh there')
    load = os.getloadavg()[0]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    for turn in range(args.rounds):
        for name, python in pythons.items():
            runs[name].append(
                probe(python, model=args.model, turns=args.turns, domain=args.domain)
            )
            print(f'round {turn + 1}, {name}: {json.dumps(summary(runs[name][-1:]))}', flush=True)
    result: dict[str, Any] = {
        'model': args.model,
        'load_before': round(load, 1),
        'command': 'python -m benchmarks.client_latency --against CHECKOUT',
        'rounds': args.rounds,
        'commits': {name: commit(python) for name, python in pythons.items()},
        'sensors': 'camera, depth, infrared and microphone at 10 Hz',
        'p95_targets_ms': TARGETS_MS,
    }
    result |= {name: summary(found) for name, found in runs.items()}
    result['targets_met'] = all(
        result['now'][name]['p95'] < limit_ms for name, limit_ms in TARGETS_MS.items()
    )
    path = write_result('client_latency', result)
    print(f'{json.dumps(result, indent=2)}\nwritten to {path}')


if __name__ == '__main__':
    main()
