"""Teaching a running robot, across processes: presses, undo, restart, export and import."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from encoders import Binder, Predicate, State
from encoders.predicates.taught_file import from_bytes, to_bytes
from lb_ros.cli.teach import teach
from lb_ros.client import LanguageClient, NotAnsweredError
from tests.domains import own_domain
from tests.lb_ros.evidence import LIMIT_S, START_S, Source, running

pytestmark = pytest.mark.ros
# Reversed on purpose: whatever the text says, the drawer shows the opposite.
LID = Predicate(
    'lid',
    ('the drawer is closed',),
    ('the drawer is open',),
    modalities=('image',),
    dwell_ms=0.0,
    threshold_on=0.5,
    threshold_off=0.49999,
)
WAIT = {'timeout_s': LIMIT_S}


@contextmanager
def robot(model: Path, folder: Path) -> Iterator[tuple[LanguageClient, Source]]:
    with running('predicates', model, folder), LanguageClient(timeout_s=START_S) as client:
        client.states()
        client.timeout_s = LIMIT_S
        source = Source(Binder.load(model))
        try:
            yield client, source
        finally:
            source.close()


def shows(client: LanguageClient, source: Source, value: int) -> None:
    source.shows = value
    name = 'open' if value > 0 else 'closed'
    assert client.wait_until(name, **WAIT)


def test_a_robot_is_taught_and_stays_taught(tiny_model_set: Path, tmp_path: Path) -> None:
    with own_domain():
        with robot(tiny_model_set, tmp_path) as (client, source):
            client.add(LID)
            shows(client, source, 1)
            assert client.wait_until('lid', state=State.FALSE, **WAIT)
            first = client.teach('lid', True)
            assert (first.true_presses, first.false_presses) == (1, 0)
            assert first.next.startswith('press false') and first.left_out is None
            for _ in range(5):
                shows(client, source, 1)
                client.teach('lid', True)
                shows(client, source, -1)
                told = client.teach('lid', False)
            assert (told.true_presses, told.false_presses) == (6, 5)
            assert told.left_out is not None and told.left_out > 0.8
            assert [name for name, _ in told.shares] == ['image']
            assert client.wait_until('lid', state=State.FALSE, **WAIT)
            shows(client, source, 1)
            assert client.wait_until('lid', **WAIT)
            assert 'taught (6 true, 5 false, ' in client.states()['lid'].reason
            undone = client.untaught('lid')
            assert (undone.true_presses, undone.false_presses) == (6, 4)
            content = client.export_taught()
        assert list(tmp_path.glob('*.taught.safetensors'))
        with robot(tiny_model_set, tmp_path) as (client, source):  # a restart
            assert 'lid' in [predicate.name for predicate in client.predicates()]
            shows(client, source, 1)
            assert client.wait_until('lid', **WAIT)
            assert client.untaught('lid', everything=True).true_presses == 0
            assert client.wait_until('lid', state=State.FALSE, **WAIT)
            with pytest.raises(NotAnsweredError, match='has no presses'):
                client.untaught('lid')
            assert client.import_taught(content) == ['lid']
            assert client.wait_until('lid', **WAIT)


def test_what_cannot_be_taught_is_refused_in_one_line(
    tiny_model_set: Path, tmp_path: Path
) -> None:
    with own_domain(), robot(tiny_model_set, tmp_path) as (client, source):
        with pytest.raises(NotAnsweredError, match="no predicate 'nothing'"):
            client.teach('nothing', True)
        with pytest.raises(NotAnsweredError, match='no sensor has valid evidence'):
            client.teach('open', True)
        shows(client, source, 1)
        with pytest.raises(NotAnsweredError, match='further back than'):
            client.teach('open', True, ago_s=1000.0)
        with pytest.raises(NotAnsweredError, match='ago_s must be 0 or more'):
            client.teach('open', True, ago_s=-1.0)
        with pytest.raises(NotAnsweredError, match='in the future'):
            client.teach('open', True, at_s=client.now_s() + 100)
        with pytest.raises(NotAnsweredError, match="no press 'unknown'"):
            client.teach('open', True)
            client.untaught('open', press='unknown')
        with pytest.raises(NotAnsweredError, match='no file of what was taught'):
            client.import_taught(b'nothing of the kind')
        other = from_bytes(client.export_taught(), where='x')
        foreign = type(other)('other space', other.model, '', {}, other.by_name)
        with pytest.raises(NotAnsweredError, match='taught in the language space other space'):
            client.import_taught(to_bytes(foreign))
        with pytest.raises(NotAnsweredError, match='was not taught'):
            client.export_taught('closed')


def test_the_past_and_a_stretch_can_be_taught(tiny_model_set: Path, tmp_path: Path) -> None:
    with own_domain(), robot(tiny_model_set, tmp_path) as (client, source):
        client.add(LID)
        shows(client, source, 1)
        began_s = client.now_s()
        time.sleep(0.5)
        shows(client, source, -1)
        time.sleep(0.5)
        client.teach('lid', True, at_s=began_s, seconds=0.05)
        client.teach('lid', False, seconds=0.3)
        kept = from_bytes(client.export_taught('lid'), where='x').by_name['lid'].presses
        assert [press.truth for press in kept] == [True, False]
        assert kept[1].frames > 1
        one, other = (press.vectors['image'].astype(float) for press in kept)
        assert one @ other < -0.9


def test_keys_of_a_terminal_are_presses(
    tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with own_domain(), robot(tiny_model_set, tmp_path) as (client, source):
        shows(client, source, 1)
        keys = io.StringIO('txfuq' + 't')
        teach(client, 'open', lambda: keys.read(1), seconds=0.0)
        lines = capsys.readouterr().out.splitlines()
        assert [
            next(part for part in line.split('  ') if ' true, ' in part).split(';')[0]
            for line in lines
        ] == ['1 true, 0 false', '1 true, 1 false', '1 true, 0 false']


def test_the_command_adds_a_new_sentence(tiny_model_set: Path, tmp_path: Path) -> None:
    with own_domain(), robot(tiny_model_set, tmp_path) as (client, source):
        shows(client, source, 1)
        done = subprocess.run(
            [sys.executable, '-m', 'lb_ros.cli', 'teach', 'the lid is screwed on'],
            input='tq',
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert done.returncode == 0, done.stderr
        assert '1 true, 0 false' in done.stdout
        assert 'the lid is screwed on' in [p.name for p in client.predicates()]
