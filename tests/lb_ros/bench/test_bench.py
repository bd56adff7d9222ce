"""`lb-ros bench`: measurements, files, comparison."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from lb_ros.bench.engine import engine
from lb_ros.bench.measure import measure
from lb_ros.cli import main


def test_cases_run_in_turn_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    cases = {name: (lambda name=name: order.append(name)) for name in 'ab'}
    found = measure('suite', cases, repeats=3)
    assert ''.join(order) == 'ab' * 4
    assert [(one.case, one.repeats) for one in found] == [('a', 3), ('b', 3)]
    assert all(0 <= one.min_ms <= one.median_ms <= one.p95_ms for one in found)


def test_results_are_written_and_compared(
    tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        'engine',
        'memory',
        'preprocessing',
        'text',
        '--model',
        str(tiny_model_set),
        '--repeats',
        '2',
    ]
    words += ['--precision', 'bf16', '--threads', '1', '--out', str(tmp_path), '--json']
    assert main(['bench', *words, '--name', 'before']) == 0
    shown = json.loads(capsys.readouterr().out.split('\n}\n')[0] + '\n}')
    stored = json.loads((tmp_path / 'before.json').read_text())
    assert shown == stored
    assert stored['machine']['cores'] >= 1 and stored['versions']['torch']
    found = {(row['suite'], row['case']): row for row in stored['measurements']}
    packed = found['engine', 'all bf16 packed']['facts']
    assert packed['precision'] == 'bf16' and 0.999 < packed['cosine_to_plain'] <= 1.0001
    assert found['engine', 'depth fp32']['facts']['precision'] == 'fp32'
    plain, fast = (found['engine', f'all {case}'] for case in ('fp32 plain', 'bf16 packed'))
    ratio = plain['median_ms'] / fast['median_ms']
    assert packed['times_faster_than_plain'] == pytest.approx(ratio, abs=0.01)
    trunk = found['engine', 'trunk bf16 linear layers']['facts']
    assert trunk['gflop_per_s'] > 0 and trunk['share_of_product_rate'] > 0
    half, full = (found['memory', f'all {name} packed']['facts'] for name in ('bf16', 'fp32'))
    assert half['parameters_mib'] == pytest.approx(full['parameters_mib'] / 2, abs=0.2)
    assert half['peak_mib'] >= half['loaded_mib'] > half['parameters_mib']
    known, new = (found['text', f'1 {kind} sentence']['cpu_ms'] for kind in ('known', 'new'))
    assert known < new
    with (tmp_path / 'before.csv').open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(found)
    assert {row['cpu'] for row in rows} == {stored['machine']['cpu']}
    for row in stored['measurements']:
        row['median_ms'] *= 0.5
    (tmp_path / 'after.json').write_text(json.dumps(stored))
    files = [str(tmp_path / f'{name}.json') for name in ('before', 'after')]
    assert main(['bench', '--compare', *files, '--json']) == 0
    ratios = json.loads(capsys.readouterr().out)
    assert len(ratios) == len(found)
    assert [row['ratio'] for row in ratios] == pytest.approx([0.5] * len(found), rel=0.01)


@pytest.mark.slow
def test_the_compiled_call_is_measured_with_the_others(tiny_model_set: Path) -> None:
    found = engine(str(tiny_model_set), 'fp32', 1, compilation='always')
    facts = {one.case: one.facts for one in found}['all fp32 ready']
    assert facts['cosine_to_plain'] == pytest.approx(1.0, abs=1e-5)
    assert facts['times_faster_than_plain'] > 0 and facts['share_of_product_rate'] > 0


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['speed'], "unknown suite 'speed', expected some of engine"),
        (['text', '--model', 'nowhere'], "no model set 'nowhere'"),
        (['--repeats', '0'], 'at least 1'),
        (['engine', '--batch', '0'], 'at least 1'),
        (['--compare', 'missing.json', 'missing.json'], 'missing.json'),
    ],
)
def test_unusable_options_are_reported(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['bench', *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.ros
def test_the_message_path_is_measured_over_dds(
    tiny_model_set: Path, ros_domain: int, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('rclpy')
    words = ['messages', '--model', str(tiny_model_set), '--repeats', '5', '--json']
    assert main(['bench', *words]) == 0
    rows = json.loads(capsys.readouterr().out)['measurements']
    by_case = {row['case']: row for row in rows}
    whole = by_case['depth, stamp to tensor']
    assert whole['repeats'] >= 5 and whole['cpu_ms'] > 0
    assert whole['median_ms'] >= by_case['depth, callback to tensor']['median_ms'] > 0
    assert whole['facts']['width'] == 1280
