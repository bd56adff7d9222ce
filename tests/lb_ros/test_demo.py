"""The demonstration as a user runs it: three processes, a real bag, a report."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

TIMEOUT_S = 300
ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    'predicates', 'medians', 'latency_ms', 'delivered_fraction', 'model', 'bag', 'space',
}  # fmt: skip


def lb_ros(*words: str) -> list[str]:
    return [sys.executable, '-m', 'lb_ros.cli', *words]


@pytest.mark.ros
def test_a_headless_run_writes_its_report(ros_domain: int, tmp_path: Path) -> None:
    report_file, picture = tmp_path / 'report.json', tmp_path / 'table.svg'
    command = lb_ros('demo', '--headless', '--report', str(report_file), '--picture', str(picture))
    done = subprocess.run(
        [*command, '--text', 'the drawer is open'],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(report_file.read_text())
    assert set(report) == KEYS
    assert report['model'] == 'lb-mini'
    assert report['delivered_fraction'] >= 0.9
    assert 'the drawer is open' in {line['name'] for line in report['predicates']}
    assert 'your sentences' in done.stdout
    modalities = {line['modality'] for line in report['predicates']}
    assert modalities == {'image', 'depth', 'infrared', 'audio', 'fused'}
    both = [p for p in report['predicates'] if p['positives'] and p['negatives']]
    assert all(0 <= line['auroc'] <= 1 for line in both)
    assert report['latency_ms']['p50'] > 0
    assert '<svg' in picture.read_text()


@pytest.mark.ros
def test_interruption_ends_all_three_processes(ros_domain: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        lb_ros('demo', '--headless'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:  # ends with the process, so this wait is bounded by it
        if 'starting the nodes' in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 130, rest
    assert 'Traceback' not in rest


@pytest.mark.ros
@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--bag', 'nowhere'), 'nowhere: no such bag'),
        (('--report', 'nowhere/report.json'), 'nowhere/report.json: there is no such folder'),
        (('--model', 'nothing'), "no model set 'nothing'"),
    ],
)
def test_unusable_input_is_one_line(
    ros_domain: int, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = subprocess.run(
        lb_ros('demo', '--headless', *words),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
