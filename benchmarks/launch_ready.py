"""Time until the nodes of `ros2 launch lb_ros bringup.launch.py` are ready, and their memory.

Memory is the unique set size (USS) of the process of all nodes, and the part of it that is not a
copy of a file (dirty): when it is ready, and after camera, depth, infrared and microphone have
published for ten seconds. Library pages count only while no other process maps them, so no other
process may use the environment. Run it in a shell where `ros2` finds the package:

    python -m benchmarks.launch_ready --ros2 /opt/ros/jazzy/bin/ros2
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.environment import write_result

PROBE = Path(__file__).resolve().with_name('client_probe.py')
LIMIT_S = 120.0
WORK_S = 10.0
READY_TARGET_S, USS_TARGET_MB = 3.5, 450.0


def memory_mb(pid: int) -> dict[str, float]:
    """Unique set size of a process in megabytes, in total (`uss`) and without pages of files."""
    text = Path(f'/proc/{pid}/smaps_rollup').read_text()
    found = {k: int(kb) / 1e3 for k, kb in re.findall(r'^Private_(\w+):\s+(\d+) kB', text, re.M)}
    return {'uss': sum(found.values()), 'dirty': found['Dirty']}


def launch(ros2: str, *, domain: int) -> dict[str, float]:
    """Perform one start; publish sensors once it is ready.

    Raises:
        RuntimeError: The nodes were not ready within `LIMIT_S`.
    """
    environment = {
        **os.environ, 'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'
    }  # fmt: skip
    began_s = time.monotonic()
    process = subprocess.Popen(
        [ros2, 'launch', 'lb_ros', 'bringup.launch.py'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    limit = threading.Timer(LIMIT_S, process.kill)
    limit.start()
    sensors = None
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if 'bringup is ready' in line:
                break
        else:
            raise RuntimeError(f'bringup was not ready within {LIMIT_S} s:\n{"".join(lines)}')
        ready_s = time.monotonic() - began_s
        (pid,) = re.findall(r'process started with pid \[(\d+)\]', ''.join(lines))
        ready = {f'{k}_ready_mb': mb for k, mb in memory_mb(int(pid)).items()}
        sensors = subprocess.Popen([sys.executable, PROBE, '--sensors'], env=environment)
        time.sleep(WORK_S)
        working = {f'{k}_working_mb': mb for k, mb in memory_mb(int(pid)).items()}
        return {'ready_s': ready_s, **ready, **working}
    finally:
        limit.cancel()
        if sensors is not None:
            sensors.send_signal(signal.SIGINT)
            sensors.wait(LIMIT_S)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=LIMIT_S)


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--ros2', default='ros2', help='program; default: ros2')
    parser.add_argument('--runs', type=int, default=7, help='starts; default 7')
    parser.add_argument('--name', default='launch_ready', help='of the result file')
    parser.add_argument('--domain', type=int, default=74, help='ROS domain; default 74')
    args = parser.parse_args()
    load = os.getloadavg()[0]
    runs = [launch(args.ros2, domain=args.domain) for _ in range(args.runs)]
    result: dict[str, Any] = {
        'command': 'python -m benchmarks.launch_ready',
        'load_before': round(load, 1),
        'targets': {'ready_s': READY_TARGET_S, 'uss_working_mb': USS_TARGET_MB},
    }
    for name in runs[0]:
        values = [run[name] for run in runs]
        result[name] = {
            'median': round(statistics.median(values), 2),
            'all': [round(value, 2) for value in values],
        }
    path = write_result(args.name, result)
    print(f'{result}\nwritten to {path}')


if __name__ == '__main__':
    main()
