"""`lb-ros label`: requests of the page, and the command as people start and stop it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from encoders.predicates.taught_file import load_lessons
from lb_ros.cli import main
from lb_ros.dashboard.server import Site
from lb_ros.dashboard.session import Session
from tests.lb_ros.dashboard.test_dashboard import filled, get, served
from tests.train.conftest import DrawnBag
from tests.waiting import wait_until
from train.bags.labels import read_label_file
from train.teaching.label_file import LabelFile

ROOT = Path(__file__).resolve().parents[3]
JSON = {'Content-Type': 'application/json'}
START_S = 120
PREDICATES = """
predicates:
  drawer: {positive: [the top drawer is open], negative: [the top drawer is closed]}
"""


def send(url: str, method: str, body: Any, *, to: str = 'label') -> tuple[int, str]:
    data = json.dumps(body).encode()
    status, answer = get(f'{url}/api/{to}', data=data, headers=JSON, method=method)
    return status, answer.decode()


@pytest.fixture
def labelled(tmp_path: Path) -> Iterator[tuple[str, Session, Path]]:
    """The address of a recording that is labelled, its session, and the file of its labels."""
    session, path = filled(live=False), tmp_path / 'kitchen.labels.csv'
    session.labels = LabelFile(path, 'kitchen', names=['drawer'])
    for url in served(Site(session)):
        yield url, session, path


def test_the_page_labels_removes_and_takes_back(labelled: Any) -> None:
    url, session, path = labelled
    about = json.loads(get(f'{url}/api/session')[1])
    assert about['labels'] == str(path)
    stretch = {'name': 'drawer', 'truth': 'true', 'start': 1.25, 'end': 3}
    status, answer = send(url, 'POST', stretch)
    expected = {'drawer': [[1.25, 3.0, 'true']]}
    assert (status, json.loads(answer)) == (
        200,
        {'said': 'saved: true 1.2 to 3.0 s', 'labels': expected},
    )
    assert path.read_text().splitlines()[1:] == ['kitchen,drawer,1.25,3,true']
    assert json.loads(get(f'{url}/api/updates?since=0')[1])['labels'] == expected
    assert send(url, 'POST', stretch | {'truth': 'unclear', 'start': 2})[0] == 200
    assert send(url, 'DELETE', {'name': 'drawer', 't': 2.5})[0] == 200
    assert session.labels.shown() == {'drawer': [(1.25, 2.0, 'true')]}
    status, answer = send(url, 'DELETE', {})
    assert json.loads(answer)['said'] == 'undone: drawer: removed unclear 2.0 to 3.0 s'
    assert len(read_label_file(path)) == 2


def test_an_asked_line_with_labels_stays_until_they_are_removed(labelled: Any) -> None:
    url, _, path = labelled
    stretch = {'name': 'the lid is on', 'truth': 'true', 'start': 1, 'end': 3}
    assert send(url, 'POST', stretch)[0] == 200
    status, says = send(url, 'DELETE', {'sentence': 'the lid is on'}, to='ask')
    assert (status, says) == (422, 'the lid is on: kept, it has labels; remove them first (x)')
    assert len(read_label_file(path)) == 1
    assert send(url, 'DELETE', {'name': 'the lid is on', 't': 2})[0] == 200
    assert send(url, 'DELETE', {'sentence': 'the lid is on'}, to='ask')[0] == 200


@pytest.mark.parametrize(
    ('method', 'body', 'status', 'says'),
    [
        ('POST', {'name': 'drawer'}, 400, 'expected {"name"'),
        ('POST', {'name': 'a', 'truth': 'maybe', 'start': 0, 'end': 1}, 422, 'not \'maybe\''),
        ('POST', {'name': '', 'truth': 'true', 'start': 0, 'end': 1}, 422, 'needs a predicate'),
        ('POST', {'name': 'a', 'truth': 'true', 'start': None, 'end': 1}, 400, 'expected'),
        ('DELETE', {'name': 'drawer', 't': 9}, 422, 'no label at 9.0 s to remove'),
        ('DELETE', {}, 422, 'nothing was labelled since the start'),
        ('POST', [], 400, 'expected a JSON object'),
    ],
)  # fmt: skip
def test_an_unusable_request_gets_its_reason(
    labelled: Any, method: str, body: Any, status: int, says: str
) -> None:
    url, _, path = labelled
    answered, words = send(url, method, body)
    assert answered == status and says in words and not path.exists()


def test_a_file_that_was_damaged_meanwhile_is_named_on_the_page(labelled: Any) -> None:
    url, _, path = labelled
    path.write_text('bag,predicate,start_s,end_s,truth\nkitchen,drawer,2,1,true\n')
    stretch = {'name': 'drawer', 'truth': 'true', 'start': 1, 'end': 3}
    status, words = send(url, 'POST', stretch)
    assert status == 422 and words == f'{path}:2: end_s (1) is before start_s (2)'


def test_the_dashboard_of_a_bag_takes_no_labels() -> None:
    for url in served(Site(filled(live=False))):
        stretch = {'name': 'drawer', 'truth': 'true', 'start': 1, 'end': 3}
        assert send(url, 'POST', stretch) == (
            404,
            'nothing can be labelled here; start lb-ros label BAG',
        )
        assert json.loads(get(f'{url}/api/session')[1])['labels'] is None


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawer that is open for 1.5 s out of every 3, for 18 s."""
    moments = [{'open(top drawer)': i % 6 > 2} for i in range(36)]
    return DrawnBag().write(tmp_path_factory.mktemp('bags') / 'kitchen', moments)


