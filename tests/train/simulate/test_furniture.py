"""Scenes with other furniture."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.simulate.furniture import CONTAINERS, FIXTURES, NEVER, PLACES, furnish
from train.simulate.objects import INSTRUCTION, OBJECTS
from train.simulate.scene import Scene, list_scenes, with_other_furniture
from train.simulate.shots import shots
from train.simulate.truth import evaluate
from train.simulate.world import World

pytestmark = pytest.mark.sim

SCENES = {s.scene: s for suite in ('libero_90', 'libero_spatial') for s in list_scenes(suite)}


def kinds(bddl: str, block: str) -> list[str]:
    found = re.search(rf'\(:{block}(.*?)\n  \)', bddl, re.S)
    assert found is not None
    return re.findall(r' - (\w+)', found.group(1))


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(SCENES)), seed=st.integers(0, 100_000))
def test_a_table_gets_furniture_with_places_and_objects(name: str, seed: int) -> None:
    before = SCENES[name].bddl.read_text()
    after = furnish(before, seed=seed)
    assert after == furnish(before, seed=seed)
    assert f'(:language {INSTRUCTION})' in after
    table, *fixtures = kinds(after, 'fixtures')
    assert f' - {table}\n' in before
    free = kinds(after, 'objects')
    pieces = {*fixtures, *(kind for kind in free if kind in CONTAINERS)}
    assert 2 <= len(pieces) <= 3
    assert set(fixtures) <= set(FIXTURES)
    assert {kind for kind in free if kind not in CONTAINERS} <= set(OBJECTS)
    assert not any(pieces >= together for together in NEVER)
    for kind in (*fixtures, *free):
        assert after.count(f'(On {kind}_1 ') >= 1
        for place in PLACES.get(kind, ()):
            assert f'({place} (:target {kind}_1))' in after


def test_every_kind_of_furniture_is_drawn() -> None:
    before = SCENES['STUDY_SCENE2'].bddl.read_text()
    drawn = {
        kind
        for seed in range(60)
        for block in ('fixtures', 'objects')
        for kind in kinds(furnish(before, seed=seed), block)
    }
    assert set(PLACES) <= drawn


def test_things_come_to_rest_on_drawn_furniture() -> None:
    scene = Scene(with_other_furniture(SCENES['KITCHEN_SCENE5'], 3))
    assert {'wine_rack_1', 'wooden_cabinet_1'} <= set(scene.fixture_bodies())
    world = World(scene, np.random.default_rng(0))
    found = [{name for name, holds in evaluate(world).items() if holds} for _ in shots(world, 30)]
    held = set().union(*found)
    assert any(name.endswith(', wine rack)') for name in held)
    assert any(name.endswith(', wooden cabinet)') for name in held)
