"""What people type: help is quick, mistakes end in one line, and nothing shipped is changed."""

from __future__ import annotations

import argparse
import io
import json
import math
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lb_ros.cli.commands import SUBCOMMANDS
from tests.field.command_lines import Ran, is_one_line, mistyped, options, parsers, run

ROOT = Path(__file__).resolve().parents[2]
BAG = str(ROOT / 'lb_ros' / 'data' / 'demo_bag')
COMMANDS = [words for words, _ in parsers()]
HEAVY = ('torch', 'cv2', 'numpy', 'scipy', 'rclpy', 'rich', 'pyarrow', 'mujoco', 'sklearn')
LIMIT_S = 0.5
"""Processor time beyond Python's own start."""


def refused(*words: str) -> str:
    ran = run(words)
    assert ran.status == 2, ran
    assert ran.err.count('\n') == 1, ran.err
    assert is_one_line(ran)
    return ran.err


def test_help_of_every_command_imports_nothing_heavy() -> None:
    """All in one process: what one of them imports, none of them may."""
    program = (
        'import sys, lb_ros.cli.commands as commands\n'
        f'for words in {COMMANDS!r}:\n'
        '    assert commands.main([*words, "--help"]) == 0, words\n'
        f'    found = [name for name in {HEAVY!r} if name in sys.modules]\n'
        '    assert not found, (words, found)\n'
    )
    subprocess.run([sys.executable, '-c', program], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    'words',
    [('train', 'pairs', '--help'), ('score', '--nonsense'), ('bench', '--threads', '-1'), ('x',)],
    ids=' '.join,
)
def test_help_and_wrong_arguments_end_at_once(words: tuple[str, ...]) -> None:
    def cpu_s(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert cpu_s('-m', 'lb_ros.cli', *words) - cpu_s('-c', 'pass') < LIMIT_S


@pytest.mark.parametrize('words', COMMANDS, ids=' '.join)
def test_help_explains_every_option_with_its_default(words: tuple[str, ...]) -> None:
    parser = dict(parsers())[words]
    shown = ' '.join(run([*words, '--help']).out.split())
    for action in options(parser):
        if action.help is argparse.SUPPRESS:
            continue
        assert action.help, (words, action.dest)
        if type(action.default) in (int, float) and math.isfinite(action.default):
            assert f'(default: {action.default:g})' in shown or 'default' in action.help


def test_one_name_per_option() -> None:
    """Modalities and topics have one name in every help; the older names still work."""
    for words, parser in parsers():
        flags = {flag for a in options(parser) if a.help != argparse.SUPPRESS
                 for flag in a.option_strings}  # fmt: skip
        assert not flags & {'--modality', '--topic'}, words
        known = {flag for action in options(parser) for flag in action.option_strings}
        assert ('--modality' in known) == ('--modalities' in known), words


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['--modalities', 'depth,audio', 'it is open'], 'it is open'),
        (['--modalities', 'depth', 'audio', 'it is open'], 'it is open'),
        (['it is open', '--modality', 'depth,audio'], 'it is open'),
        (['--modality', 'depth', '--modalities', 'audio', 'it is open'], 'it is open'),
        (['--modalities=depth', 'audio', 'open'], 'open'),
    ],
)
def test_a_list_takes_commas_and_spaces_and_leaves_the_sentence(
    words: list[str], sentence: str
) -> None:
    parser = dict(parsers())[('query',)]
    args = parser.parse_args(words)
    assert args.modalities == ('depth', 'audio')
    assert args.texts == [sentence]


def test_topics_take_commas_spaces_and_their_older_name() -> None:
    parser = dict(parsers())[('score',)]
    wanted = ('depth=/a', 'audio=/b')
    for words in (
        ['--topics', 'depth=/a', 'audio=/b'],
        ['--topics', 'depth=/a,audio=/b'],
        ['--topic', 'depth=/a', '--topic', 'audio=/b'],
    ):
        assert parser.parse_args([*words, BAG, '-o', 'x']).topics == wanted
    pairs = dict(parsers())[('train', 'pairs')]
    common = ['--data', BAG, '--out', 'x']
    assert pairs.parse_args([*common, '--topics', 'depth=/a,/b']).topics == ('depth=/a,/b',)
    assert pairs.parse_args([*common, '--task-topics', 'a,b', 'c']).task_topics == ('a', 'b', 'c')


