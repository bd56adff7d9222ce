"""The training loop of all recipes: learning rate, updates, checkpoints and output.

A recipe creates an `Objective` and calls `train`.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from train.training.checkpoint import (
    CHECKPOINT,
    LOG,
    DivergedError,
    forget_later_steps,
    load_checkpoint,
    refuse_other_run,
    save_checkpoint,
)
from train.training.progress import TrainingProgress
from train.training.ranks import Ranks, wait_for_all

KEPT = 'the last checkpoint is kept; lower learning_rate, or use precision fp32'


class Objective(Protocol):
    """What a training minimises, and all state that changes during training."""

    @property
    def samples_per_step(self) -> int:
        """Samples of all modalities in one step."""
        ...

    def learning(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Trainable parameters, by name."""
        ...

    def learning_rate(self, step: int, done: float) -> float:
        """Learning rate after `step` updates; `done` is the completed share of the training."""
        ...

    def backward(self, step: int, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """Add the gradients of the batch of a step; return the loss of each modality."""
        ...

    def updated(self, step: int) -> None:
        """Called after update `step` (from 0): moving averages, limits of parameters."""
        ...

    def temperatures(self) -> dict[str, float]:
        """Temperature of each modality, by which its cosines are divided."""
        ...

    def validate(self) -> Mapping[str, float] | None:
        """AUROC on held-out data by group of predicates; None without such data."""
        ...

    def state(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """Length of a training, its identity, and when it is saved.

    Attributes:
        max_steps, max_minutes: Limits; training ends at whichever is reached first.
        save_every_steps, save_every_minutes: Save a checkpoint and validate after either.
        clip_norm: Maximum norm to which gradients are clipped; None for no clipping.
        recipe: Configuration as plain values, stored in checkpoints.
        data: Values that identify the data, stored in checkpoints.
        changeable: Keys of the recipe that may differ when the training resumes.
    """

    max_steps: int
    max_minutes: float = math.inf
    save_every_steps: float = math.inf
    save_every_minutes: float = math.inf
    clip_norm: float | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    changeable: tuple[str, ...] = ()


@dataclass
class Run:
    """A training in progress."""

    objective: Objective
    plan: Plan
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    elapsed_s: float = 0.0

    @property
    def done(self) -> float:
        """Completed share of the training, by steps or by time, whichever is larger."""
        by_clock = self.elapsed_s / (60 * self.plan.max_minutes)
        return max(self.step / self.plan.max_steps, by_clock)


def new_run(
    objective: Objective,
    plan: Plan,
    groups: list[dict[str, Any]],
    *,
    scaler: torch.amp.GradScaler | None = None,
) -> Run:
    """Create a training before its first step.

    Args:
        objective: What it minimises.
        plan: Its length.
        groups: Parameter groups of AdamW; `rate_factor`, if present, multiplies the learning rate.
        scaler: Scales the loss in fp16; None does not.
    """
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-6)
    return Run(objective, plan, optimizer, scaler or torch.amp.GradScaler(enabled=False))


def train(
    run: Run,
    out: Path,
    *,
    ranks: Ranks,
    resume: bool,
    tensorboard: bool,
    overwrite: bool = False,
) -> None:
    """Train until the plan is completed; the checkpoint and the log are written to `out`.

    SIGINT and SIGTERM end the training after the current step, with a checkpoint; then the signal
    is raised again for the previous handler.

    Raises:
        DivergedError: The loss or a gradient became infinite or NaN.
        CheckpointError: A checkpoint cannot be written, or does not belong to this run.
        FileNotFoundError: `resume` is given, but there is no checkpoint.
        FileExistsError: `out` holds a run, and neither `resume` nor `overwrite` is given.
    """
    if resume:
        _restore(run, out)
    elif ranks.first:
        refuse_other_run(out, resume=resume, overwrite=overwrite)
        (out / LOG).unlink(missing_ok=True)  # the first save replaces an old checkpoint
    began_s, saved_step, saved_s = time.monotonic() - run.elapsed_s, run.step, run.elapsed_s
    output = TrainingProgress(out, start=run.step, shown=ranks.first, tensorboard=tensorboard)
    with StopAfterStep() as stop, output as progress:
        while run.done < 1.0:
            step_s = time.monotonic()
            losses = training_step(run)
            now_s = time.monotonic()
            run.elapsed_s = now_s - began_s
            progress.step(
                run.step,
                done=run.done,
                losses=losses,
                temperatures=run.objective.temperatures(),
                learning_rate=run.optimizer.param_groups[0]['lr'],
                samples_per_s=run.objective.samples_per_step / max(now_s - step_s, 1e-9),
            )
            is_due = run.step - saved_step >= run.plan.save_every_steps
            is_due |= run.elapsed_s - saved_s >= 60 * run.plan.save_every_minutes
            if is_due or stop.signum or run.done >= 1.0:
                saved_step, saved_s = run.step, run.elapsed_s
                if ranks.first:
                    _save(run, out)
                    if not stop.signum:
                        _validate(run, progress)
                if stop.signum:
                    break
                wait_for_all(ranks)
    if stop.signum:
        if ranks.first:
            print(
                f'stopped at step {run.step}: {out / CHECKPOINT} is saved; go on with --resume',
                file=sys.stderr,
            )
        signal.raise_signal(stop.signum)


class StopAfterStep:
    """Context in which the first SIGINT or SIGTERM is only recorded, as `signum`.

    A second signal goes to the previous handler. Outside the main thread no handler is installed.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopAfterStep:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _note(self, signum: int, frame: object) -> None:
        self.signum = signum
        self.__exit__()


def training_step(run: Run) -> dict[str, float]:
    """Perform one update of all modalities; return their losses before the update.

    Raises:
        DivergedError: A loss or gradient is not finite; nothing was updated.
    """
    for group in run.optimizer.param_groups:
        rate = run.objective.learning_rate(run.step, run.done)
        group['lr'] = rate * group.get('rate_factor', 1.0)
    run.optimizer.zero_grad(set_to_none=True)
    losses = run.objective.backward(run.step, run.scaler)
    total = math.fsum(losses.values()) if all(map(math.isfinite, losses.values())) else math.nan
    if not math.isfinite(total):
        raise DivergedError(f'the loss is {total} at step {run.step + 1}: {losses}; {KEPT}')
    if not run.scaler.is_enabled():  # the scaler skips updates with infinite gradients
        _refuse_infinite(run)
    if run.plan.clip_norm is not None:
        parameters = [parameter for _, parameter in run.objective.learning()]
        nn.utils.clip_grad_norm_(parameters, run.plan.clip_norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.objective.updated(run.step)
    run.step += 1
    return losses


def _refuse_infinite(run: Run) -> None:
    for name, parameter in run.objective.learning():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            raise DivergedError(
                f'the gradient of {name} is not finite at step {run.step + 1}; {KEPT}'
            )


def _validate(run: Run, progress: TrainingProgress) -> None:
    auroc = run.objective.validate()
    if auroc is not None:
        progress.validated(run.step, elapsed_s=run.elapsed_s, auroc=auroc)


def _save(run: Run, out: Path) -> None:
    state = {
        **run.objective.state(),
        'optimizer': run.optimizer.state_dict(),
        'scaler': run.scaler.state_dict(),
        'step': run.step,
        'elapsed_s': run.elapsed_s,
    }
    save_checkpoint(out / CHECKPOINT, state, recipe=run.plan.recipe, data=run.plan.data)


def _restore(run: Run, out: Path) -> None:
    state = load_checkpoint(
        out / CHECKPOINT,
        recipe=run.plan.recipe,
        data=run.plan.data,
        changeable=run.plan.changeable,
    )
    run.objective.restore(state)
    run.optimizer.load_state_dict(state['optimizer'])
    run.scaler.load_state_dict(state['scaler'])
    run.step, run.elapsed_s = state['step'], state['elapsed_s']
    forget_later_steps(out / LOG, run.step)
