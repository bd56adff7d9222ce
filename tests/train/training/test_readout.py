"""Readouts trained on drawn bags: what they learn, how runs resume, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from encoders import Binder
from encoders.model_sets.calibration import FILE as CALIBRATION
from encoders.model_sets.convert import convert
from encoders.model_sets.evidence import Evidence
from encoders.model_sets.files import verify
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.readouts import CALIBRATION as READOUT_CALIBRATION
from encoders.model_sets.readouts import FILE, describe_readouts
from encoders.predicates.file import load_predicates
from encoders.predicates.metrics import auroc
from tests.train.conftest import RECIPES, DrawnBag
from tests.train.runs import (
    break_off,
    losses,
    recipe_file,
    run,
    run_twofold,
    wait_for_checkpoint,
)
from train.bags.find import find_bags
from train.calibration.readouts import read_tokens
from train.phrasings import Phrasings
from train.training.checkpoint import CHECKPOINT

pytestmark = pytest.mark.usefixtures('one_thread')

REPOSITORY = Path(__file__).resolve().parents[3]
QUICK = ('--workers', '1', '--threads', '1')


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def arguments(
    readout_values: dict[str, Any], train_bags: Path, cache: Path, tmp_path_factory: Any
) -> list[str]:
    """The command of a short training, without `--out`."""
    recipe = recipe_file(tmp_path_factory.mktemp('recipe') / 'asked.yaml', readout_values)
    command = ['train', 'readout', '--config', str(recipe), '--data', str(train_bags)]
    return [*command, '--cache', str(cache), *QUICK]


@pytest.fixture(scope='module')
def trained(
    readout_values: dict[str, Any],
    train_bags: Path,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A set whose readouts were trained long enough to learn the drawn facts."""
    folder = tmp_path_factory.mktemp('trained')
    recipe = recipe_file(folder / 'asked.yaml', readout_values, max_steps=150)
    with pytest.MonkeyPatch.context() as patch:
        command = ['train', 'readout', '--config', recipe, '--data', train_bags]
        assert run(patch, *command, '--out', folder, '--cache', cache, *QUICK) == 0
    return folder / 'asked'


def test_readouts_of_a_random_trunk_learn_what_their_sensor_shows(
    trained: Path, held_out_bags: Path, cache: Path
) -> None:
    binder = Binder.load(trained)
    _, odds, samples, _ = read_tokens(
        binder,
        find_bags([held_out_bags]),
        embed=binder.embed_text,
        phrasings=Phrasings.load('unseen'),
        cache=cache,
    )
    truth = dict(zip(samples.predicates, samples.truth.T == 1, strict=True))
    read = {
        (modality, name): auroc(truth[name], table[:, column]) or 0.5
        for modality, table in odds.items()
        for column, name in enumerate(samples.predicates)
    }
    assert read['image', 'open(top drawer)'] > 0.95
    assert read['infrared', 'hot(stove)'] > 0.95
    # A sensor that cannot see a fact learns log-odds that do not depend on what it sees.
    blind = odds['image'][:, samples.predicates.index('hot(stove)')]
    seen = odds['image'][:, samples.predicates.index('open(top drawer)')]
    assert blind.std() < 0.2 * seen.std()


def test_the_weights_of_the_trunk_stay(trained: Path, small_set: Path) -> None:
    before, after = read_manifest(small_set), read_manifest(trained)
    assert after.sha256 == before.sha256
    assert after.manifest.name == 'asked'
    described = describe_readouts(trained)
    assert described is not None
    assert described.modalities.keys() == {'image', 'infrared'}
    assert described.provenance['steps'] == 150
    verify(trained)


