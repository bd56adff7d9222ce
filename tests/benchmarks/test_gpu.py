"""The GPU measurements, rehearsed on the CPU: every stage gives rows, none harms another."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import STAGES, TOTAL_S, Outcome, rates_of, run_stage, write
from benchmarks.gpu_measure import REHEARSAL
from benchmarks.gpu_packages import LIST
from benchmarks.gpu_stages import run

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'benchmarks' / 'gpu.sh'
ROWS = {
    'device': {'device', 'matrix product 128 fp32', 'matrix product 128 bf16'},
    'parity': {'lb-mini depth fp32', 'lb-mini joints bf16', 'languagebind video fp16'},
    'memory': {'vit-l-14 bf16 one trunk', 'vit-h-14 bf16 a trunk each'},
    'preprocessing': {'lb-mini depth, cpu', 'languagebind infrared, cpu'},
    'readout': {'reduce tokens, cpu', 'read 10 predicates, cpu'},
    'training': {'recipe', 'no mask', 'fp32, no mask, full tuning', 'recipe against plain'},
    **{
        f'engine-{model}-{precision}': {
            f'{model} {precision} batch {batch} {kind}'
            for batch in REHEARSAL.batches
            for kind in ('eager', 'compiled')
        }
        for model, precision in (('vit-l-14', 'bf16'), ('vit-h-14', 'fp16'))
    },
}


def rows_in(text: str) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line[4:]) for line in text.splitlines() if line.startswith('ROW ')]
    return {row['case']: row for row in rows}


def test_every_stage_has_a_limit_and_all_fit_into_nine_minutes() -> None:
    engines = {f'engine-{m}-{p}' for m in REHEARSAL.trunks for p in ('bf16', 'fp16')}
    assert set(STAGES) == {*ROWS, *engines, 'tests'} and TOTAL_S < 540
    assert max(STAGES.values()) < TOTAL_S / 4


@pytest.mark.parametrize('stage', ROWS)
def test_a_stage_gives_its_rows(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.compiler.reset()
    run(stage, REHEARSAL, {'bf16': 1e-3})
    found = rows_in(capsys.readouterr().out)
    assert found.keys() >= ROWS[stage]
    if stage == 'parity':
        assert all(row['passed'] for row in found.values())
    if stage == 'memory':
        whole, apart = (
            found[f'vit-l-14 bf16 {kind}']['parameters_mib']
            for kind in ('one trunk', 'a trunk each')
        )
        assert whole < 0.5 * apart
    if stage.startswith('engine'):
        assert min(row['cosine_to_eager'] for row in found.values()) > 0.999
        shares = {row['share_of_matrix_rate'] is None for row in found.values()}
        assert shares == {not stage.endswith('bf16')}


def test_the_script_writes_both_files_after_every_stage(tmp_path: Path) -> None:
    command = [str(SCRIPT), '--rehearse', '--stages', 'device', 'memory', '--out', str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, 'PYTHON': sys.executable}, check=False, capture_output=True,
        text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / 'gpu.json').read_text())
    assert [(s['stage'], s['status']) for s in result['stages']] == [
        ('device', 'done'), ('memory', 'done'),
    ]  # fmt: skip
    assert result['rehearsal'] and set(result['matrix_tflop_per_s']) == {'fp32', 'bf16', 'fp16'}
    lines = list(csv.DictReader((tmp_path / 'gpu.csv').open()))
    assert {line['stage'] for line in lines} == {'device', 'memory'}


def test_a_stage_that_hangs_loses_only_itself(tmp_path: Path) -> None:
    hangs = (
        'import subprocess, time\n'
        'subprocess.Popen(["sleep", "60"])\n'
        'print(\'ROW {"case": "first"}\', flush=True)\n'
        'time.sleep(60)'
    )
    outcomes = [Outcome('parity'), Outcome('memory'), Outcome('training')]
    began_s = time.monotonic()
    run_stage(outcomes[0], [sys.executable, '-c', hangs], limit_s=5)
    assert time.monotonic() - began_s < 20
    works = 'print(\'ROW {"case": "second", "median_ms": 1.5}\')'
    run_stage(outcomes[1], [sys.executable, '-c', works], limit_s=60)
    run_stage(outcomes[2], [sys.executable, '-c', 'raise SystemExit("no room")'], limit_s=60)
    assert [o.status for o in outcomes] == ['timed out', 'done', 'failed']
    assert [o.rows for o in outcomes[:2]] == [
        [{'case': 'first'}], [{'case': 'second', 'median_ms': 1.5}],
    ]  # fmt: skip
    assert outcomes[2].last_lines == ['no room']
    write(tmp_path, outcomes, rehearsal=True)
    lines = list(csv.DictReader((tmp_path / 'gpu.csv').open()))
    assert [(line['stage'], line['case']) for line in lines] == [
        ('parity', 'first'), ('memory', 'second'), ('training', ''),
    ]  # fmt: skip


def test_rates_are_those_of_the_device_stage() -> None:
    rows = [
        {'case': 'device'},
        {'case': 'matrix product 8 bf16', 'precision': 'bf16', 'tflop_per_s': 700.0},
    ]
    assert rates_of([Outcome('device', rows=rows), Outcome('readout', rows=[{'case': 'x'}])]) == {
        'bf16': 700.0
    }


def test_packages_have_the_versions_of_the_lock() -> None:
    lock = set((ROOT / 'requirements' / 'base.txt').read_text().splitlines())
    listed = [line for line in LIST.read_text().splitlines() if line and line[0] != '#']
    assert listed and {line.replace('-headless', '') for line in listed} <= lock


@pytest.mark.slow
def test_the_whole_rehearsal(tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'benchmarks.gpu', '--rehearse', '--out', str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT)
    result = json.loads((tmp_path / 'gpu.json').read_text())
    assert {s['stage']: s['status'] for s in result['stages']} == dict.fromkeys(STAGES, 'done')
