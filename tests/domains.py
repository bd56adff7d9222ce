"""Private ROS domains: a lock on a file keeps the test processes of a machine apart."""

from __future__ import annotations

import fcntl
import itertools
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# From domain 102 on, Linux gives the ports of a domain to others. In an order of this process's
# own, and never the same domain twice in a row: a process of the test before may still be leaving.
_DOMAINS = itertools.cycle(random.SystemRandom().sample(range(1, 101), 100))


@contextmanager
def own_domain() -> Iterator[int]:
    """Set `ROS_DOMAIN_ID`, also for processes that are started, to a domain of nobody else."""
    for domain in _DOMAINS:
        path = Path(tempfile.gettempdir()) / f'lb_ros_test_domain_{domain}.lock'
        with path.open('w') as lock, pytest.MonkeyPatch.context() as patch:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            patch.setenv('ROS_DOMAIN_ID', str(domain))
            patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
            yield domain
            return
