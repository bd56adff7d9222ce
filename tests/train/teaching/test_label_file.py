"""Editing the labels of a bag: every change is on disk at once, and the newer stretch wins."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders import Predicate
from train.bags.labels import read_label_file
from train.teaching.label_file import LabelFile
from train.teaching.label_table import show_labels

HEAD = 'bag,predicate,start_s,end_s,truth\n'
TRUTHS = [True, False, None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'kitchen.labels.csv'


def stretches(path: Path, name: str = 'lid') -> list[tuple[float, float, str]]:
    """What a program that reads the file finds, of the bag `kitchen`."""
    own = [e for e in read_label_file(path) if (e.bag, e.predicate) == ('kitchen', name)]
    return [(round(e.start_s, 6), round(e.end_s, 6), e.word) for e in own]


def test_a_newer_stretch_shortens_splits_and_replaces(path: Path) -> None:
    labels = LabelFile(path, 'kitchen')
    assert labels.add('lid', True, 10.0, 2.0) == 'saved: true 2.0 to 10.0 s'  # backwards as well
    labels.add('lid', False, 4, 5)
    assert stretches(path) == [(2, 4, 'true'), (4, 5, 'false'), (5, 10, 'true')]
    labels.add('lid', None, 3, 6)
    assert stretches(path) == [(2, 3, 'true'), (3, 6, 'unclear'), (6, 10, 'true')]
    labels.add('lid', True, 2.5, 7)  # of the same truth: one stretch
    assert stretches(path) == [(2, 10, 'true')]
    labels.add('other', False, 0, 20)
    assert stretches(path) == [(2, 10, 'true')] and labels.count == 2


def test_a_moment_is_a_stretch_of_no_length(path: Path) -> None:
    labels = LabelFile(path, 'kitchen')
    assert labels.add('lid', True, 1.5, 1.5) == 'saved: true at 1.5 s'
    labels.add('lid', False, 3, 3)
    assert stretches(path) == [(1.5, 1.5, 'true'), (3, 3, 'false')]
    labels.add('lid', False, 0, 4)
    assert stretches(path) == [(0, 4, 'false')]
    labels.add('lid', True, 2, 2)
    assert stretches(path) == [(0, 2, 'false'), (2, 2, 'true'), (2, 4, 'false')]


spots = st.integers(0, 10).map(float)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(spots, spots, st.sampled_from(TRUTHS)), min_size=1, max_size=8))
def test_every_change_and_every_undo_leaves_the_file_that_it_should(
    tmp_path_factory: pytest.TempPathFactory, edits: list[Any]
) -> None:
    """Compared with painting the seconds one by one."""
    path = tmp_path_factory.mktemp('edits') / 'x.csv'
    labels, painted = LabelFile(path, 'kitchen'), {}
    before = []
    for start, end, truth in edits:
        if start == end:
            continue
        before.append(dict(painted))
        labels.add('lid', truth, start, end)
        painted |= dict.fromkeys(range(int(min(start, end)), int(max(start, end))), truth)
        assert seconds_of(path) == painted
    for expected in reversed(before):
        assert labels.undo().startswith('undone: lid: ')
        assert seconds_of(path) == expected
    with pytest.raises(ValueError, match='nothing was labelled since the start'):
        labels.undo()


def seconds_of(path: Path) -> dict[int, bool | None]:
    found: dict[int, bool | None] = {}
    for each in read_label_file(path):
        for second in range(round(each.start_s), round(each.end_s)):
            assert second not in found  # no two stretches overlap
            found[second] = each.truth
    return found


def test_an_existing_file_is_continued_and_other_bags_are_kept(path: Path) -> None:
    other = 'hall,lid,0.123456789,2,true\n'
    path.write_text(HEAD + 'kitchen,lid,1,2,yes\n' + other + 'kitchen,lid,1.5,3,0\n')
    labels = LabelFile(path, 'kitchen', names=['drawer'])
    assert labels.shown() == {'drawer': [], 'lid': [(1, 1.5, 'true'), (1.5, 3, 'false')]}
    labels.add('drawer', True, 0, 1)
    with path.open('a') as file:  # another program adds a row meanwhile
        file.write('hall,drawer,5,6,unclear\n')
    assert labels.remove('lid', 1.2) == 'removed true 1.0 to 1.5 s'
    text = path.read_text()
    assert other in text and 'hall,drawer,5,6,unclear\n' in text
    assert labels.shown() == {'drawer': [(0, 1, 'true')], 'lid': [(1.5, 3, 'false')]}
    labels.undo()
    assert stretches(path) == [(1, 1.5, 'true'), (1.5, 3, 'false')]
    assert LabelFile(path, 'kitchen').shown() == {
        'drawer': [(0, 1, 'true')],
        'lid': [(1, 1.5, 'true'), (1.5, 3, 'false')],
    }


def test_a_removed_file_is_written_again_with_all_labels(path: Path) -> None:
    labels = LabelFile(path, 'kitchen')
    labels.add('lid', True, 0, 1)
    path.unlink()
    labels.add('lid', False, 2, 3)
    assert stretches(path) == [(0, 1, 'true'), (2, 3, 'false')]


def test_what_cannot_be_done_changes_nothing_and_says_why(path: Path) -> None:
    labels = LabelFile(path, 'kitchen')
    labels.add('lid', True, 0, 1)
    good = path.read_bytes()
    with pytest.raises(ValueError, match=r'lid: no label at 5\.0 s to remove'):
        labels.remove('lid', 5)
    with pytest.raises(ValueError, match='a label needs a predicate'):
        labels.add('  ', True, 0, 1)
    with pytest.raises(ValueError, match='must be seconds'):
        labels.add('lid', True, float('nan'), 1)
    assert path.read_bytes() == good
    path.write_text(HEAD + 'kitchen,lid,0,1,maybe\n')  # by hand, meanwhile
    with pytest.raises(ValueError, match=r'labels.csv:2: truth must be true, false or unclear'):
        labels.add('lid', False, 2, 3)
    path.write_text(HEAD.strip() + ',note\nkitchen,lid,0,1,true,mine\n')
    with pytest.raises(ValueError, match=r':1: column note would be lost'):
        labels.undo()
    assert 'mine' in path.read_text()
    path.write_bytes(good)
    assert labels.undo() == 'undone: lid: true 0.0 to 1.0 s'


def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r'cannot be written: .*; name another file with --labels'):
        LabelFile(tmp_path / 'nowhere' / 'x.csv', 'kitchen')
    with pytest.raises(OSError, match='is a folder'):
        LabelFile(tmp_path, 'kitchen')


def test_a_folder_that_is_gone_later_keeps_the_stretch_open(tmp_path: Path) -> None:
    (tmp_path / 'there').mkdir()
    labels = LabelFile(tmp_path / 'there' / 'x.csv', 'kitchen')
    (tmp_path / 'there').rmdir()
    with pytest.raises(OSError, match='not saved'):
        labels.add('lid', True, 0, 1)
    assert labels.count == 0


def test_a_table_shows_labels_and_what_is_wrong_with_them(
    path: Path, drawn: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = drawn.write(tmp_path / 'kitchen', [{}] * 10)  # 4.5 s
    known = [Predicate.from_sentence('the lid is on', name='lid')]
    path.write_text(
        HEAD + 'kitchen,lid,0,2,true\nkitchen,lid,1,3,false\nkitchen,open [x],1,60,unclear\n'
        'kitchen,.,1,2,true\nhall,lid,0,1,true\n'
    )
    assert show_labels(bag, path, known) == 1
    told = capsys.readouterr()
    assert 'lid: true 1.0 s in 1, false 2.0 s in 1\n' in told.out
    assert 'open [x]: unclear 59.0 s in 1\n' in told.out and '1 labels of other bags' in told.out
    assert 'open [x]: teaching and calibration need true and false stretches' in told.out
    assert [line.partition('labels.csv:')[2][:22] for line in told.err.splitlines()] == [
        '3: overlaps line 2, wh', '4: ends at 60.0 s, aft', '5: a sentence must not',
    ]  # fmt: skip
    path.write_text(HEAD + 'kitchen,lid,0,2,true\nkitchen,lid,2,3,false\n')
    assert show_labels(bag, path, known, as_json=True) == 0
    told_json = json.loads(capsys.readouterr().out)
    assert told_json['problems'] == []
    assert told_json['labels'][1] == {
        'predicate': 'lid', 'start_s': 2.0, 'end_s': 3.0, 'truth': 'false'
    }  # fmt: skip
    path.write_text(HEAD + 'hall,lid,0,2,true\n')
    assert show_labels(bag, path, known) == 1
    assert "has no labels of 'kitchen'" in capsys.readouterr().err


def label_often(path: Path, name: str, count: int) -> None:
    labels = LabelFile(path, 'kitchen')
    for number in range(count):
        labels.add(name, True, 2 * number, 2 * number + 1)


def test_two_processes_that_label_a_bag_keep_what_both_said(path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('spawn')) as pool:
        for done in [pool.submit(label_often, path, name, 30) for name in ('lid', 'other')]:
            done.result()
    assert len(stretches(path)) == len(stretches(path, 'other')) == 30


def test_what_another_program_changed_since_is_not_taken_back(path: Path) -> None:
    mine, theirs = LabelFile(path, 'kitchen'), LabelFile(path, 'kitchen')
    mine.add('lid', True, 0, 1)
    mine.add('other', True, 0, 1)
    theirs.add('other', False, 4, 5)
    with pytest.raises(ValueError, match='other: another program has changed its labels since'):
        mine.undo()
    assert stretches(path, 'other') == [(0, 1, 'true'), (4, 5, 'false')]
    assert mine.shown()['other'] == [(0.0, 1.0, 'true'), (4.0, 5.0, 'false')]
    theirs.undo()
    assert mine.undo().startswith('undone: other') and mine.undo().startswith('undone: lid')
    assert stretches(path) == []
