"""Bundled bags: found by name, small, and played with the sensors that a model set can encode."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from encoders import Binder
from lb_ros.demo.arguments import BUNDLED, bag
from lb_ros.demo.run import DemoError, modalities_of, predicates_of
from tests.series_sets import write_series_set
from tests.train.series_bags import SeriesBag, random_facts
from train.bags.folder import read_marks

MAX_CONTACT_BYTES = 5_000_000


def test_bundled_bags_are_found_by_name() -> None:
    for name in BUNDLED:
        assert (bag(name) / 'metadata.yaml').is_file()
    with pytest.raises(argparse.ArgumentTypeError, match='no such'):
        bag('garage')


def test_the_contact_bag_is_small_and_not_of_the_evaluation_split() -> None:
    path = bag('contact')
    assert sum(file.stat().st_size for file in path.iterdir()) <= MAX_CONTACT_BYTES
    assert read_marks(path)['split'] != 'evaluation'
    predicates, problems = predicates_of(path, [])
    assert problems == []
    assert {'inserted(peg)', 'contact(tool, something)'} <= {p.name for p in predicates}


def test_sensors_of_the_bag_run_that_the_set_can_encode(tmp_path: Path) -> None:
    binder = Binder.load(write_series_set(tmp_path / 'set'))
    modalities, problems = modalities_of(bag('contact'), binder)
    assert modalities == ('depth', 'wrench', 'joints', 'imu')
    missing = {line.split(' has no encoder of ')[1].split(';')[0] for line in problems}
    assert missing == {'image', 'audio', 'touch'}
    felt = SeriesBag().write(tmp_path / 'felt', random_facts(1, seed=0), skip=['imu', 'joints'])
    assert modalities_of(felt, binder) == (('wrench',), [])
    with pytest.raises(DemoError, match=r'encodes none of its sensors \(wrench\), only depth'):
        modalities_of(felt, Binder.load(tmp_path / 'set', modalities=['depth']))
