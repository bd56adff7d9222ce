"""Scenes with exchanged objects."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.simulate.objects import INSTRUCTION, OBJECTS, exchange_objects
from train.simulate.scene import Scene, list_scenes, with_other_objects
from train.simulate.suites import TRAINING_SUITES

pytestmark = pytest.mark.sim

SCENES = {s.scene: s for suite in TRAINING_SUITES for s in list_scenes(suite)}


def kinds(bddl: str) -> list[str]:
    block = re.search(r'\(:objects(.*?)\)', bddl, re.S)
    assert block is not None
    return re.findall(r' - (\w+)', block.group(1))


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(SCENES)), seed=st.integers(0, 10_000))
def test_objects_change_furniture_stays_and_every_instance_is_still_placed(
    name: str, seed: int
) -> None:
    before = SCENES[name].bddl.read_text()
    after = exchange_objects(before, seed=seed)
    assert after == exchange_objects(before, seed=seed)
    assert len(set(kinds(after))) == len(kinds(after)) == len(kinds(before))
    for old, new in zip(kinds(before), kinds(after), strict=True):
        assert old == new or (old in OBJECTS and new in OBJECTS)
    instances = set(re.findall(r'\b([a-z_0-9]+_\d+)\b(?= )', after.split('(:objects')[1]))
    assert all(f'(On {i} ' in after or f'(In {i} ' in after for i in instances if ' - ' in i)
    assert f'(:language {INSTRUCTION})' in after


def test_a_scene_with_other_objects_can_be_built() -> None:
    task = with_other_objects(SCENES['KITCHEN_SCENE10'], 3)
    scene = Scene(task)
    assert set(scene.joints) == {'top drawer', 'middle drawer', 'bottom drawer'}
    assert task.language == INSTRUCTION
    assert {t.noun for t in scene.things} != {'black bowl', 'butter', 'chocolate pudding'}