def test_readouts_of_other_modalities_are_kept(
    trained: Path,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = [*arguments, '--start', trained, '--modalities', 'depth', '--max-steps', '1']
    assert run(monkeypatch, *command, '--out', tmp_path) == 0
    more, before = load_file(tmp_path / 'asked' / FILE), load_file(trained / FILE)
    assert {name.split('/')[0] for name in more} == {'image', 'infrared', 'depth'}
    assert all(torch.equal(more[name], tensor) for name, tensor in before.items())


def test_a_training_can_continue_the_readouts_of_its_start(
    trained: Path,
    readout_values: dict[str, Any],
    train_bags: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = readout_values | {'continued': True, 'start': str(trained), 'learning_rate': 1e-9}
    recipe = recipe_file(tmp_path / 'asked.yaml', values)
    command = ['train', 'readout', '--config', recipe, '--data', train_bags, '--cache', cache]
    assert run(monkeypatch, *command, *QUICK, '--out', tmp_path / 'on') == 0
    before, after = load_file(trained / FILE), load_file(tmp_path / 'on/asked' / FILE)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-3)
    assert run(monkeypatch, *command, *QUICK, '--modalities', 'depth', '--out', tmp_path) == 2
    assert 'no readout of this shape' in capsys.readouterr().err


@pytest.mark.parametrize('unfreeze_blocks', [0, 1])
def test_a_run_that_broke_off_goes_on_with_the_losses_of_one_that_did_not(
    arguments: list[str],
    readout_values: dict[str, Any],
    unfreeze_blocks: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, whole = tmp_path / 'broken', tmp_path / 'whole'
    recipe = recipe_file(tmp_path / 'r.yaml', readout_values, unfreeze_blocks=unfreeze_blocks)
    command = [*arguments, '--config', str(recipe)]
    break_off(monkeypatch, *command, '--out', broken, after=3)
    assert not (broken / 'asked').exists()
    assert run(monkeypatch, *command, '--out', broken, '--resume') == 0
    assert run(monkeypatch, *command, '--out', whole) == 0
    assert losses(broken) == losses(whole)
    assert weights_of(broken) == weights_of(whole)
    assert (broken / 'asked' / FILE).stat().st_size == (whole / 'asked' / FILE).stat().st_size
    found, wanted = (load_file(out / 'asked' / FILE) for out in (broken, whole))
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def weights_of(out: Path) -> str:
    """Identity of the encoders that a run wrote."""
    return read_manifest(out / 'asked').sha256


@pytest.mark.slow
@pytest.mark.parametrize('signum', [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_process_goes_on_with_the_losses_of_one_that_was_not(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    long = [*arguments, '--max-steps', '120']
    stopped, whole = tmp_path / 'stopped', tmp_path / 'whole'
    with subprocess.Popen(
        [sys.executable, '-m', 'train.cli', *long, '--out', str(stopped)],
        cwd=REPOSITORY, env={**os.environ, 'OMP_NUM_THREADS': '1'}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        wait_for_checkpoint(process, stopped)
        process.send_signal(signum)
        printed, _ = process.communicate(timeout=120)
    assert not (stopped / 'asked').exists()
    assert ('go on with --resume' in printed) == (signum == signal.SIGINT)
    assert run(monkeypatch, *long, '--out', stopped, '--resume') == 0
    assert run(monkeypatch, *long, '--out', whole) == 0
    assert losses(stopped) == losses(whole)


@pytest.mark.slow
@pytest.mark.parametrize('unfreeze_blocks', [0, 1])
def test_two_processes_train_like_one(
    arguments: list[str],
    readout_values: dict[str, Any],
    unfreeze_blocks: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`torchrun` with gloo: the same losses with the same batch over both processes."""
    recipe = recipe_file(tmp_path / 'r.yaml', readout_values, unfreeze_blocks=unfreeze_blocks)
    command = [*arguments, '--config', str(recipe)]
    assert run(monkeypatch, *command, '--out', tmp_path / 'one') == 0
    output = run_twofold(*command, '--out', tmp_path / 'two', limit_s=300)
    assert output.count('asked: training') == 1
    np.testing.assert_allclose(losses(tmp_path / 'two'), losses(tmp_path / 'one'), atol=1e-5)


@pytest.mark.parametrize(('augmentations', 'unfreeze_blocks'), [(0, 0), (1, 0), (1, 2)])
def test_sets_in_the_layout_of_languagebind_get_readouts(
    tiny_checkpoints: dict[str, str],
    train_bags: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    augmentations: int,
    unfreeze_blocks: int,
) -> None:
    """Another text tower, another width, and the shapes of the recipe for its sets."""
    sensors = ('image', 'depth', 'infrared', 'audio')
    start = convert({name: tiny_checkpoints[name] for name in sensors}, tmp_path / 'set', name='t')
    values = yaml.safe_load((RECIPES / 'languagebind-readout.yaml').read_text())
    values |= {'start': str(start), 'max_steps': 2, 'augmentations': augmentations, 'facts': 4}
    values |= {'unfreeze_blocks': unfreeze_blocks}
    recipe = recipe_file(tmp_path / 'asked.yaml', values | {'sentences': 8, 'batch': 4})
    command = ['train', 'readout', '--config', recipe, '--data', train_bags / 'bag0']
    out = tmp_path / 'out'
    assert run(monkeypatch, *command, '--out', out, '--cache', tmp_path / 'c', *QUICK) == 0
    binder = Binder.load(out / 'languagebind-readout')
    assert tuple(binder.readouts) == sensors
    observed = binder.observe(image=np.zeros((32, 32, 3), np.uint8))['image']
    assert isinstance(observed, Evidence)
    assert observed.tokens is not None
    assert observed.tokens.shape == (5, 192)


def test_a_folder_with_a_run_is_refused_unless_it_is_replaced(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    short = [*arguments, '--out', tmp_path, '--max-steps', '2']
    assert run(monkeypatch, *short) == 0
    assert run(monkeypatch, *short) == 2
    assert 'already holds a run' in capsys.readouterr().err
    before = (tmp_path / CHECKPOINT).stat().st_mtime_ns
    assert run(monkeypatch, *short, '--overwrite') == 0
    assert (tmp_path / CHECKPOINT).stat().st_mtime_ns > before
    # More steps lengthen a finished run.
    longer = [*arguments, '--out', tmp_path, '--max-steps', '3', '--resume']
    assert run(monkeypatch, *longer) == 0
    assert len(losses(tmp_path)) == 3
    # With other modalities it is another run.
    assert run(monkeypatch, *longer, '--modalities', 'image') == 1
    assert 'modalities' in capsys.readouterr().err


def test_what_cannot_be_trained_is_named(
    arguments: list[str],
    drawn: DrawnBag,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(*more: str | Path) -> str:
        assert run(monkeypatch, *arguments, '--out', tmp_path / 'out', *more) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith('lb-ros train readout: ')
        return error

    assert "no encoder for 'touch'" in refused('--modalities', 'touch')
    assert 'no model set' in refused('--start', 'languagebind-huge')
    constant = [{'open(top drawer)': True}] * 6
    drawn.write(tmp_path / 'constant' / 'bag', constant)
    assert 'both true and false' in refused('--data', tmp_path / 'constant')
    drawn.write(tmp_path / 'kept' / 'bag', constant, marks={'split': 'evaluation'})
    assert 'kept for evaluation' in refused('--data', tmp_path / 'kept')
    assert not (tmp_path / 'out').exists()


def test_calibrate_fits_what_the_readouts_read(
    trained: Path,
    train_bags: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ['calibrate', '--model', trained, '--data', train_bags, '--cache', cache, *QUICK]
    assert run(monkeypatch, *command, '--out', tmp_path / 'predicates.yaml') == 0
    binder = Binder.load(trained)
    fitted = binder.readout_calibration
    assert fitted is not None
    row = fitted.names.index('open(top drawer)')
    weights = dict(zip(fitted.modalities, fitted.weights[row], strict=True))
    assert weights['image'] > 0
    assert weights['audio'] == 0
    # The file must not replace the calibration of the readouts by that of the vectors.
    predicates = {p.name: p for p in load_predicates(tmp_path / 'predicates.yaml')}
    assert 'image' in predicates['open(top drawer)'].modalities
    assert not any(p.calibration for p in predicates.values())
    # A calibrated set is copied, with its readouts and without its calibrations.
    assert run(monkeypatch, *command) == 0
    copied = tmp_path / 'runs' / 'calibrated' / 'asked'
    assert (copied / FILE).read_bytes() == (trained / FILE).read_bytes()
    assert (copied / CALIBRATION).exists()
    assert (copied / READOUT_CALIBRATION).exists()
