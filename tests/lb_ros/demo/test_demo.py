"""The demonstration as a user runs it: three processes, a real bag, a report."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest

from lb_ros.cli import main
from tests.train.conftest import DrawnBag, random_moments

TIMEOUT_S = 300
ROOT = Path(__file__).resolve().parents[3]
KEYS = {
    'predicates', 'medians', 'latency_ms', 'delivered_fraction', 'model', 'bag', 'space',
}  # fmt: skip


def lb_ros(*words: str) -> list[str]:
    return [sys.executable, '-m', 'lb_ros.cli', *words]


def small_bag(folder: Path) -> tuple[str, ...]:
    """Six seconds in which facts come and go."""
    moments = random_moments(12, seed=0)
    return ('--bag', str(DrawnBag().write(folder / 'bag', moments)))


@pytest.mark.ros
@pytest.mark.parametrize('bag', ['small', pytest.param('bundled', marks=pytest.mark.slow)])
def test_a_headless_run_writes_its_report(ros_domain: int, tmp_path: Path, bag: str) -> None:
    report_file, picture = tmp_path / 'report.json', tmp_path / 'table.svg'
    command = lb_ros('demo', '--headless', '--report', str(report_file), '--picture', str(picture))
    command += small_bag(tmp_path) if bag == 'small' else ()
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
    judged = [p for p in report['predicates'] if p['positives'] and p['negatives']]
    assert judged == [p for p in report['predicates'] if p['auroc'] is not None]
    for modality, found in report['medians'].items():
        values = [p['auroc'] for p in judged if p['modality'] == modality]
        assert found == pytest.approx(median(values), abs=1e-4)
    if bag == 'bundled':
        assert report['medians']['fused'] > 0.8
    assert report['latency_ms']['p50'] > 0
    assert '<svg' in picture.read_text()


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def end(pids: list[int], *, limit_s: float) -> list[int]:
    """Wait until processes have ended; returns those that have not."""
    limit_s += time.monotonic()
    while (alive := [p for p in pids if is_alive(p)]) and time.monotonic() < limit_s:
        time.sleep(0.05)
    return alive


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent to notice."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2][0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.ros
@pytest.mark.parametrize(
    'signum',
    [
        signal.SIGINT,
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
    ids=lambda s: s.name,
)
def test_interruption_ends_all_three_processes(
    ros_domain: int, tmp_path: Path, signum: signal.Signals
) -> None:
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
    started = children(process.pid)
    assert len(started) == 2
    process.send_signal(signum)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == (-9 if signum is signal.SIGKILL else 130), rest
    assert 'Traceback' not in rest
    assert end(started, limit_s=60.0) == []


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--bag', 'nowhere'), "--bag: 'nowhere': there is no such file or folder"),
        (('--report', 'nowhere/report.json'), 'nowhere/report.json: there is no such folder'),
        (('--model', 'nothing'), "no model set 'nothing'"),
    ],
)
def test_unusable_input_is_one_line(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['demo', '--headless', *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
