"""Training of one model in several processes: ranks, and collective operations."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from train.training.checkpoint import CheckpointError, DivergedError, refuse_other_run


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among all processes of a training.

    Attributes:
        rank: Index of this process, from 0.
        count: Number of processes.
        device: Device of this process.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0


@contextmanager
def join_ranks(device: str = 'auto') -> Iterator[Ranks]:
    """Join the processes that `torchrun` started; without it, there is a single process.

    Args:
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one. GPUs communicate over NCCL,
            CPUs over gloo.

    Raises:
        ValueError: There is no such device.
    """
    kind = ('cuda' if torch.cuda.is_available() else 'cpu') if device == 'auto' else device
    if kind.startswith('cuda') and not torch.cuda.is_available():
        raise ValueError(f'device {device!r}: this machine has no usable GPU')
    count = int(os.environ.get('WORLD_SIZE', '1'))
    if count == 1:
        yield Ranks(0, 1, torch.device(kind))
        return
    if kind == 'cuda':
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', '0')))
        kind = f'cuda:{torch.cuda.current_device()}'
    dist.init_process_group('nccl' if kind.startswith('cuda') else 'gloo')
    try:
        yield Ranks(dist.get_rank(), count, torch.device(kind))
    finally:
        dist.destroy_process_group()


def gathered(own: Tensor, ranks: Ranks) -> Tensor:
    """Gather the rows of all processes in order of rank, without gradient."""
    if ranks.count == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(ranks.count)]
    dist.all_gather(parts, own.contiguous())
    return torch.cat(parts)


def gathered_objects(own: Sequence[Any], ranks: Ranks) -> list[Any]:
    """Gather the entries of all processes in order of rank."""
    if ranks.count == 1:
        return list(own)
    parts: list[Any] = [None] * ranks.count
    dist.all_gather_object(parts, list(own))
    return [entry for part in parts for entry in part]


def summed(own: Tensor, ranks: Ranks) -> Tensor:
    """Sum a tensor over all processes, without gradient."""
    if ranks.count > 1:
        own = own.clone()
        dist.all_reduce(own)
    return own


def add_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Sum the gradients of all processes; each process computed them on its part of the batch."""
    if ranks.count == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)


def wait_for_all(ranks: Ranks) -> None:
    """Wait until every process has called this function."""
    if ranks.count > 1:
        dist.barrier()


def run_training(
    command: str, args: argparse.Namespace, train: Callable[[argparse.Namespace], None]
) -> int:
    """Run a training that several processes may share, and report its errors in one line.

    Args:
        command: Name of the command in error messages.
        args: Its options; `out`, `resume` and `overwrite` are read here.
        train: The training.

    Returns:
        0 on success, 2 for unusable input, 1 if the training failed.
    """
    try:
        if os.environ.get('RANK', '0') == '0':  # only the first process writes there
            refuse_other_run(args.out, resume=args.resume, overwrite=args.overwrite)
        train(args)
    except (CheckpointError, DivergedError) as error:
        print(f'{command}: {error}', file=sys.stderr)
        return 1
    except (KeyError, OSError, ValueError) as error:
        said = error.args[0] if isinstance(error, KeyError) else error
        print(f'{command}: {said}', file=sys.stderr)
        return 2
    return 0
