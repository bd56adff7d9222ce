"""Distribution of work on many bags over a Ray cluster; the only module that imports Ray.

Every machine needs this package and the same folders at the same paths, for example on a shared
file system.
"""

from __future__ import annotations

import argparse
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

LOCAL = 'local'
WAITING_PER_CORE = 2  # tasks submitted before the first result is awaited
Item = TypeVar('Item')
Result = TypeVar('Result')


class RayMissingError(ValueError):
    """Ray was requested but is not installed."""


class Spread(Protocol):
    """Applies a function to items, possibly elsewhere; results come in the order of the items."""

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """Apply as `map` does: an error of the function is raised in place of its result."""
        ...


def add_ray_argument(parser: argparse._ActionsContainer) -> None:
    """Declare `--ray`."""
    parser.add_argument(
        '--ray',
        nargs='?',
        const=LOCAL,
        metavar='ADDRESS',
        help='spread bags over a Ray cluster (auto, HOST:6379, ray://HOST:10001), or over the '
        'cores of this machine without ADDRESS; folders must be shared between the machines',
    )


@contextmanager
def ray_cluster(address: str, *, gpus: float = 0) -> Iterator[Spread]:
    """Join a cluster, or start one on the cores of this machine; disconnect at the end.

    Args:
        address: See `add_ray_argument`.
        gpus: GPUs of each task; every task has one core.

    Raises:
        RayMissingError: Ray is not installed.
        ConnectionError: There is no cluster at this address.
    """
    ray = _ray()
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # Ray sends usage statistics otherwise
    own = {'include_dashboard': False} if address == LOCAL else {}
    ray.init(address=address, log_to_driver=False, logging_level='error', **own)
    try:
        yield _RaySpread(ray, gpus)
    finally:
        ray.shutdown()


class _RaySpread:
    def __init__(self, ray: Any, gpus: float) -> None:
        self._ray = ray
        self._run = ray.remote(num_cpus=1, num_gpus=gpus)(_run_in)
        self._most = WAITING_PER_CORE * max(1, int(ray.cluster_resources().get('CPU', 1)))

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        here, waiting = Path.cwd(), deque[Any]()
        for item in items:
            if len(waiting) == self._most:
                yield self._result(waiting.popleft())
            waiting.append(self._run.remote(here, function, item))
        while waiting:
            yield self._result(waiting.popleft())

    def _result(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            # The original error of the function, as without Ray.
            raise (error.cause if isinstance(error.cause, Exception) else error) from error


def _run_in(folder: Path, function: Callable[[Item], Result], item: Item) -> Result:
    """Run a task on one core, in the folder to which its relative paths refer."""
    import torch

    os.chdir(folder)
    torch.set_num_threads(1)
    return function(item)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise RayMissingError(
            "Ray is not installed; get it with: pip install 'lb_ros[ray]'"
        ) from error
    return ray
