"""A node's process ends quietly and at once, whenever it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lb_ros.cli import commands as cli

LIMIT_S = 60.0
BLAS_THREADS = 'OPENBLAS_NUM_THREADS'
ROOT = Path(__file__).resolve().parents[2]
# Stands in for the module with the heavy imports, so that the moment of the signal is known.
NODES = """
import sys, time, types
from lb_ros.start import start
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == 'lb_ros.nodes.process':
            print('importing', flush=True)
            time.sleep(600)
sys.meta_path.insert(0, Finder())
start('bringup')
"""
ENDING = """
import atexit, sys, types
from lb_ros.start import start
def main(name, args):
    atexit.register(print, 'taken apart')
    print('counters of', name)
    raise SystemExit(1)
sys.modules['lb_ros.nodes.process'] = types.SimpleNamespace(main=main)
start('bringup')
"""


@pytest.mark.parametrize(
    'signum', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name
)
def test_a_signal_during_the_imports_is_quiet(signum: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, '-c', NODES],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == 'importing\n'
    process.send_signal(signum)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, errors) == (0, '')


def test_the_last_line_arrives_and_exit_does_not_wait() -> None:
    done = subprocess.run(
        [sys.executable, '-c', ENDING], capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (1, 'counters of bringup\n')


@pytest.mark.parametrize(('given', 'used'), [(None, '1'), ('4', '4')])
def test_numpy_starts_no_threads_unless_asked_to(given: str | None, used: str) -> None:
    code = ENDING.replace("'counters of', name", "__import__('os').environ[NAME]")
    env = {name: value for name, value in os.environ.items() if name != BLAS_THREADS}
    if given is not None:
        env[BLAS_THREADS] = given
    done = subprocess.run(
        [sys.executable, '-c', f'NAME = {BLAS_THREADS!r}\n{code}'],
        capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT, env=env,
    )  # fmt: skip
    assert done.stdout == f'{used}\n', done.stderr


def test_a_closed_pipe_does_not_delay_the_end() -> None:
    process = subprocess.Popen(
        [sys.executable, '-c', ENDING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'PYTHONUNBUFFERED': ''},  # so that the last flush meets the closed pipe
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=LIMIT_S) == 1
    assert process.stderr is not None
    assert process.stderr.read() == ''


@pytest.mark.parametrize(('prefix', 'stops'), [((), True), (('nohup',), False)])
def test_a_hangup_stops_a_process_unless_nohup_protects_it(
    prefix: tuple[str, ...], stops: bool
) -> None:
    asked = 'import signal, lb_ros.start as s; print(signal.SIGHUP in s.STOP_SIGNALS)'
    done = subprocess.run(
        [*prefix, sys.executable, '-c', asked],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=ROOT,
    )
    assert done.stdout == f'{stops}\n'


@pytest.mark.parametrize(('words', 'ends'), [("['--end-with-reader']", True), ('[]', False)])
def test_a_node_ends_with_its_reader_where_it_is_asked_to(words: str, ends: bool) -> None:
    script = NODES.replace("start('bringup')", f"start('bringup', {words})")
    with subprocess.Popen(
        [sys.executable, '-c', script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'importing\n'
        process.stdout.close()
        try:
            assert process.wait(timeout=LIMIT_S if ends else 1.0) == 0
        except subprocess.TimeoutExpired:
            assert not ends
        finally:
            process.kill()


def test_a_closed_pipe_ends_a_command_without_a_traceback() -> None:
    script = (
        'import sys, lb_ros.cli.commands as cli\n'
        "cli._run = lambda words: print('a line\\n' * 100_000, flush=True)\n"
        'sys.exit(cli.run_program())'
    )
    with subprocess.Popen(
        [sys.executable, '-c', script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.wait(timeout=LIMIT_S), process.stderr.read()) == (141, '')


def test_up_passes_every_parameter_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def start(name: str, words: list[str]) -> None:
        asked.append((name, words))
        raise SystemExit(0)

    monkeypatch.setattr('lb_ros.cli.up.start', start)
    file = str(ROOT / 'config' / 'parameters.yaml')
    with pytest.raises(SystemExit):
        cli.main(['up', 'modalities:=[depth]', '--model', 'lb-mini', '--params-file', file])
    words = ['--ros-args', '--params-file', file, '-p', 'modalities:=[depth]']
    assert asked == [('bringup', [*words, '-p', 'model:=lb-mini'])]


def test_up_refuses_unknown_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['up', 'depth']) == 2
    assert "'depth': expected PARAMETER:=VALUE" in capsys.readouterr().err
