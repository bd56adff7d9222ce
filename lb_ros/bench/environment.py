"""The environment of a benchmark, which its result contains so that others can repeat it."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ('torch', 'numpy', 'opencv-python', 'ros-jazzy-rclpy')


def environment() -> dict[str, Any]:
    """Return machine, versions, command line and time of this run, as values for JSON."""
    return {
        'command': shlex.join(['python', *sys.orig_argv[1:]]),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'machine': {
            'cpu': _cpu_name(),
            'cores': len(os.sched_getaffinity(0)),
            # Load of the last minute; far above that of the benchmark, others used the machine.
            'load': round(os.getloadavg()[0], 2),
            'memory_gib': round(_memory_bytes() / 2**30, 1),
            'system': platform.platform(),
        },
        'python': platform.python_version(),
        'versions': {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return 'not installed'


def _cpu_name() -> str:
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.partition(':')[2].strip()
    return platform.processor() or 'unknown'


def _memory_bytes() -> int:
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