@contextmanager
def started(bag: Path, *words: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of the command, which is interrupted as by Ctrl-C."""
    command = [sys.executable, '-m', 'lb_ros.cli', 'label', str(bag), *map(str, words)]
    with subprocess.Popen(
        [*command, '--port', '0'], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, 'OMP_NUM_THREADS': '1'},
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        try:
            for line in process.stdout:
                if line.startswith('label: '):
                    break
            else:
                raise AssertionError(process.stderr.read())
            yield line.partition(' ')[2].strip().partition('?')[0].rstrip('/'), process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=START_S)


def updates(url: str) -> Any:
    return json.loads(get(f'{url}/api/updates?since=0')[1])


@pytest.mark.slow
def test_labels_of_a_bag_teach_and_give_pairs(
    bag: Path, tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, path = tmp_path / 'mine.yaml', tmp_path / 'all.csv'
    file.write_text(PREDICATES)
    model = ('--predicates', file, '--model', tiny_model_set)
    with started(bag, 'drawer', '--labels', path, *model) as (url, process):
        wait_until(lambda: (n := updates(url))['lines'] and n['progress'] is None, limit_s=START_S)
        news = updates(url)
        assert news['now'] == pytest.approx(17.5, abs=0.6) and 'depth' in news['modalities']
        assert list(news['labels']) == ['drawer']
        for number in range(12):  # as the page shows it
            truth = 'true' if number % 2 else 'false'
            stretch = {'name': 'drawer', 'truth': truth, 'start': 1.5 * number}
            assert send(url, 'POST', stretch | {'end': 1.5 * number + 1.0})[0] == 200
        unclear = {'name': 'drawer', 'truth': 'unclear', 'start': 16, 'end': 17.5}
        assert send(url, 'POST', unclear)[0] == 200
    assert process.returncode in (0, 130)
    with started(bag, '--no-scores', '--labels', path, *model) as (url, process):
        assert len(updates(url)['labels']['drawer']) == 12  # the last true one is unclear now
        assert updates(url)['lines'] == []
    assert main(['label', str(bag), '--show', '--labels', str(path)]) == 0
    assert 'unclear 1.5 s in 1' in capsys.readouterr().out
    words = ['--labels', str(path), '--predicates', str(file)]
    teach = ['teach', '--data', str(bag), *words, '--model', str(tiny_model_set)]
    assert main([*teach, '-o', str(tmp_path / 'taught.safetensors'), '--json']) == 0
    (row,) = json.loads(capsys.readouterr().out)['taught']
    assert (row['true'], row['false']) == (5, 6)
    assert load_lessons(tmp_path / 'taught.safetensors') is not None
    model_set = tmp_path / 'set'
    shutil.copytree(tiny_model_set, model_set)
    calibrate = ['calibrate', '--model', str(model_set), '--data', str(bag), *words]
    assert main([*calibrate, '--overwrite', '--threads', '1', '--workers', '1']) == 0
    assert '1 predicates calibrated on' in capsys.readouterr().out
    pairs = ['train', 'pairs', '--data', str(bag), *words, '--modalities', 'depth', '--json']
    assert main([*pairs, '--out', str(tmp_path / 'pairs')]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['pairs'] > 10 and report['texts']['predicate'] > 10


def test_a_file_is_complete_after_an_interrupt_in_the_middle(
    bag: Path, tiny_model_set: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'x.csv'
    words = ('it is open', '--no-scores', '--labels', path, '--model', tiny_model_set)
    with started(bag, *words) as (url, process):
        saved = 0
        for number in range(60):
            if number == 40:
                process.send_signal(signal.SIGINT)
            stretch = {'name': 'it is open', 'truth': 'true', 'start': number / 4}
            try:
                status, _ = send(url, 'POST', stretch | {'end': number / 4 + 0.1})
            except OSError:  # it has ended
                break
            saved += status == 200
    assert 40 <= saved <= 60 and len(read_label_file(path)) in (saved, saved + 1)
    assert [file.name for file in tmp_path.iterdir()] == ['x.csv']


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        (['nowhere'], 'nowhere: there is no such bag'),
        (['BAG', '.'], 'a sentence must not be empty'),
        (['BAG', '--labels', 'no/folder/x.csv'], 'x.csv: cannot be written: No such file or'),
        (['BAG', '--labels', 'bad.csv'], "bad.csv:2: truth must be true, false or unclear"),
        (['BAG', '--json'], '--json needs --show'),
        (['BAG', '--show', '--labels', 'none.csv'], 'none.csv: no labels yet; make some with: lb'),
        (['BAG', '--show', '--labels', 'bad.csv'], 'bad.csv:2: truth must be'),
        (['BAG', '--topic', 'smell=/x'], 'smell'),
        (['BAG@noon'], 'noon'),
    ],
    ids=lambda value: '' if isinstance(value, str) else ' '.join(value),
)  # fmt: skip
def test_unusable_words_are_refused_in_one_line(
    words: list[str],
    says: str,
    bag: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'bad.csv').write_text('bag,predicate,start_s,end_s,truth\nkitchen,a,0,1,x\n')
    assert main(['label', *(word.replace('BAG', str(bag)) for word in words)]) == 2
    told = capsys.readouterr().err
    assert says in told and 'Traceback' not in told


def test_a_bag_without_sensors_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sensors = ('/camera/image/compressed', '/depth/image', '/infrared/image', '/microphone/audio')
    mute = DrawnBag().write(tmp_path / 'mute', [{'open(top drawer)': True}] * 3, skip=sensors)
    assert main(['label', str(mute)]) == 2
    assert f'{mute}: holds no sensor on a topic of a usual name; name its topics' in (
        capsys.readouterr().err
    )


def test_a_port_in_use_is_named_with_its_remedy(
    bag: Path, tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = str(other.getsockname()[1])
        words = ['label', str(bag), '--no-scores', '--port', port, '--model', str(tiny_model_set)]
        assert main([*words, '--labels', str(tmp_path / 'x.csv')]) == 2
    told = capsys.readouterr().err
    assert f'127.0.0.1:{port}: Address already in use; give another --port (0 for any' in told
