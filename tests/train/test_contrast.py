"""The contrastive recipe: against the oracle, against itself in pieces, killed, and in pairs."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from encoders import Binder
from encoders.languagebind.released import load_released
from train.cached import PairBatch, backpropagate
from train.checkpoint import CHECKPOINT, LOG, CheckpointError, load_checkpoint
from train.cli import main
from train.languagebind import LOGIT_SCALE_MAX, Lora
from train.pair_data import open_pair_data
from train.pairs.record import decode
from train.pairs.shards import open_pair_set
from train.ranks import Ranks
from train.recipes import contrast
from train.recipes.config import load_recipe
from train.recipes.contrast import learning_rate
from train.recipes.contrast_config import RecipeError, load_contrast_recipe
from train.tower import Tower, open_towers, parameter_groups

REPOSITORY = Path(__file__).resolve().parents[2]
ORACLE = REPOSITORY / 'tests' / 'data' / 'oracle'
ALONE = Ranks(0, 1, torch.device('cpu'))
RECIPES = sorted((REPOSITORY / 'config' / 'recipes').glob('*.yaml'))
CONTRAST = [p for p in RECIPES if 'tuning' in yaml.safe_load(p.read_text())]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, 'argv', ['lb-ros', *map(str, arguments)])
    return main()


@pytest.fixture(scope='session')
def recipe_values(tiny_checkpoints: dict[str, str]) -> dict[str, Any]:
    values = yaml.safe_load((REPOSITORY / 'config/recipes/languagebind-depth.yaml').read_text())
    return values | {
        'name': 'tiny',
        'start': tiny_checkpoints,
        'modalities': ['depth', 'infrared'],
        'lora': {'rank': 4, 'alpha': 16},
        'patch_dropout': {'depth': 0.5, 'infrared': 0.0},
        'batch': 12,
        'micro_batch': 6,
        'max_steps': 6,
        'warmup_steps': 2,
        'learning_rate': 1e-2,
        'precision': 'fp32',
        'save_every_steps': 2,
    }


def recipe_file(path: Path, values: dict[str, Any], **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(values | changes))
    return path


def losses(out: Path) -> list[float]:
    records = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert [r['step'] for r in records] == list(range(1, len(records) + 1))
    return [r['loss'] for r in records]


# --- the oracle, by the recipe's own code --------------------------------------------------------


@pytest.mark.parametrize('micro_batch', [pytest.param(1, marks=pytest.mark.slow), 8])
def test_the_oracle_step_by_the_recipes_own_code(micro_batch: int) -> None:
    with np.load(ORACLE / 'depth' / 'train_step.npz') as stored:
        wanted = {k.removeprefix('train/'): stored[k] for k in stored.files}
    small = wanted['input_small_f16'].astype(np.float32)
    text = load_released({'depth': ORACLE / 'depth'}).text
    found = open_towers(
        {'depth': ORACLE / 'depth'}, ['depth'], tuning='lora', lora=Lora(rank=2)
    ).towers
    tower = found['depth']
    sentences = [str(k) for k in range(len(small))]
    batch = PairBatch(
        inputs=torch.from_numpy(small.repeat(7, -1).repeat(7, -2)),
        kept=torch.from_numpy(wanted['patch_keep_indices'].astype(np.int64)),
        texts=torch.from_numpy(text.embed_tokens(torch.from_numpy(wanted['input_ids']))),
        sentences=sentences,
        true_sentences=[frozenset((s,)) for s in sentences],
    )
    groups = parameter_groups(found, weight_decay=0.2)
    updates = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.98), eps=1e-6)
    loss = backpropagate(tower, batch, micro_batch=micro_batch, ranks=ALONE)
    assert loss == pytest.approx(float(wanted['loss']), rel=1e-6)
    updates.step()
    tower.clamp_temperature()
    assert sum(p.numel() for p in tower.learning()) == 4289
    for name, parameter in tower.named_learning():
        released = next(
            k.removeprefix('grad/')
            for k in wanted
            if k.startswith('grad/') and _plain(k) == _plain(name)
        )
        gradient, after = wanted[f'grad/{released}'], wanted[f'after/{released}']
        largest = np.abs(gradient).max()
        assert parameter.grad is not None
        np.testing.assert_allclose(
            parameter.grad, gradient, atol=1e-5 * max(1.0, float(largest)), err_msg=name
        )
        settled = np.abs(gradient) > 1e-2 * largest
        np.testing.assert_allclose(
            parameter.detach().numpy()[settled], after[settled], atol=1e-5, err_msg=name
        )


def _plain(name: str) -> str:
    for part in ('grad/', 'vision_model.', 'base_model.model.', 'encoder.', '.base_layer'):
        name = name.replace(part, '')
    return name


# --- pieces make the whole -----------------------------------------------------------------------


def drawn_batch(tower: Tower, size: int = 9) -> PairBatch:
    draw = torch.Generator().manual_seed(3)
    rows, columns = (28, 28)
    sentences = [f'sentence {k % 5}' for k in range(size)]  # some repeat: several positives
    texts = torch.randn(5, 24, generator=draw)[torch.arange(size) % 5]
    return PairBatch(
        inputs=torch.randn(size, 3, rows, columns, generator=draw),
        kept=torch.randn(size, tower.patches, generator=draw).topk(2).indices,
        texts=torch.nn.functional.normalize(texts, dim=-1),
        sentences=sentences,
        true_sentences=[frozenset((s, 'sentence 0')) if k == 1 else frozenset((s,))
                        for k, s in enumerate(sentences)],
    )  # fmt: skip


def gradients(start: Any, micro_batch: int, *, checkpointing: bool = False, **changes: Any) -> Any:
    from train.tower import checkpoint_layers

    torch.manual_seed(0)
    lora = Lora(4, dropout=changes.pop('dropout', 0.0))
    tower = open_towers(start, ['depth'], tuning='lora', lora=lora, temperature=0.07).towers[
        'depth'
    ]
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():  # the update begins at 0, and so would half of its gradients
        for name, parameter in tower.named_learning():
            if 'lora_B' in name:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    if checkpointing:
        checkpoint_layers(tower)
    loss = backpropagate(
        tower, drawn_batch(tower), micro_batch=micro_batch, ranks=ALONE, **changes
    )
    found = {n: p.grad.clone() for n, p in tower.named_learning() if p.grad is not None}
    assert len(found) == len(tower.learning())
    return loss, found


@pytest.mark.parametrize('micro_batch', [1, 2, 4])
def test_cached_features_give_the_gradients_of_the_whole_batch(
    tiny_checkpoints: dict[str, str], micro_batch: int
) -> None:
    whole_loss, whole = gradients(tiny_checkpoints, 9)
    loss, found = gradients(tiny_checkpoints, micro_batch)
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4, msg=name)
        assert gradient.abs().max() > 0


def test_checkpointed_layers_give_the_same_gradients(tiny_checkpoints: dict[str, str]) -> None:
    _, plain = gradients(tiny_checkpoints, 4)
    _, found = gradients(tiny_checkpoints, 4, checkpointing=True)
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_dropout_drops_the_same_in_both_passes(tiny_checkpoints: dict[str, str]) -> None:
    """Against one pass with the same draws: micro-batches of one in either case."""
    first = gradients(tiny_checkpoints, 1, dropout=0.3, seed=5)
    again = gradients(tiny_checkpoints, 1, dropout=0.3, seed=5)
    other = gradients(tiny_checkpoints, 1, dropout=0.3, seed=6)
    assert first[0] == again[0] != other[0]
    for name, gradient in first[1].items():
        torch.testing.assert_close(again[1][name], gradient, msg=name)


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_half_precision_is_near(tiny_checkpoints: dict[str, str], precision: str) -> None:
    scaler = torch.amp.GradScaler('cpu', enabled=True) if precision == 'fp16' else None
    loss, plain = gradients(tiny_checkpoints, 4)
    near, found = gradients(tiny_checkpoints, 4, precision=precision, scaler=scaler)
    assert near == pytest.approx(loss, rel=0.05)
    factor = scaler.get_scale() if scaler else 1.0
    name = 'visual_projection.weight'
    cosine = torch.nn.functional.cosine_similarity(
        (found[name] / factor).flatten(), plain[name].flatten(), dim=0
    )
    assert cosine > 0.97


@pytest.mark.slow
def test_two_processes_train_like_one(
    recipe_values: dict[str, Any], pair_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`torchrun` with gloo: the same losses with the same global batch."""
    recipe = recipe_file(tmp_path / 'tiny.yaml', recipe_values, micro_batch=3, max_steps=4)
    arguments = ['train', 'contrast', '--config', str(recipe), '--data', str(pair_folder)]
    assert run(monkeypatch, *arguments, '--out', tmp_path / 'one') == 0
    double = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    double += ['--nproc-per-node', '2', '-m', 'train.cli', *arguments]
    done = subprocess.run(
        [*double, '--out', str(tmp_path / 'two')],
        cwd=REPOSITORY, env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('tiny: training') == 1
    np.testing.assert_allclose(losses(tmp_path / 'two'), losses(tmp_path / 'one'), atol=1e-5)


# --- killed, full, diverged ----------------------------------------------------------------------


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
    step = contrast.training_step

    def stops_at_the_fourth(given: Any, state: Any, *rest: Any, **named: Any) -> Any:
        if state.step == 3:
            raise KeyboardInterrupt
        return step(given, state, *rest, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(contrast, 'training_step', stops_at_the_fourth)
        run(patch, *arguments, '--out', broken, '--threads', '1')
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
        end = time.monotonic() + 180
        while not (killed / CHECKPOINT).exists():
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < end, 'no checkpoint after three minutes'
            time.sleep(0.002)
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
    recipe_values: dict[str, Any], pair_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    recipe = recipe_file(tmp_path / 'tiny.yaml', recipe_values)
    out = tmp_path / 'out'
    arguments = ['train', 'contrast', '--config', str(recipe), '--data', str(pair_folder)]
    arguments += ['--out', str(out)]
    assert run(monkeypatch, *arguments, '--threads', '1') == 0
    before = (out / CHECKPOINT).read_bytes()

    def no_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    process = start_training(arguments, preexec_fn=no_space)
    said, _ = process.communicate(timeout=180)
    assert process.returncode == 1, said
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
    assert 'is no longer a number at step' in capsys.readouterr().err
    data = open_pair_data([pair_folder], load_contrast_recipe(recipe).pairs)
    described = json.loads(json.dumps(load_contrast_recipe(recipe).described()))
    state = load_checkpoint(out / CHECKPOINT, recipe=described, data=data.identity)
    assert all(torch.isfinite(p).all() for p in state['learned'].values())
    assert {'recipe', 'data', 'code'} <= state.keys()
    (out / CHECKPOINT).write_bytes(b'no zip')
    with pytest.raises(CheckpointError, match='damaged'):
        load_checkpoint(out / CHECKPOINT, recipe=described, data=data.identity)


# --- what comes out ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('tuning', 'targets', 'learns'),
    [
        ('lora', ['q_proj', 'v_proj'], 'lora_'),
        ('full', ['q_proj'], 'self_attn'),
        ('probe', ['q_proj'], 'visual_projection'),
    ],
)
def test_each_tuning_learns_and_its_set_says_what_was_learned(
    tiny_checkpoints: dict[str, str], recipe_values: dict[str, Any], pair_folder: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tuning: str, targets: list[str], learns: str,
) -> None:  # fmt: skip
    lora = {'rank': 4, 'alpha': 16, 'targets': targets}
    recipe = recipe_file(
        tmp_path / 'tiny.yaml', recipe_values, tuning=tuning, lora=lora, max_steps=30
    )
    out = tmp_path / 'out'
    arguments = ['train', 'contrast', '--config', recipe, '--data', pair_folder, '--out', out]
    assert run(monkeypatch, *arguments) == 0
    announced = capsys.readouterr().out.splitlines()
    names = [n for n, _ in open_towers(
        tiny_checkpoints, ['depth'], tuning=tuning, lora=replace(Lora(4), targets=tuple(targets))
    ).towers['depth'].named_learning()]  # fmt: skip
    assert any(learns in name for name in names)
    if tuning == 'probe':
        assert set(names) == {'visual_projection.weight', 'logit_scale'}
    assert announced[0].startswith('tiny: training ')
    assert [line.split(':')[0].strip() for line in announced[1:3]] == ['depth', 'infrared']
    found = losses(out)
    assert np.mean(found[-4:]) < np.mean(found[:4])
    binder = Binder.load(out / 'tiny')
    assert binder.modalities == ('depth', 'infrared')
    before = Binder.load({k: tiny_checkpoints[k] for k in binder.modalities})
    assert binder.space == before.space
    pair = open_pair_set(pair_folder).read(0)
    sample = decode('depth', pair.files)
    own = Binder.load({'depth': out / 'tiny' / 'released' / 'depth'})
    vector = binder.embed(depth=sample)['depth']
    np.testing.assert_allclose(own.embed(depth=sample)['depth'], vector, atol=1e-5)
    assert np.abs(before.embed(depth=sample)['depth'] - vector).max() > 1e-3
    # The result is a start itself.
    again = recipe_file(tmp_path / 'again.yaml', recipe_values, start=str(out / 'tiny'),
                        tuning=tuning, lora=lora, max_steps=1)  # fmt: skip
    assert run(monkeypatch, 'train', 'contrast', '--config', again, '--data', pair_folder,
               '--out', tmp_path / 'again') == 0  # fmt: skip


def test_a_small_set_learns_all_its_sensors_together_straight_from_bags(
    recipe_values: dict[str, Any], train_bags: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sensors = ['depth', 'audio']
    recipe = recipe_file(
        tmp_path / 'tiny.yaml', recipe_values, start='lb-mini', modalities=sensors,
        patch_dropout={'depth': 0.5, 'audio': 0.2}, temperature=None, batch=8, micro_batch=8,
        max_steps=2, pairs={'window_s': 1.0},
    )  # fmt: skip
    out = tmp_path / 'out'
    arguments = ['train', 'contrast', '--config', recipe, '--out', out]
    assert run(monkeypatch, *arguments, '--data', train_bags / 'bag0', train_bags / 'bag1') == 0
    binder, before = Binder.load(out / 'tiny'), Binder.load('lb-mini')
    assert binder.modalities == ('depth', 'audio')
    assert binder.space == before.space
    page = (out / 'report.html').read_text()
    for word in ('Loss', 'Temperature', 'depth -&gt; text', 'Confusion', 'Examples', '<svg'):
        assert word in page


def test_tensorboard_is_an_extra(
    recipe_values: dict[str, Any], pair_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    recipe = recipe_file(tmp_path / 'tiny.yaml', recipe_values)
    arguments = ['train', 'contrast', '--config', recipe, '--data', pair_folder]
    assert run(monkeypatch, *arguments, '--out', tmp_path / 'out', '--tensorboard') == 2
    assert "pip install 'lb_ros[tensorboard]'" in capsys.readouterr().err


def test_a_recipe_of_the_other_command_is_named() -> None:
    folder = REPOSITORY / 'config' / 'recipes'
    with pytest.raises(RecipeError, match="'tuning'; a recipe of lb-ros train contrast"):
        load_recipe(folder / 'lora.yaml')
    with pytest.raises(RecipeError, match="'trainable'; a recipe of lb-ros train bind"):
        load_contrast_recipe(folder / 'touch.yaml')


# --- recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', CONTRAST, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_says_its_command(path: Path) -> None:
    recipe = load_contrast_recipe(path)
    head = path.read_text().split('\nname:')[0]
    assert all(line.startswith('#') for line in head.splitlines())
    assert f'lb-ros train contrast --config config/recipes/{path.name} --data' in head
    assert recipe.name == path.stem


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'tuning': 'magic'}, 'tuning must be one of lora, full, probe'),
        ({'speed': 1}, "unknown key 'speed'"),
        ({'patch_dropout': {'depth': 0.5}}, 'patch_dropout must name every modality'),
        ({'modalities': ['smell']}, "unknown modality 'smell'"),
        ({'precision': 'int4'}, 'precision must be one of fp32, bf16, fp16'),
        ({'temperature': 0.001}, 'temperature must be in'),
        ({'pairs': {'window': 1}}, 'window'),
    ],
)
def test_an_unusable_recipe_is_named(
    recipe_values: dict[str, Any], tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    path = recipe_file(tmp_path / 'odd.yaml', recipe_values, **changes)
    with pytest.raises(RecipeError, match=says) as error:
        load_contrast_recipe(path)
    assert str(path) in str(error.value)


def test_the_rate_warms_up_and_falls_to_nothing(
    recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    path = recipe_file(tmp_path / 'r.yaml', recipe_values, warmup_steps=4, learning_rate=1.0)
    recipe = load_contrast_recipe(path)
    rates = [learning_rate(recipe, step, 12) for step in range(12)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_the_temperature_stays_in_its_bounds(tiny_checkpoints: dict[str, str]) -> None:
    tower = open_towers(
        tiny_checkpoints, ['depth'], tuning='lora', lora=Lora(2), temperature=0.07
    ).towers['depth']
    assert tower.temperature == pytest.approx(0.07, rel=1e-5)
    with torch.no_grad():
        tower.logit_scale.fill_(99.0)
    tower.clamp_temperature()
    assert float(tower.logit_scale.detach()) == pytest.approx(LOGIT_SCALE_MAX)
