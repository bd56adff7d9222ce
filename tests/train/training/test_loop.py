"""The training loop on a least-squares problem: stopped, continued, lengthened, replaced."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from train.training.checkpoint import CHECKPOINT, LOG
from train.training.loop import Plan, Run, new_run, train
from train.training.ranks import Ranks

ALONE = Ranks(0, 1, torch.device('cpu'))


class Line:
    """Fit a line to five points; a signal comes during one of the steps."""

    samples_per_step = 5

    def __init__(self, *, signum: int = 0, at_step: int = -1) -> None:
        torch.manual_seed(0)
        self.module, self.signum, self.at_step = nn.Linear(1, 1), signum, at_step

    def learning(self) -> Iterable[tuple[str, nn.Parameter]]:
        return self.module.named_parameters()

    def learning_rate(self, step: int, done: float) -> float:
        return 0.01

    def backward(self, step: int, scaler: torch.amp.GradScaler) -> dict[str, float]:
        if step == self.at_step:
            signal.raise_signal(self.signum)
        x = torch.arange(5.0)[:, None]
        loss = (self.module(x) - 2 * x).square().mean()
        loss.backward()
        return {'depth': loss.item()}

    def updated(self, step: int) -> None: ...

    def temperatures(self) -> dict[str, float]:
        return {}

    def validate(self) -> None: ...

    def state(self) -> dict[str, Any]:
        return {'line': self.module.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state['line'])


def run_of(line: Line, *, steps: int = 10, changeable: tuple[str, ...] = ('steps',)) -> Run:
    plan = Plan(max_steps=steps, recipe={'steps': steps}, changeable=changeable)
    return new_run(line, plan, [{'params': list(line.module.parameters())}])


def go(
    line: Line, out: Path, *, steps: int = 10, resume: bool = False, overwrite: bool = False
) -> Run:
    out.mkdir(exist_ok=True)
    run = run_of(line, steps=steps)
    train(run, out, ranks=ALONE, resume=resume, overwrite=overwrite, tensorboard=False)
    return run


def weights(line: Line) -> list[float]:
    return [value.item() for value in line.module.parameters()]


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_signal_ends_it_after_the_step_with_a_checkpoint(
    signum: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Line()
    go(whole, tmp_path / 'whole')

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signum, end)
    try:
        with pytest.raises(KeyboardInterrupt):
            go(Line(signum=signum, at_step=3), tmp_path / 'stopped')
        assert signal.getsignal(signum) is end
    finally:
        signal.signal(signum, before)
    said = capsys.readouterr().err
    assert f'stopped at step 4: {tmp_path / "stopped" / CHECKPOINT} is saved' in said
    assert '--resume' in said
    resumed = Line()
    assert go(resumed, tmp_path / 'stopped', resume=True).step == 10
    assert weights(resumed) == weights(whole)


def test_a_finished_run_can_be_lengthened(tmp_path: Path) -> None:
    whole, longer = Line(), Line()
    go(whole, tmp_path / 'whole', steps=15)
    go(Line(), tmp_path / 'run', steps=10)
    assert go(longer, tmp_path / 'run', steps=15, resume=True).step == 15
    assert weights(longer) == weights(whole)


def test_a_run_is_replaced_only_where_told(tmp_path: Path) -> None:
    go(Line(), tmp_path / 'run')
    kept = (tmp_path / 'run' / CHECKPOINT).read_bytes()
    with pytest.raises(FileExistsError, match='give --resume to go on with it, --overwrite'):
        go(Line(), tmp_path / 'run')
    assert (tmp_path / 'run' / CHECKPOINT).read_bytes() == kept
    go(Line(), tmp_path / 'run', steps=2, overwrite=True)
    assert len((tmp_path / 'run' / LOG).read_text().splitlines()) == 2
