"""Memory of a process that holds a model set and runs packed calls."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from encoders.model_sets.towers import towers_of
from encoders.vision.packed import encode_together
from encoders.vision.precision import DTYPES, dtype_of
from encoders.vision.prepacked import prepack
from lb_ros.bench.measure import Measurement
from lb_ros.bench.subjects import open_encoders

LIMIT_S = 600.0
CALLS = 3


def memory(model: str, precision: str, repeats: int) -> list[Measurement]:
    """Measure memory in float32 and in `precision`, each in a separate process (see `_report`).

    The time is that of the last of three packed calls.
    """
    chosen = dtype_of(precision)
    found = []
    for name in (n for n, dtype in DTYPES.items() if dtype in (torch.float32, chosen)):
        command = [sys.executable, '-m', __name__, model, name, str(torch.get_num_threads())]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=True
        )
        facts = json.loads(done.stdout.splitlines()[-1])
        took_ms = facts.pop('call_ms')
        found.append(
            Measurement(
                'memory',
                f'all {name} packed',
                median_ms=took_ms,
                p95_ms=took_ms,
                min_ms=took_ms,
                cpu_ms=took_ms,
                repeats=1,
                facts=facts,
            )
        )
    return found


@torch.inference_mode()
def _report(model: str, precision: str) -> dict[str, float | str]:
    """Return the memory of parameters, of this process after loading, and its peak, all in MiB.

    The peak is measured after loading, because creating random weights needs more memory.
    """
    encoders, inputs = open_encoders(model, DTYPES[precision])
    towers = towers_of(encoders)
    prepack(towers.values())
    held = {id(p): p.nbytes for tower in towers.values() for p in tower.parameters()}
    gc.collect()
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak
    loaded_mib = _status_mib('VmRSS')
    for _ in range(CALLS):
        start_s = time.perf_counter()
        encode_together(towers, inputs)
        call_ms = (time.perf_counter() - start_s) * 1e3
    return {
        'precision': precision,
        'parameters_mib': round(sum(held.values()) / 2**20, 1),
        'loaded_mib': round(loaded_mib, 1),
        'peak_mib': round(_status_mib('VmHWM'), 1),
        'call_ms': round(call_ms, 1),
    }


def _status_mib(key: str) -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f'{key}:'))


if __name__ == '__main__':
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(_report(sys.argv[1], sys.argv[2])))
