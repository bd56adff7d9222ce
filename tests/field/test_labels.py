"""Sentences with times as people keep them: every row is used, or counted with its reason."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.field.bags import START_NS, TYPES, good, write
from tests.field.cases import check_refused, check_usable, run
from tests.field.commands import COMMANDS
from train.phrasings import Phrasings

START_S = START_NS // 10**9
SERIAL = START_S / 86_400 + 25_569
HEAD = 'start,end,text\n'
SAID = 'the arm moves'

USED = {
    'seconds.csv': f'{HEAD}0,2,{SAID}\n',
    'epoch.csv': f'{HEAD}{START_S},{START_S + 2},{SAID}\n',
    'milliseconds.csv': f'{HEAD}{START_S}000,{START_S + 2}000,{SAID}\n',
    'microseconds.csv': f'{HEAD}{START_S}000000,{START_S + 2}000000,{SAID}\n',
    'nanoseconds.csv': f'{HEAD}{START_S}000000000,{START_S + 2}000000000,{SAID}\n',
    'iso.csv': f'{HEAD}2023-11-14T22:13:20Z,2023-11-14 22:13:22+00:00,{SAID}\n',
    'iso_of_a_zone.csv': f'{HEAD}2023-11-14T23:13:20+01:00,2023-11-14T23:13:22+01:00,{SAID}\n',
    'iso_without_a_zone.csv': f'{HEAD}2023-11-14 22:13:20,2023-11-14 22:13:22,{SAID}\n',
    'iso.yaml': f'- {{start: 2023-11-14T22:13:20Z, end: 2023-11-14T22:13:22Z, text: {SAID}}}\n',
    'serial.csv': f'{HEAD}{SERIAL:.6f},{SERIAL + 2 / 86_400:.6f},{SAID}\n',
    'minutes.csv': f'{HEAD}0:00,0:02,{SAID}\n',
    'hours.csv': f'{HEAD}00:00:00,00:00:02.5,{SAID}\n',
    'semicolons.csv': f'start;end;text\n0,0;2,0;{SAID}\n',
    'tabs.csv': f'start\tend\ttext\n0\t2\t{SAID}\n',
    'capitals.csv': f'Start, End, Text\n0,2,{SAID}\n',
    'byte_order_mark.csv': f'\ufeff{HEAD}0,2,{SAID}\n',
    'blank_lines.csv': f'{HEAD}\n0,2,{SAID}\n\n',
    'single.json': json.dumps({'start': 0, 'end': 2, 'text': SAID}),
    'single.yaml': f'start: 0\nend: 2\ntext: {SAID}\n',
    'single_of_a_bag.json': json.dumps({'bag': {'start': 0, 'end': 2, 'text': SAID}}),
    'lines.jsonl': json.dumps({'start': 0, 'end': 2, 'text': SAID}) + '\n',
    'numbers_as_text.json': json.dumps([{'start': '0', 'end': '2', 'text': SAID}]),
}
REFUSED = {
    'header_only.csv': (HEAD, 'holds no rows'),
    'empty.csv': ('', 'first line must name the columns start, end and text'),
    'no_header.csv': (f'0,2,{SAID}\n', 'first line must name the columns start, end and text'),
    'commas_before.csv': ('text,start,end\na, b,0,2\n', 'line 2: 4 cells for the 3 columns'),
    'yes.yaml': ('- {start: 0, end: 2, text: yes}\n', 'row 1: the text True is no sentence'),
    'true.json': ('[{"start": 0, "end": 2, "text": true}]', 'row 1: the text True is no'),
    'number.json': ('[{"start": 0, "end": 2, "text": 7}]', 'row 1: the text 7 is no sentence'),
    'true_start.json': ('[{"start": true, "end": 2, "text": "a"}]', 'row 1: start and end must'),
    'words.csv': (f'{HEAD}noon,2,{SAID}\n', "row 1: start and end must be .*'noon' is no time"),
    'no_unit.csv': (f'{HEAD}99999999999,2,{SAID}\n', 'row 1: .*99999999999 is a time in no known'),
    'list_of_lists.json': ('[[0, 2, "a"]]', r'row 1: \[0, 2, .a.\] is no row'),
    'no_json.json': ('{"start"', 'no_json.json'),
    'text.json': ('"a"', 'expected a list of rows'),
    'utf16.csv': (f'{HEAD}0,2,{SAID}\n', 'utf16.csv'),
    'sheet.xlsx': ('PK', "unknown kind '.xlsx', expected .csv"),
    'nan.csv': (f'{HEAD}nan,2,{SAID}\n', 'row 1'),
    'backwards.csv': (f'{HEAD}2,1,{SAID}\n', 'row 1: ends at 1.0 s before'),
}
OUTSIDE = {
    'beyond.csv': f'{HEAD}100,200,{SAID}\n0,2,the lamp is on\n',
    'another_year.csv': f'{HEAD}1600000000000,1600000002000,{SAID}\n0,2,the lamp is on\n',
    'before.csv': f'{HEAD}-9,-5,{SAID}\n0,2,the lamp is on\n',
    'other_serial.csv': f'{HEAD}45000.5,45000.6,{SAID}\n0,2,the lamp is on\n',
}


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sent = [one for one in good() if one.topic == 'camera/image']
    return write(tmp_path_factory.mktemp('bags') / 'bag', sent)


def pairs(bag: Path, folder: Path, name: str, content: str, *words: str) -> tuple[Path, list[str]]:
    (folder / name).write_text(content, encoding='utf-16' if name.startswith('utf16') else 'utf-8')
    out = folder / 'out'
    return out, ['train', 'pairs', '--data', str(bag), '--out', str(out), '--modalities', 'image',
                 '--windows-at', 'texts', '--sidecar', str(folder / name), *words]  # fmt: skip


@pytest.mark.parametrize('name', USED)
def test_a_row_is_used_however_its_times_are_written(bag: Path, tmp_path: Path, name: str) -> None:
    _, words = pairs(bag, tmp_path, name, USED[name], '--json')
    ran = run(*words)
    check_usable(ran)
    report = json.loads(ran.out)
    assert (report['texts'], report['pairs']) == ({'sidecar': 1}, 1)
    assert 'sidecar' not in str(report['dropped'])


def test_a_sentence_keeps_its_commas(bag: Path, tmp_path: Path) -> None:
    said = 'the arm, which is red, moves'
    out, words = pairs(bag, tmp_path, 'a.csv', f'{HEAD}0,2,{said}\n')
    check_usable(run(*words))
    assert said.encode() in next(out.glob('*.tar')).read_bytes()


@pytest.mark.parametrize('name', REFUSED)
def test_a_row_that_may_mean_anything_is_named(bag: Path, tmp_path: Path, name: str) -> None:
    content, says = REFUSED[name]
    out, words = pairs(bag, tmp_path, name, content)
    check_refused(run(*words), says, written=out)


@pytest.mark.parametrize('name', OUTSIDE)
def test_rows_outside_of_the_recording_are_counted(bag: Path, tmp_path: Path, name: str) -> None:
    _, words = pairs(bag, tmp_path, name, OUTSIDE[name], '--json')
    ran = run(*words)
    check_usable(ran, rf'1 sentences lie outside of every recording, first \S*{name}: row 1: ')
    assert json.loads(ran.out)['dropped']['sidecar sentences outside the recording'] == 1


def test_only_rows_outside_make_no_set(bag: Path, tmp_path: Path) -> None:
    out, words = pairs(bag, tmp_path, 'a.csv', f'{HEAD}100,200,{SAID}\n')
    check_refused(run(*words), 'lie outside of every recording', 'no pair could', written=out)


@pytest.mark.parametrize('argument', ['something', 'the_top_drawer', 'an apple', 'the red cup'])
@pytest.mark.parametrize('wordings', ['trained', 'unseen'])
def test_no_caption_is_ungrammatical(wordings: str, argument: str) -> None:
    phrasings = Phrasings.load(wordings)
    for relation in phrasings.relations:
        if ' something' in relation:
            continue
        found = phrasings.sentences(f'{relation}({argument}, {argument})')
        for sentence in (*found.positive, *found.negative):
            words = sentence.split()
            articles = [k for k, word in enumerate(words[:-1]) if word in ('a', 'an', 'the')]
            followers = {words[k + 1] for k in articles}
            assert not followers & {'something', 'a', 'an', 'the'}, sentence
            assert '_' not in sentence


ODD_TRUTHS = {
    'unknown_relation': ['spinning(top)', 'hot(stove)'],
    'no_relation': ['drawer_open', 'hot(stove)'],
    'too_few_arguments': ['in(bowl)', 'hot(stove)'],
    'empty_name': ['', 'hot(stove)'],
}


@pytest.mark.parametrize('command', ['score', 'pairs', 'calibrate', 'eval', 'bind'])
@pytest.mark.parametrize('name', ODD_TRUTHS)
def test_truths_without_wordings_are_named(
    command: str, name: str, tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    """What needs sentences for them says which; what does not goes on without them."""
    kind = TYPES['lb_ros/msg/PredicateTruth']
    values = np.array([True, False])
    sent = [
        replace(one, message=kind(one.message.header, ODD_TRUTHS[name], values))
        if one.topic == 'ground_truth/predicates'
        else one
        for one in good()
    ]
    bag, out = write(tmp_path / 'bag', sent), tmp_path / 'out'
    out.mkdir()
    ran = run(*COMMANDS[command](bag, out / 'made', tiny_model_set, two_predicates))
    said = re.escape(repr(ODD_TRUTHS[name][0]))
    if command in ('score', 'pairs'):
        check_usable(ran, *([f'fact {said} has no sentences'] if command == 'pairs' else []))
    else:
        check_refused(ran, said)


@pytest.mark.parametrize('command', ['score', 'pairs', 'eval'])
def test_a_truth_topic_of_another_type_is_skipped(
    command: str, tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    said = TYPES['std_msgs/msg/String']('the drawer is open')
    sent = [
        replace(one, message=said) if one.topic == 'ground_truth/predicates' else one
        for one in good()
    ]
    bag, out = write(tmp_path / 'bag', sent), tmp_path / 'out'
    out.mkdir()
    ran = run(*COMMANDS[command](bag, out / 'made', tiny_model_set, two_predicates))
    if command == 'score':
        check_usable(ran)
    else:
        check_refused(ran, 'std_msgs/msg/String holds no truths, expected lb_ros/msg/Predicate')


@pytest.mark.parametrize('content', ['', '[1]', 'relations: [1]', 'relations: {open: x}', '{[: '])
def test_wordings_that_are_no_wordings_are_named(bag: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / 'words.yaml'
    path.write_text(content)
    out, words = pairs(bag, tmp_path, 'a.csv', f'{HEAD}0,2,{SAID}\n', '--phrasings', str(path))
    check_refused(run(*words), r'words\.yaml', written=out)