@pytest.mark.parametrize(
    ('words', 'named'),
    [
        (['score', BAG, '-o', 'x', '--threads', '-1'], '--threads: must be at least 0, not -1'),
        (['score', BAG, '-o', 'x', '--max-rate-hz', '-3'], '--max-rate-hz: must be at least 0'),
        (['score', BAG, '-o', 'x', '--device', 'tpu'], "--device: 'tpu': expected cpu, cuda"),
        (['score', BAG, '-o', 'x', '--modalities', 'depht'], 'is depth meant?'),
        (['score', BAG, '-o', 'x', '--model', 'nowhere'], "no model set 'nowhere'"),
        (['score', 'nowhere', '-o', 'x'], "'nowhere': there is no such file or folder"),
        (['index', BAG], 'required: -o/--out'),
        (['search', 'nowhere', 'it is open'], 'nowhere: no index; make one with: lb-ros index'),
        (['dashboard', BAG, '--port', '80000'], '--port: must be from 0 to 65535, not 80000'),
        (['watch', '--namespace', 'robot 1'], "'robot 1': a namespace has letters"),
        (['watch', '--seconds', 'soon'], "--seconds: must be a number, not 'soon'"),
        (['query', '--modalities', 'depth', 'adio', 'it is open'], "unknown modality 'adio'"),
        (['query', ''], 'a sentence must not be empty'),
        (['wait', 'a', '--state', 'open'], 'invalid choice'),
        (['up', 'depth'], "'depth': expected PARAMETER:=VALUE"),
        (['bench', 'nothing'], "unknown suite 'nothing'"),
        (['bench', '--repeats', '0'], '--repeats: must be at least 1, not 0'),
        (['sim', '--suite', 'libero', '--out', 'x'], "unknown suite 'libero'"),
        (['sim', '--suite', 'libero_10', '--out', 'x', '--rate', '0'], 'must be more than 0'),
        (['models', 'convert', 'smell=/', '--out', 'x'], "'smell=/' must be MODALITY=FOLDER"),
        (['models', 'inspect', 'languagebind-large'], 'lb-ros models pull languagebind-large'),
        (['train', 'bind', '--config', 'no.yaml', '--data', BAG, '--out', 'x'], "'no.yaml'"),
        (['train', 'contrast', '--config', 'x', '--max-steps', '0'], "'x': there is no such file"),
        (['calibrate', '--model', 'lb-mini', '--data', BAG, '--folds', '1'], '--folds'),
        (['eval', '--data', BAG, '--suite', 'coco'], 'invalid choice'),
        (['nonsense'], 'invalid choice'),
        ([], 'required: SUBCOMMAND'),
    ],
    ids=lambda value: ' '.join(value)[:40] if isinstance(value, list) else '',
)
def test_a_wrong_argument_is_one_line(words: list[str], named: str) -> None:
    assert named in refused(*words)


def test_a_device_that_is_not_here_is_one_line(tmp_path: Path) -> None:
    ran = run(['score', BAG, '-o', str(tmp_path / 'scored'), '--device', 'cuda:63'])
    assert ran.status == 2
    assert 'this machine has no such device, only cpu' in ran.err
    assert is_one_line(ran)
    assert not (tmp_path / 'scored').exists()


@pytest.mark.parametrize('words', [['models', 'list'], ['--help'], ['train', 'pairs', '--help']])
def test_a_reader_that_has_gone_ends_it_quietly(words: list[str]) -> None:
    command = [sys.executable, '-m', 'lb_ros.cli', *words]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.wait(timeout=120), process.stderr.read()) == (141, '')


def test_sigterm_ends_a_command_quietly(tmp_path: Path) -> None:
    """Also while it still imports what it needs."""
    command = [sys.executable, '-m', 'lb_ros.cli', 'score', BAG, '-o', str(tmp_path / 'o')]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        caught = Path(f'/proc/{process.pid}/status')
        bit = signal.SIGTERM - 1
        while not int(caught.read_text().split('SigCgt:')[1].split()[0], 16) >> bit & 1:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 143
        assert process.stderr is not None
        assert 'Traceback' not in process.stderr.read()


def test_calibrate_leaves_a_shipped_set_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from encoders.model_sets.places import SHIPPED
    from train.calibration.cli import folder_to_calibrate

    monkeypatch.chdir(tmp_path)
    shipped = SHIPPED / 'lb-mini'
    copy = folder_to_calibrate(shipped, overwrite=False)
    assert copy == Path('runs/calibrated/lb-mini')
    assert {p.name for p in copy.iterdir()} == {p.name for p in shipped.iterdir()} - {
        'calibration.safetensors',
        'readout_calibration.safetensors',
    }
    assert folder_to_calibrate(shipped, overwrite=False).name == 'lb-mini_2'
    assert folder_to_calibrate(copy, overwrite=False) == copy  # it has no calibration yet
    (copy / 'readout_calibration.safetensors').write_bytes(b'mine')
    assert folder_to_calibrate(copy, overwrite=False).name == 'lb-mini_3'
    assert folder_to_calibrate(copy, overwrite=True) == copy


