"""Output of a training while it runs: a progress bar, a log of every step, TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from train.training.checkpoint import LOG


class TrainingProgress:
    """Context manager for the output of a training; silent unless `shown`.

    Args:
        out: Folder of the log and of TensorBoard's files.
        start: Number of steps already completed.
        shown: Whether this process reports.
        tensorboard: Also write event files.

    Raises:
        ValueError: `tensorboard` is given, but the package is not installed.
    """

    def __init__(self, out: Path, *, start: int, shown: bool, tensorboard: bool) -> None:
        self._log = out / LOG
        self._shown = shown
        self._events: Any = _summary_writer(out, start) if shown and tensorboard else None
        self._bar = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn('left'),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown,
        )
        self._task = self._bar.add_task('training', total=1.0)

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._events is not None:
            self._events.close()

    def step(
        self,
        step: int,
        *,
        done: float,
        losses: Mapping[str, float],
        temperatures: Mapping[str, float],
        learning_rate: float,
        samples_per_s: float,
    ) -> None:
        """Report a completed step (from 1); `done` is the completed share of the training."""
        if not self._shown:
            return
        total = math.fsum(losses.values())
        record = {
            'step': step,
            'loss': total,
            'losses': dict(losses),
            'temperature': dict(temperatures),
            'learning_rate': learning_rate,
            'samples_per_s': round(samples_per_s, 2),
        }
        self._write(record)
        warmth = ' '.join(f'{value:.3f}' for value in temperatures.values())
        text = (
            f'step {step}: {samples_per_s:.1f} samples/s, loss {total:.3f}, temperature {warmth}'
        )
        self._bar.update(self._task, completed=done, description=text)
        self._draw(step, {f'loss/{name}': value for name, value in losses.items()})
        self._draw(step, {f'temperature/{name}': value for name, value in temperatures.items()})
        self._draw(step, {'learning_rate': learning_rate, 'samples_per_s': samples_per_s})

    def validated(self, step: int, *, elapsed_s: float, auroc: Mapping[str, float]) -> None:
        """Report the AUROC after a step, by group of predicates."""
        if not self._shown:
            return
        self._write({'step': step, 'elapsed_s': round(elapsed_s, 1), 'auroc': dict(auroc)})
        self._draw(step, {f'auroc/{group}': value for group, value in auroc.items()})
        told = ', '.join(f'{group} {value:.3f}' for group, value in auroc.items())
        self._bar.console.print(f'{elapsed_s / 60:.0f} min, step {step}: median AUROC: {told}')

    def _write(self, record: Mapping[str, Any]) -> None:
        with self._log.open('a') as stream:
            stream.write(json.dumps(record) + '\n')

    def _draw(self, step: int, values: Mapping[str, float]) -> None:
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)


def _summary_writer(out: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "TensorBoard is not installed; get it with: pip install 'lb_ros[tensorboard]'"
        ) from error
    return SummaryWriter(str(out / 'tensorboard'), purge_step=start)
