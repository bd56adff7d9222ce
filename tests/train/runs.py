"""Commands in this process, recipes for `lb-ros train contrast`, and the losses it logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.waiting import wait_until
from train.cli import main
from train.training import loop
from train.training.checkpoint import CHECKPOINT, LOG

REPOSITORY = Path(__file__).resolve().parents[2]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """What `lb-ros ...` would do."""
    monkeypatch.setattr(sys, 'argv', ['lb-ros', *map(str, arguments)])
    return main()


def run_twofold(*arguments: str | Path, limit_s: float) -> str:
    """What `torchrun` with two processes and gloo would do; return its output."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += ['--nproc-per-node', '2', '-m', 'train.cli', *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY, env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True, text=True, timeout=limit_s,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def recipe_file(path: Path, values: dict[str, Any], **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(values | changes))
    return path


def losses(out: Path) -> list[float]:
    records = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert [r['step'] for r in records] == list(range(1, len(records) + 1))
    return [r['loss'] for r in records]


def break_off(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path, after: int) -> None:
    """Start a training in this process and interrupt it after some steps."""
    step = loop.training_step

    def stop(given: Any) -> Any:
        if given.step == after:
            raise KeyboardInterrupt
        return step(given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, 'training_step', stop)
        run(patch, *arguments)


def wait_for_checkpoint(process: subprocess.Popen[Any], out: Path) -> None:
    """Until a training run in another process has written its first checkpoint."""

    def written() -> bool:
        assert process.poll() is None, process.stdout and process.stdout.read()
        return (out / CHECKPOINT).exists()

    wait_until(written, limit_s=180.0)