def test_a_set_that_is_there_is_replaced_only_where_told(tmp_path: Path) -> None:
    source = f'depth={ROOT / "tests" / "data" / "oracle" / "depth"}'
    words = ['models', 'convert', source, '--out', str(tmp_path / 'set')]
    assert run(words).status == 0
    before = (tmp_path / 'set' / 'manifest.json').stat().st_mtime_ns
    again = run(words)
    assert again.status == 2
    assert 'already holds a set; give --overwrite' in again.err
    joined = run(['models', 'join', str(tmp_path / 'set'), '--out', str(tmp_path / 'set')])
    assert joined.status == 2
    assert (tmp_path / 'set' / 'manifest.json').stat().st_mtime_ns == before
    assert run([*words, '--overwrite']).status == 0
    pulled = run(['models', 'pull', 'languagebind-large', '--out', str(tmp_path / 'set')])
    assert '--overwrite' in pulled.err


@pytest.mark.parametrize(('kind', 'recipe'), [('bind', 'lb-mini'), ('contrast', 'lora')])
@pytest.mark.parametrize('file', ['checkpoint.pt', 'log.jsonl'])
def test_a_run_that_is_there_is_refused_before_any_work(
    kind: str, recipe: str, file: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_bytes(b'mine')
    config = str(ROOT / 'config' / 'recipes' / f'{recipe}.yaml')
    ran = run(['train', kind, '--config', config, '--data', BAG, '--out', str(tmp_path)])
    assert ran.status == 2
    assert f'already holds a run ({file}); give --resume' in ran.err
    assert '--overwrite' in ran.err
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b'mine']


@pytest.mark.parametrize('wanted', [0, 3, 10])
def test_a_bar_is_whole_at_the_end(wanted: int) -> None:
    from rich.console import Console

    from train.progress import counted

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    assert list(counted(range(wanted), 'cutting', total=10, console=console)) == list(
        range(wanted)
    )
    assert '10/10' in out.getvalue()


def test_benchmarks_leave_tracked_results_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import environment

    tracked = tmp_path / 'tracked'
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, 'RESULTS', tracked)
    monkeypatch.delenv(environment.OVERWRITE, raising=False)
    first = environment.write_result('speed', {'ms': 1})
    assert first == tracked / 'speed.json'
    other = environment.write_result('speed', {'ms': 2})
    assert other == Path('runs/results/speed.json')
    assert json.loads(first.read_text())['ms'] == 1
    monkeypatch.setenv(environment.OVERWRITE, '1')
    assert environment.write_result('speed', {'ms': 3}) == first


@pytest.fixture(scope='module')
def odd_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files and folders of which none is what a command expects."""
    folder = tmp_path_factory.mktemp('odd')
    (folder / 'empty').write_bytes(b'')
    (folder / 'empty.mcap').write_bytes(b'')
    (folder / 'empty_folder').mkdir()
    (folder / 'list.yaml').write_text('[1, 2')
    (folder / 'number.yaml').write_text('predicates: 5\n')
    (folder / 'one.json').write_text('{"start": 0}')
    (folder / 'bytes.db3').write_bytes(bytes(range(256)) * 8)
    (folder / 'page.html').write_text('<html>404</html>')
    (folder / 'odd name é\n.yaml').write_text('é: \x07')
    return folder


def check_mistyped(seed: int, folder: Path) -> Ran:
    words = mistyped(seed, folder)
    ran = run(words)
    assert ran.status in (0, 1, 2), ran
    if ran.status:
        assert is_one_line(ran), ran
    return ran


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command reaches a robot, the network, or the folder of the sources."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LB_ROS_MODELS', str(tmp_path / 'store'))
    for name, subcommand in SUBCOMMANDS.items():
        if subcommand.needs_ros or name in ('dashboard', 'label', 'bench', 'sim'):
            monkeypatch.setitem(SUBCOMMANDS, name, _checked_only(name))


def _checked_only(name: str):  # type: ignore[no-untyped-def]
    """A command that ends after its options have been checked: its work needs a robot."""
    from dataclasses import replace

    return replace(SUBCOMMANDS[name], run='tests.field.test_commands:done', needs_ros=False)


def done(args: argparse.Namespace) -> int:
    return 0


@pytest.mark.usefixtures('_here')
@pytest.mark.parametrize('start', range(0, 100, 25))
def test_mistyped_command_lines_end_without_a_traceback(start: int, odd_files: Path) -> None:
    for seed in range(start, start + 25):
        check_mistyped(seed, odd_files)


@pytest.mark.slow
@pytest.mark.usefixtures('_here')
def test_two_thousand_mistyped_command_lines(odd_files: Path) -> None:
    statuses = [check_mistyped(seed, odd_files).status for seed in range(2000)]
    assert re.fullmatch(r'[012]+', ''.join(map(str, statuses)))
    assert statuses.count(2) > 1000
