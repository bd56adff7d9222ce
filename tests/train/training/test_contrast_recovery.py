"""The contrastive recipe killed, on a full disk, and diverging."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.runs import break_off, losses, recipe_file, run, wait_for_checkpoint
from train.pairs.data import open_pair_data
from train.training.checkpoint import CHECKPOINT, CheckpointError, load_checkpoint
from train.training.contrast_recipe import load_contrast_recipe

pytestmark = pytest.mark.usefixtures('one_thread')

REPOSITORY = Path(__file__).resolve().parents[3]


def start_training(arguments: Sequence[str], **changes: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    return subprocess.Popen(
        [sys.executable, '-m', 'train.cli', *arguments],
        cwd=REPOSITORY, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **changes,
    )  # fmt: skip


def test_a_run_that_broke_off_goes_on_with_the_losses_of_one_that_did_not(
    recipe_values: dict[str, Any],
    pair_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one process and without a signal: the checkpoint of step 2, and what was logged after."""
    values = recipe_values | {'lora': {'rank': 4, 'alpha': 16, 'dropout': 0.1}}
    recipe = recipe_file(tmp_path / 'tiny.yaml', values)
    arguments = ['train', 'contrast', '--config', str(recipe), '--data', str(pair_folder)]
    broken, whole = tmp_path / 'broken', tmp_path / 'whole'
    break_off(monkeypatch, *arguments, '--out', broken, '--threads', '1', after=3)
    assert not (broken / 'tiny').exists()
    assert run(monkeypatch, *arguments, '--out', broken, '--resume', '--threads', '1') == 0
    assert run(monkeypatch, *arguments, '--out', whole, '--threads', '1') == 0
    assert losses(broken) == losses(whole)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_losses_of_one_that_was_not(
    recipe_values: dict[str, Any],
    pair_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = recipe_values | {'max_steps': 30, 'lora': {'rank': 4, 'alpha': 16, 'dropout': 0.1}}
    recipe = recipe_file(tmp_path / 'tiny.yaml', values)
    arguments = ['train', 'contrast', '--config', str(recipe), '--data', str(pair_folder)]
    killed, whole = tmp_path / 'killed', tmp_path / 'whole'
    with start_training([*arguments, '--out', str(killed)]) as process:
        wait_for_checkpoint(process, killed)
        process.send_signal(signal.SIGKILL)
    assert not (killed / 'tiny').exists()
    assert run(monkeypatch, *arguments, '--out', killed, '--resume', '--threads', '1') == 0
    assert run(monkeypatch, *arguments, '--out', whole, '--threads', '1') == 0
    assert losses(killed) == losses(whole)
    printed = capsys.readouterr().out
    assert 'tiny: training' in printed.splitlines()[0]
    assert (whole / 'report.html').is_file()
    # With other data or another rate it is another run.
    recipe_file(recipe, values, learning_rate=2e-2)
    assert run(monkeypatch, *arguments, '--out', killed, '--resume') == 1
    assert 'learning_rate = 0.01, not 0.02' in capsys.readouterr().err


def test_a_full_disk_stops_with_a_message_and_keeps_the_checkpoint(
    recipe_values: dict[str, Any],
    pair_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipe_file(tmp_path / 'tiny.yaml', recipe_values, max_steps=2)
    out = tmp_path / 'out'
    arguments = ['train', 'contrast', '--config', str(recipe), '--data', str(pair_folder)]
    arguments += ['--out', str(out)]
    arguments += ['--threads', '1']
    assert run(monkeypatch, *arguments) == 0
    before = (out / CHECKPOINT).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        assert run(monkeypatch, *arguments, '--overwrite') == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err
    assert 'the checkpoint cannot be written' in said
    assert 'File too large' in said
    assert 'the one before it is kept' in said
    assert (out / CHECKPOINT).read_bytes() == before
    assert not list(out.glob('*.tmp'))
    assert not list(out.glob('.*.tmp'))


def test_a_diverging_loss_stops_and_keeps_the_last_checkpoint(
    recipe_values: dict[str, Any],
    pair_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wild = {'learning_rate': 1e30, 'save_every_steps': 1, 'max_steps': 20, 'warmup_steps': 0}
    recipe = recipe_file(tmp_path / 'tiny.yaml', recipe_values, **wild)
    out = tmp_path / 'out'
    arguments = ['train', 'contrast', '--config', recipe, '--data', pair_folder, '--out', out]
    assert run(monkeypatch, *arguments) == 1
    assert 'the loss is nan at step' in capsys.readouterr().err
    data = open_pair_data([pair_folder], load_contrast_recipe(recipe).pairs)
    described = json.loads(json.dumps(load_contrast_recipe(recipe).described()))
    state = load_checkpoint(out / CHECKPOINT, recipe=described, data=data.identity)
    assert all(torch.isfinite(p).all() for p in state['learned'].values())
    assert {'recipe', 'data', 'code'} <= state.keys()
    (out / CHECKPOINT).write_bytes(b'no zip')
    with pytest.raises(CheckpointError, match='damaged'):
        load_checkpoint(out / CHECKPOINT, recipe=described, data=data.identity)
