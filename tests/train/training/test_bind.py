"""Training, calibration and evaluation from end to end, on drawn bags."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from encoders import Binder
from encoders.model_sets.files import load_model_set
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.places import WEIGHTS
from encoders.predicates.file import load_predicates
from tests.train.runs import break_off, run, wait_for_checkpoint
from train.bags.find import find_bags
from train.bags.load import load_samples
from train.evaluation.evaluate import embed_samples
from train.training.bind import bind
from train.training.checkpoint import CHECKPOINT, LOG
from train.training.recipe import load_recipe

REPOSITORY = Path(__file__).resolve().parents[3]
QUICK = ('--workers', '1', '--threads', '1')


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def trained(
    train_bags: Path,
    held_out_bags: Path,
    recipe_file: Path,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The output folder of a finished training with calibration."""
    out = tmp_path_factory.mktemp('run')
    with pytest.MonkeyPatch.context() as patch:
        assert (
            run(
                patch,
                'train',
                'bind',
                '--config',
                recipe_file,
                '--data',
                train_bags,
                '--val',
                held_out_bags,
                '--out',
                out,
                '--cache',
                cache,
                *QUICK,
            )
            == 0
        )
        assert (
            run(
                patch,
                'calibrate',
                '--model',
                out / 'drawn',
                '--data',
                train_bags,
                '--cache',
                cache,
                *QUICK,
            )
            == 0
        )
    return out


