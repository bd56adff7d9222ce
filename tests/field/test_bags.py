"""Every container people bring, given to every command that reads bags."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders import Binder, load_predicates
from lb_ros.dashboard.recorded import load_bag
from lb_ros.dashboard.session import Session
from lb_ros.demo.run import DemoError, predicates_of
from tests.field.bags import good, write
from tests.field.cases import Case, Ran, check_refused, check_usable, run
from tests.field.commands import COMMANDS
from tests.field.containers import REFUSED, USABLE
from train.bags.reader import read_bag

# Those that have something to do with any good bag.
READING = ('score', 'index', 'pairs')


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize('case', REFUSED, ids=lambda case: case.name)
def test_an_unusable_bag_is_refused_in_one_line(
    case: Case, command: str, tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    bag, out = _made(case, tmp_path)
    ran = _ran(command, bag, out, tiny_model_set, two_predicates)
    check_refused(ran, *case.expects)
    left = [p.name for p in out.rglob('*') if p.is_file() and 'cache' not in p.parts]
    assert not left


@pytest.mark.parametrize('command', READING)
@pytest.mark.parametrize('case', USABLE, ids=lambda case: case.name)
def test_what_can_be_read_is_read(
    case: Case, command: str, tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    bag, out = _made(case, tmp_path)
    ran = _ran(command, bag, out, tiny_model_set, two_predicates)
    check_usable(ran, *case.expects)
    if command == 'score':
        windows = int(ran.out.split(' windows')[0].split()[-1])
        assert windows == 24 or case.name in (
            'lost_power',
            'one_part_missing',
            'one_part_unusable',
        )
        assert windows >= 12


@pytest.mark.parametrize('case', REFUSED, ids=lambda case: case.name)
def test_pages_and_the_demo_refuse_it_as_well(
    case: Case, tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    bag, _ = _made(case, tmp_path)
    binder = Binder.load(tiny_model_set, modalities=['image', 'depth'])
    for read in (
        lambda: predicates_of(bag, []),
        lambda: load_bag(Session('x', live=False), bag, binder, load_predicates(two_predicates)),
    ):
        with pytest.raises((DemoError, OSError, ValueError)) as caught:
            read()
        assert bag.name in str(caught.value)
        assert '\n' not in str(caught.value)


def test_one_bad_bag_costs_only_itself(
    tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    (tmp_path / 'bags').mkdir()
    USABLE[0].make(tmp_path / 'bags')
    (tmp_path / 'bags' / 'empty.mcap').touch()
    for command, made in (('score', 'whole/scores.parquet'), ('index', '')):
        out = tmp_path / command
        ran = _ran(command, tmp_path / 'bags', out, tiny_model_set, two_predicates)
        check_refused(ran, r'empty\.mcap: empty \(0 bytes\)')
        assert (out / made).exists()
    ran = _ran('pairs', tmp_path / 'bags', tmp_path / 'pairs', tiny_model_set, two_predicates)
    check_usable(ran, r'empty\.mcap: empty \(0 bytes\).*the bag is skipped')


def test_no_pairs_are_no_set(tmp_path: Path, tiny_model_set: Path, two_predicates: Path) -> None:
    bag = REFUSED[0].make(tmp_path)
    for _ in range(2):
        ran = _ran('pairs', bag, tmp_path / 'pairs', tiny_model_set, two_predicates)
        check_refused(ran, 'no pair could be made')
        assert 'already holds' not in ran.err


def _made(case: Case, folder: Path) -> tuple[Path, Path]:
    (folder / 'in').mkdir()
    return case.make(folder / 'in'), folder / 'out'


def _ran(command: str, bag: Path, out: Path, model: Path, predicates: Path) -> Ran:
    if command in ('calibrate', 'eval'):
        out.mkdir()
    return run(*COMMANDS[command](bag, out, model, predicates))


@pytest.mark.parametrize(
    'name', ['lost_power', 'messages_zstd_alone', 'file_zstd', 'one_part_missing', 'one_moment']
)
def test_timeline_and_copy_are_made_of_unusual_bags(
    name: str, tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    (tmp_path / 'in').mkdir()
    cases = {case.name: case for case in USABLE}
    cases['one_moment'] = Case(name, lambda folder: write(folder / 'one', good(1)))
    bag = cases[name].make(tmp_path / 'in')
    words = COMMANDS['score'](bag, tmp_path / 'out', tiny_model_set, two_predicates)
    words.remove('--no-timeline')
    check_usable(run(*words, '--mcap'), *cases[name].expects)
    (copy,) = (tmp_path / 'out').glob('*/scores.mcap')
    assert (copy.with_name('scores.png')).stat().st_size > 1000
    topics = {message.topic for message in read_bag(copy)}
    assert {'camera/image', 'depth/image', 'predicates/scores'} <= topics
