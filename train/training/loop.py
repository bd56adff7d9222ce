"""The one training loop: learning rate, updates, checkpoints and output.

What is learned is an `Objective`; a recipe makes one and calls `train`.
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
    """What a training minimises, and all of it that changes while it does."""

    @property
    def samples_per_step(self) -> int:
        """Samples of all modalities that one update learns from."""
        ...

    def learning(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Parameters that learn, by name."""
        ...

    def learning_rate(self, step: int, done: float) -> float:
        """Learning rate of the update after `step` updates, with `done` of the training behind."""
        ...

    def backward(self, step: int, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """Add the gradients of the batch of a step; returns the loss of each modality."""
        ...

    def updated(self, step: int) -> None:
        """Follow an update, the `step`-th: running averages, limits of parameters."""
        ...

    def temperatures(self) -> dict[str, float]:
        """What the cosines of each modality are divided by."""
        ...

    def validate(self) -> Mapping[str, float] | None:
        """AUROC by group of predicates on held-out data; None without such data."""
        ...

    def state(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a training lasts, what tells it from others, and when it is saved.

    Attributes:
        max_steps, max_minutes: It ends with the first of them.
        save_every_steps, save_every_minutes: A checkpoint after either, and validation with it.
        clip_norm: Gradients are scaled to at most this norm; None to leave them.
        recipe: Its configuration as plain values; goes into checkpoints.
        data: What identifies its data; likewise.
        changeable: Keys of the recipe that may differ when it goes on.
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
    """A training under way."""

    objective: Objective
    plan: Plan
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    elapsed_s: float = 0.0

    @property
    def done(self) -> float:
        """Share of the training that is behind, by steps or by the clock."""
        by_clock = self.elapsed_s / (60 * self.plan.max_minutes)
        return max(self.step / self.plan.max_steps, by_clock)


def new_run(
    objective: Objective,
    plan: Plan,
    groups: list[dict[str, Any]],
    *,
    scaler: torch.amp.GradScaler | None = None,
) -> Run:
    """A training before its first step; `groups` are AdamW's groups of parameters."""
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
    """Train until the plan is over; `out` holds the checkpoint and the log.

    SIGINT and SIGTERM end it after the step under way, with a checkpoint; then they do what they
    would have done.

    Raises:
        DivergedError: The loss or a gradient became infinite or NaN.
        CheckpointError: A checkpoint cannot be written, or does not belong to this run.
        FileNotFoundError: `resume` without a checkpoint.
        FileExistsError: `out` holds a run, and neither `resume` nor `overwrite` is given.
    """
    if resume:
        _restore(run, out)
    elif ranks.first:
        refuse_other_run(out, resume=resume, overwrite=overwrite)
        (out / LOG).unlink(missing_ok=True)  # the checkpoint is replaced by the first one
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
    """Context in which the first SIGINT or SIGTERM is only noted, as `signum`.

    The second one does what it would have done without. In threads other than the main one signals
    are left alone.
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
    """One update of all modalities; returns their losses before it.

    Raises:
        DivergedError: A loss or gradient is not finite; nothing was updated.
    """
    for group in run.optimizer.param_groups:
        group['lr'] = run.objective.learning_rate(run.step, run.done)
    run.optimizer.zero_grad(set_to_none=True)
    losses = run.objective.backward(run.step, run.scaler)
    total = math.fsum(losses.values()) if all(map(math.isfinite, losses.values())) else math.nan
    if not math.isfinite(total):
        raise DivergedError(f'the loss is {total} at step {run.step + 1}: {losses}; {KEPT}')
    if not run.scaler.is_enabled():  # the scaler leaves an update with infinite gradients out
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