def test_each_sensor_predicts_on_new_bags_what_it_can_see_and_nothing_else(
    trained: Path,
    held_out_bags: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = tmp_path / 'report.json'
    assert (
        run(
            monkeypatch,
            'eval',
            '--model',
            trained / 'drawn',
            '--data',
            held_out_bags,
            '--report',
            report,
            '--cache',
            cache,
            *QUICK,
        )
        == 0
    )
    found = json.loads(report.read_text())
    for wording in ('trained', 'unseen'):
        area = {(r['name'], r['modality']): r['auroc'] for r in found['results'][wording]}
        for name, sensors in {
            'open(top drawer)': ('image', 'depth'),
            'hot(stove)': ('infrared',),
            'dropped(something)': ('audio',),
        }.items():
            for sensor in sensors:
                assert area[name, sensor] > 0.9, (wording, name, sensor, area)
            best = max(area[name, sensor] for sensor in sensors)
            assert area[name, 'fused'] > best - 0.02
        assert 0.2 < area['hot(stove)', 'image'] < 0.8
        assert found['reversed_predicates'][wording] == []
    assert found['emergent']['image -> depth']['candidates'] == 80
    assert found['emergent']['image -> depth']['chance'] == pytest.approx(1 / 80)
    assert 0 <= found['calibration_error']['trained']['pooled'] < 0.2
    assert found['best']['hot'] == 'infrared'
    assert found['best']['dropped'] == 'audio'


def test_calibrate_writes_thresholds_that_the_robot_loads(
    trained: Path,
    train_bags: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, report = tmp_path / 'predicates.yaml', tmp_path / 'report.json'
    command = ['calibrate', '--model', trained / 'drawn', '--data', train_bags]
    command += ['--cache', cache, *QUICK, '--out', out]
    assert run(monkeypatch, *command, '--report', report, '--probe', '--folds', '3') == 0
    by_name = {entry['name']: entry for entry in json.loads(report.read_text())}
    assert 'infrared' in by_name['hot(stove)']['modalities']
    assert by_name['hot(stove)']['auroc'] > 0.9
    assert by_name['hot(stove)']['probe_auroc'] > 0.9
    written = {p.name: p for p in load_predicates(out)}
    assert written.keys() == by_name.keys()
    assert written['hot(stove)'].calibration['infrared'].slope > 0
    assert written['hot(stove)'].calibration_space == Binder.load(trained / 'drawn').space
    assert run(monkeypatch, *command, '--cost-false-positive', '0') == 2


def test_the_log_and_the_manifest_record_the_training(trained: Path) -> None:
    records = [json.loads(line) for line in (trained / LOG).read_text().splitlines()]
    steps = [r for r in records if 'losses' in r]
    assert [r['step'] for r in steps] == list(range(1, 121))
    assert all(np.isfinite(r['losses'][name]) for r in steps for name in ('image', 'audio'))
    assert 0.01 <= steps[-1]['temperature']['depth'] < 0.1
    assert all(r['samples_per_s'] > 0 < r['learning_rate'] for r in steps)
    assert records[-1]['auroc']['sensor scale'] > 0.9
    provenance = read_manifest(trained / 'drawn').manifest.provenance
    assert (provenance['bags'], provenance['moments'], provenance['steps']) == (6, 120, 120)
    assert provenance['recipe']['learning_rate'] == 3e-3


def test_the_binder_gives_a_live_sensor_the_vector_that_was_evaluated(
    trained: Path, held_out_bags: Path, recipe_file: Path
) -> None:
    recipe = load_recipe(recipe_file)
    samples, _ = load_samples(find_bags([held_out_bags])[:1], recipe.modalities)
    expected = embed_samples(load_model_set(trained / 'drawn').encoders(), samples)
    binder = Binder.load(trained / 'drawn')
    for name in ('image', 'depth', 'infrared'):
        live = binder.embed(**{name: samples.inputs[name][3]})[name]
        np.testing.assert_allclose(live[0], expected[name][3], atol=1e-4)


@pytest.mark.parametrize('how', ['interrupted', pytest.param('killed', marks=pytest.mark.slow)])
def test_a_run_that_ended_early_is_resumed_to_the_same_weights(
    how: str,
    train_bags: Path,
    recipe_file: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = 40 if how == 'killed' else 10
    text = recipe_file.read_text().replace('max_steps: 120', f'max_steps: {steps}')
    recipe = tmp_path / 'often.yaml'
    recipe.write_text(
        text.replace('validate_every_minutes: 1.0e+9', 'validate_every_minutes: 0.0')
    )
    arguments = ['train', 'bind', '--config', str(recipe), '--data', str(train_bags)]
    arguments += ['--cache', str(cache), *QUICK]
    ended, whole = tmp_path / 'ended', tmp_path / 'whole'
    if how == 'killed':
        _kill_after_first_steps([*arguments, '--out', str(ended)], ended)
    else:
        break_off(monkeypatch, *arguments, '--out', ended, after=5)
    assert not (ended / 'drawn').exists()
    assert run(monkeypatch, *arguments, '--out', ended, '--resume') == 0
    assert run(monkeypatch, *arguments, '--out', whole) == 0
    first, second = (load_file(out / 'drawn' / WEIGHTS) for out in (ended, whole))
    for name, tensor in first.items():
        # Products may round by where memory lies: one unit of the stored halves is let pass.
        np.testing.assert_allclose(tensor, second[name], rtol=2e-3, atol=1e-5, err_msg=name)


def _kill_after_first_steps(arguments: list[str], out: Path) -> None:
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-m', 'train.cli', *arguments]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        wait_for_checkpoint(process, out)
        process.send_signal(signal.SIGKILL)


def test_lora_changes_only_what_a_modality_adds(
    trained: Path,
    train_bags: Path,
    recipe_file: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = tmp_path / 'lora.yaml'
    text = recipe_file.read_text().replace('trainable: all', 'trainable: lora')
    text = text.replace('start: null', f'start: {trained / "drawn"}')
    recipe.write_text(text.replace('max_steps: 120', 'max_steps: 20'))
    assert (
        run(
            monkeypatch,
            'train',
            'bind',
            '--config',
            recipe,
            '--data',
            train_bags,
            '--out',
            tmp_path / 'out',
            '--cache',
            cache,
            *QUICK,
        )
        == 0
    )
    before, after = (load_file(f / 'drawn' / WEIGHTS) for f in (trained, tmp_path / 'out'))
    for name in before:
        if '/encoder.' in name or '/pre_layrnorm' in name or '/embeddings.p' in name:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    projection = 'depth/visual_projection.weight'
    assert (before[projection] != after[projection]).any()
    updates = [name for name in after if name.endswith('.lora_B')]
    assert len(updates) == 4 * 2 * 4
    assert all(after[name].any() for name in updates)


@pytest.mark.parametrize(('is_fast', 'same'), [(False, 'fp32'), (True, 'bf16')])
def test_auto_takes_bfloat16_only_where_the_processor_is_fast_at_it(
    *,
    train_bags: Path,
    recipe_file: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_fast: bool,
    same: str,
) -> None:
    monkeypatch.setattr('encoders.vision.precision.cpu_has_bf16', lambda: is_fast)
    recipe = load_recipe(recipe_file, max_steps=2)
    samples, _ = load_samples(find_bags([train_bags]), recipe.modalities, cache=cache)
    by_precision = {
        precision: load_file(
            bind(replace(recipe, precision=precision), samples, tmp_path / precision) / WEIGHTS
        )
        for precision in ('auto', 'fp32', 'bf16')
    }
    other = {'fp32': 'bf16', 'bf16': 'fp32'}[same]
    name = 'depth/visual_projection.weight'
    np.testing.assert_array_equal(by_precision['auto'][name], by_precision[same][name])
    assert (by_precision['auto'][name] != by_precision[other][name]).any()


def test_a_loss_that_is_no_number_stops_training(
    train_bags: Path,
    recipe_file: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / 'wild.yaml'
    recipe.write_text(recipe_file.read_text().replace('rate: 3.0e-3', 'rate: 1.0e+30'))
    assert (
        run(
            monkeypatch,
            'train',
            'bind',
            '--config',
            recipe,
            '--data',
            train_bags,
            '--out',
            tmp_path / 'out',
            '--cache',
            cache,
            *QUICK,
        )
        == 1
    )
    assert 'the loss is nan at step' in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'drawn').exists()


@pytest.mark.parametrize('command', ['train', 'calibrate'])
def test_nothing_is_learned_from_bags_kept_for_evaluation(
    drawn: object,
    trained: Path,
    recipe_file: Path,
    tmp_path: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = tmp_path / 'kept'
    drawn.write(kept, [{'hot(stove)': True}], marks={'suite': 'libero_10'})  # type: ignore[attr-defined]
    arguments: dict[str, list[str | Path]] = {
        'train': ['bind', '--config', recipe_file, '--out', tmp_path / 'out'],
        'calibrate': ['--model', trained / 'drawn'],
    }
    assert run(monkeypatch, command, *arguments[command], '--data', kept) == 2
    said = capsys.readouterr().err
    assert str(kept) in said
    assert 'kept for evaluation' in said
    assert not (tmp_path / 'out').exists()


def test_resuming_nothing_is_an_error_that_names_the_file(
    train_bags: Path,
    recipe_file: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        run(
            monkeypatch,
            'train',
            'bind',
            '--config',
            recipe_file,
            '--data',
            train_bags,
            '--out',
            tmp_path / 'out',
            '--resume',
            '--cache',
            cache,
            *QUICK,
        )
        == 2
    )
    assert str(tmp_path / 'out' / CHECKPOINT) in capsys.readouterr().err


def test_bags_without_truth_are_reported(
    drawn: object,
    recipe_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mute = tmp_path / 'mute'
    drawn.write(mute, [{'hot(stove)': True}], skip=['/ground_truth/predicates'])  # type: ignore[attr-defined]
    assert (
        run(
            monkeypatch,
            'train',
            'bind',
            '--config',
            recipe_file,
            '--data',
            mute,
            '--out',
            tmp_path / 'out',
            '--cache',
            tmp_path / 'cache',
            *QUICK,
        )
        == 2
    )
    said = capsys.readouterr().err
    assert 'no bag holds ground truth' in said
    assert str(mute) in said
