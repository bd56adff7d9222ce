"""Bags whose sensors, or whose recorder, are on other clocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.field.bags import START_NS, STEP_NS, Sent, good, header, write
from tests.field.cases import check_reported, check_usable, run
from train.bags.reader import BagReport, read_bag

COUNT = 12
LENGTH_S = (COUNT - 1) * STEP_NS * 1e-9
BOOT_NS = 12_000_000_000
SINCE_NS = START_NS - BOOT_NS


def restamped(one: Sent, by_ns: int) -> Sent:
    """The message with another stamp."""
    stamp = one.message.header.stamp
    moved = stamp.sec * 10**9 + stamp.nanosec + by_ns
    return replace(one, message=replace(one.message, header=header(moved)))


def unstamped(one: Sent) -> Sent:
    """The message with stamp 0."""
    return replace(one, message=replace(one.message, header=header(0)))


def relogged(one: Sent, log_ns: int) -> Sent:
    """The message with another time of recording."""
    return replace(one, log_ns=log_ns)


@dataclass(frozen=True, slots=True)
class Clock:
    """What becomes of message `k`, what is reported, and whether stamps stay as they are."""

    name: str
    change: Callable[[int, Sent], Sent]
    expects: tuple[str, ...] = ()
    kept: bool = False


def _is_depth(one: Sent) -> bool:
    return one.topic == 'depth/image'


CLOCKS = [
    Clock('as_usual', lambda k, one: one, kept=True),
    Clock('depth_since_boot', lambda k, one: restamped(one, -SINCE_NS) if _is_depth(one) else one,
          (r'topic depth/image: its stamps are 54 years behind the others .*as since boot',)),
    Clock('depth_in_local_time',
          lambda k, one: restamped(one, 7_200 * 10**9) if _is_depth(one) else one,
          (r'topic depth/image: its stamps are 2 hours ahead of the others',)),
    Clock('depth_unstamped', lambda k, one: unstamped(one) if _is_depth(one) else one, kept=True),
    Clock('simulated', lambda k, one: restamped(one, -SINCE_NS), kept=True),
    Clock('simulated_and_unstamped',
          lambda k, one: unstamped(one) if _is_depth(one) else restamped(one, -SINCE_NS)),
    Clock('simulated_and_one_not',
          lambda k, one: one if _is_depth(one) else restamped(one, -SINCE_NS),
          (r'topic depth/image: its stamps are 54 years ahead of the others',)),
    Clock('depth_set_on_the_way',
          lambda k, one: restamped(one, -SINCE_NS) if _is_depth(one) and k < 5 else one,
          (r'topic depth/image: its stamps are 54 years behind the others',)),
    Clock('log_from_0', lambda k, one: relogged(one, one.log_ns - START_NS), kept=True),
    Clock('first_log_at_0', lambda k, one: relogged(one, 0) if k == 0 else one, kept=True),
]  # fmt: skip


def made(clock: Clock, folder: Path) -> Path:
    """A bag in which a clock is as it says."""
    sent = [clock.change(k // 3, one) for k, one in enumerate(good(COUNT))]
    return write(folder / 'bag', sent)


@pytest.mark.parametrize('clock', CLOCKS, ids=lambda clock: clock.name)
def test_all_stamps_are_on_one_clock(clock: Clock, tmp_path: Path) -> None:
    report = BagReport(tmp_path / 'bag')
    found = list(read_bag(made(clock, tmp_path), report=report))
    stamps = [message.stamp_ns for message in found]
    assert (max(stamps) - min(stamps)) * 1e-9 == pytest.approx(LENGTH_S, abs=0.01)
    for topic in ('camera/image', 'depth/image', 'ground_truth/predicates'):
        own = [message.stamp_ns for message in found if message.topic == topic]
        assert [b - a for a, b in pairwise(own)] == [STEP_NS] * (COUNT - 1)
    assert any(message.is_aligned for message in found) is not clock.kept
    assert len(report.problems) == len(clock.expects)


@pytest.mark.parametrize('clock', CLOCKS, ids=lambda clock: clock.name)
def test_commands_name_the_clock_and_take_no_decades(
    clock: Clock, tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    bag = made(clock, tmp_path)
    ran = run('score', bag, '--model', tiny_model_set, '--predicates', two_predicates, '--json',
              '-o', tmp_path / 'out', '--no-timeline', '--modality', 'image,depth',
              '--precision', 'fp32', '--threads', '1')  # fmt: skip
    check_usable(ran, *clock.expects)
    assert json.loads(ran.out)[0]['seconds'] == pytest.approx(LENGTH_S, abs=0.01)
    assert '1700000' not in ran.err
    ran = run('train', 'pairs', '--data', bag, '--out', tmp_path / 'pairs', '--every', '0.5',
              '--modalities', 'depth', '--json')  # fmt: skip
    check_usable(ran, *clock.expects)
    assert json.loads(ran.out)['pairs'] >= 4


def test_a_clock_that_is_set_while_it_records_is_a_jump(
    tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    """Of all sensors and the recorder: the hours in between did not pass."""
    sent = good(COUNT)
    early = [relogged(restamped(one, -SINCE_NS), one.log_ns - SINCE_NS) for one in sent[:18]]
    bag = write(tmp_path / 'bag', [*early, *sent[18:]])
    ran = run('score', bag, '--model', tiny_model_set, '--predicates', two_predicates, '--json',
              '-o', tmp_path / 'out', '--no-timeline', '--modality', 'image,depth',
              '--precision', 'fp32', '--threads', '1')  # fmt: skip
    check_usable(ran)
    assert LENGTH_S - 1 < json.loads(ran.out)[0]['seconds'] < LENGTH_S + 3  # evidence grows old
    ran = run('train', 'pairs', '--data', bag, '--out', tmp_path / 'pairs', '--every', '0.5',
              '--modalities', 'depth', '--json')  # fmt: skip
    check_reported(ran, (r'time jumps by \+169',))
