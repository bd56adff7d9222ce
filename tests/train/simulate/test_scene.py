"""A real LIBERO scene: truth follows from its state, and its sensors show that state."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from train.simulate.camera import INFRARED_SIZE, REGION_SIZE, SIZE, Camera
from train.simulate.scene import CAMERA, Scene, Thing, Vector, list_scenes
from train.simulate.shots import arrange, shots, shut_sounds, spot_at
from train.simulate.truth import (
    CLOSED_BELOW,
    COLD_BELOW_K,
    EVENT_WINDOW_S,
    HOT_ABOVE_K,
    evaluate,
)
from train.simulate.world import AMBIENT_K, PLATE_ON_K, Heat, World

pytestmark = pytest.mark.sim

DRAWERS = ('top drawer', 'middle drawer', 'bottom drawer')


@pytest.fixture(scope='module')
def scene() -> Scene:
    """A cabinet with three drawers, a stove, a wine rack, a bowl, a plate and a bottle."""
    return Scene(list_scenes('libero_goal')[0])


@pytest.fixture
def world(scene: Scene) -> World:
    scene.reset(seed=1)
    return World(scene, np.random.default_rng(1))


@pytest.fixture(scope='module')
def camera(scene: Scene) -> Iterator[Camera]:
    camera = Camera(scene)
    yield camera
    camera.close()


def thing(world: World, noun: str) -> Thing:
    return next(t for t in world.scene.things if t.noun == noun)


def above_table(world: World, height_m: float) -> Vector:
    return np.array([*world.scene.centre, world.scene.table_z_m + height_m])


def pixel_of(world: World, camera: Camera, point: Vector) -> Vector:
    """Row and column at which a point is seen."""
    data, index = world.scene.data, world.scene.model.camera(CAMERA).id
    ahead = data.cam_xmat[index].reshape(3, 3).T @ (point - data.cam_xpos[index])
    return SIZE / 2 + camera.focal_px * np.array([-ahead[1], ahead[0]]) / -ahead[2]


def put(world: World, noun: str, place_noun: str) -> None:
    place = next(p for p in world.scene.places if p.noun == place_noun)
    world.place(thing(world, noun), spot_at(world, place, thing(world, noun)))
    world.settle(0.5)


def refresh(world: World) -> None:
    world.settle(0.02)


def test_a_tidy_scene_is_closed_cold_and_empty_handed(world: World) -> None:
    truth = evaluate(world)
    assert not any(truth.values())
    assert {f'open({name})' for name in (*DRAWERS, 'drawer')} <= set(truth)
    assert {
        'turned on(stove)',
        'hot(stove)',
        'holding(something)',
        'lifted(something)',
        'dropped(something)',
        'shut(drawer)',
        'contact(gripper, plate)',
        'in(black bowl, top drawer)',
        'on(black bowl, plate)',
    } <= set(truth)


def test_nothing_is_on_itself(world: World) -> None:
    assert 'on(plate, plate)' not in evaluate(world)


@pytest.mark.parametrize('name', DRAWERS)
def test_an_open_drawer_opens_only_itself(world: World, name: str) -> None:
    world.set_joint(world.scene.joints[name], 1.0)
    refresh(world)
    truth = evaluate(world)
    assert truth['open(drawer)']
    assert [other for other in DRAWERS if truth[f'open({other})']] == [name]


def test_a_drawer_ajar_is_neither_open_nor_closed(world: World) -> None:
    world.set_joint(world.scene.joints['top drawer'], 2 * CLOSED_BELOW)
    refresh(world)
    truth = evaluate(world)
    assert 'open(top drawer)' not in truth
    assert 'open(drawer)' not in truth
    assert truth['open(middle drawer)'] is False


def test_one_open_drawer_makes_any_drawer_open_though_another_is_ajar(world: World) -> None:
    world.set_joint(world.scene.joints['top drawer'], 2 * CLOSED_BELOW)
    world.set_joint(world.scene.joints['bottom drawer'], 1.0)
    refresh(world)
    assert evaluate(world)['open(drawer)'] is True


@pytest.mark.parametrize('is_on', [True, False])
@pytest.mark.parametrize('plate_k', [HOT_ABOVE_K + 1, COLD_BELOW_K - 1])
def test_the_switch_and_the_heat_of_the_stove_are_two_things(
    world: World, is_on: bool, plate_k: float
) -> None:
    world.set_joint(world.scene.joints['stove'], float(is_on))
    refresh(world)
    world.heat = Heat(plate_k, plate_k)
    truth = evaluate(world)
    assert truth['turned on(stove)'] is is_on
    assert truth['hot(stove)'] is (plate_k > HOT_ABOVE_K)


def test_a_lukewarm_stove_is_neither_hot_nor_cold(world: World) -> None:
    world.heat = Heat((HOT_ABOVE_K + COLD_BELOW_K) / 2)
    assert 'hot(stove)' not in evaluate(world)


def after_s(heat: Heat, seconds: float, *, is_on: bool) -> None:
    for _ in range(round(seconds / 0.1)):
        heat.step(is_on, 0.1)


def test_a_stove_heats_up_while_on_and_cools_down_slower() -> None:
    heat = Heat()
    after_s(heat, 1.0, is_on=True)
    assert AMBIENT_K < heat.plate_k < COLD_BELOW_K < heat.coil_k
    after_s(heat, 60.0, is_on=True)
    assert heat.plate_k == pytest.approx(PLATE_ON_K, abs=1.0)
    after_s(heat, 1.0, is_on=False)
    assert heat.plate_k > HOT_ABOVE_K
    after_s(heat, 200.0, is_on=False)
    assert (heat.plate_k, heat.coil_k) == pytest.approx((AMBIENT_K, AMBIENT_K), abs=1.0)


def test_a_thing_on_the_plate_is_there_and_nowhere_else(world: World) -> None:
    put(world, 'black bowl', 'plate')
    truth = evaluate(world)
    where = [p for p, value in truth.items() if value and p.startswith(('in(', 'on('))]
    assert where == ['on(black bowl, plate)']


def test_a_thing_in_an_open_drawer_stays_there_when_it_is_closed(world: World) -> None:
    drawer = world.scene.joints['top drawer']
    world.set_joint(drawer, 1.0)
    refresh(world)
    put(world, 'cream cheese', 'top drawer')
    assert evaluate(world)['in(cream cheese, top drawer)'] is True
    assert evaluate(world)['in(black bowl, top drawer)'] is False
    world.step(1.0, slide=(drawer, 0.0))
    truth = evaluate(world)
    assert truth['in(cream cheese, top drawer)'] is True
    assert truth['open(top drawer)'] is False


def test_a_held_thing_is_held_touched_and_lifted_by_its_height(world: World) -> None:
    bowl = thing(world, 'black bowl')
    world.attach(bowl)
    world.set_arm(world.solve_arm(above_table(world, 0.3)))
    truth = evaluate(world)
    assert [p for p, value in truth.items() if value] == [
        'holding(something)',
        'lifted(something)',
        'holding(black bowl)',
        'lifted(black bowl)',
        'contact(gripper, black bowl)',
    ]
    low_m = world.held.offset[2] * -1 - bowl.bottom_m + 0.01 if world.held else 0.0
    world.set_arm(world.solve_arm(above_table(world, low_m)))
    truth = evaluate(world)
    assert truth['holding(black bowl)'] is True
    assert truth['lifted(black bowl)'] is truth['lifted(something)'] is False


def test_a_carried_thing_follows_the_gripper(world: World) -> None:
    plate = thing(world, 'plate')
    world.attach(plate)
    before = world.scene.data.xpos[plate.body] - world.grip
    world.step(0.5, arm=world.solve_arm(above_table(world, 0.35)))
    after = world.scene.data.xpos[plate.body] - world.grip
    assert after == pytest.approx(before, abs=1e-6)


def test_the_arm_reaches_where_it_is_sent(world: World) -> None:
    goal = above_table(world, 0.25) + np.array([0.05, -0.1, 0.0])
    world.set_arm(world.solve_arm(goal))
    assert world.grip == pytest.approx(goal, abs=0.01)


def drop_from(world: World, height_m: float) -> None:
    bowl = thing(world, 'black bowl')
    world.attach(bowl)
    clear = above_table(world, height_m - bowl.bottom_m + bowl.top_m)
    world.set_arm(world.solve_arm(clear + np.array([0.05, 0.15, 0.0])))
    world.release()


@pytest.mark.parametrize('height_m', [0.1, 0.2, 0.3])
def test_a_drop_is_heard_when_it_lands_and_true_for_two_seconds(
    world: World, height_m: float
) -> None:
    drop_from(world, height_m)
    released_s = world.now_s
    world.step(1.0)
    ((event, at_s),) = world.events
    assert event == 'dropped(something)'
    fall_s = at_s - released_s
    assert 0.1 < fall_s < 0.5
    impacts = [s.at_s for s in world.sounds if s.kind == 'impact']
    assert impacts[0] == at_s
    assert impacts == sorted(impacts)
    truth = evaluate(world)
    assert truth['dropped(something)'] is True
    assert truth['holding(something)'] is truth['shut(drawer)'] is False
    world.now_s = at_s + EVENT_WINDOW_S - 0.01
    assert evaluate(world)['dropped(something)'] is True
    world.now_s = at_s + EVENT_WINDOW_S + 0.01
    assert evaluate(world)['dropped(something)'] is False


def test_putting_a_thing_down_is_no_drop(world: World) -> None:
    drop_from(world, 0.005)
    world.step(1.0)
    assert not world.events
    assert evaluate(world)['dropped(something)'] is False


def test_a_shut_is_true_from_the_thud_on(world: World) -> None:
    shut_sounds(world, world.scene.joints['top drawer'], 3.0, 0.5)
    slide, thud = world.sounds
    assert (slide.kind, slide.at_s + slide.duration_s) == ('slide', pytest.approx(3.0))
    assert (thud.kind, thud.at_s) == ('thud', 3.0)
    for now_s, expected in ((2.9, False), (3.0, True), (4.9, True), (5.0, False)):
        world.now_s = now_s
        assert evaluate(world)['shut(drawer)'] is expected
        assert evaluate(world)['dropped(something)'] is False


def test_settling_takes_no_time_and_makes_no_event(world: World) -> None:
    drop_from(world, 0.25)
    world.settle(1.0)
    assert world.now_s == 0.0
    assert not world.events
    assert not world.sounds
    assert not world.scene.data.qvel.any()


def test_arrangements_take_both_sides_of_common_predicates(world: World) -> None:
    seen: dict[str, set[bool]] = {}
    for _ in range(30):
        arrange(world)
        for predicate, value in evaluate(world).items():
            seen.setdefault(predicate, set()).add(value)
    for predicate in (
        'open(drawer)',
        'turned on(stove)',
        'hot(stove)',
        'holding(something)',
        'lifted(something)',
    ):
        assert seen[predicate] == {True, False}, predicate


def test_sounds_of_a_shot_belong_to_its_events(world: World) -> None:
    kinds = {'dropped(something)': 'impact', 'shut(drawer)': 'thud'}
    for index, _ in enumerate(shots(world, 12)):
        for event, at_s in world.events:
            assert 2.0 * index <= at_s <= 2.0 * (index + 1) == pytest.approx(world.now_s)
            assert any(s.kind == kinds[event] and s.at_s == at_s for s in world.sounds)
            assert evaluate(world)[event] is True


def test_a_look_gives_three_pictures_of_one_view(world: World, camera: Camera) -> None:
    frame = camera.look(world, np.random.default_rng(0))
    assert (frame.rgb.shape, frame.rgb.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert (frame.depth_mm.shape, frame.depth_mm.dtype) == ((SIZE, SIZE), np.uint16)
    assert (frame.infrared.shape, frame.infrared.dtype) == (
        (INFRARED_SIZE, INFRARED_SIZE),
        np.uint16,
    )
    valid = frame.depth_mm[frame.depth_mm > 0]
    assert 0.9 < valid.size / frame.depth_mm.size < 1.0
    assert 300 < valid.min() < valid.max() < 6000
    assert frame.rgb.std() > 20
    assert 285 < np.median(frame.infrared) / 100 < 300


def test_only_a_hot_stove_glows_in_the_infrared(world: World, camera: Camera) -> None:
    world.set_arm(world.solve_arm(above_table(world, 0.3)))
    cold = camera.look(world, np.random.default_rng(0)).infrared
    world.heat = Heat(PLATE_ON_K, PLATE_ON_K)
    hot = camera.look(world, np.random.default_rng(0)).infrared
    warmer = hot.astype(int) - cold
    assert cold.max() / 100 < 310
    assert hot.max() / 100 > 400
    assert 0.001 < (warmer > 3000).mean() < 0.05


def test_an_open_drawer_shows_in_the_depth(world: World, camera: Camera) -> None:
    closed = camera.look(world, np.random.default_rng(0)).depth_mm
    world.set_joint(world.scene.joints['top drawer'], 1.0)
    refresh(world)
    opened = camera.look(world, np.random.default_rng(0)).depth_mm
    both = (closed > 0) & (opened > 0)
    moved = np.abs(closed.astype(int) - opened)[both] > 30
    assert moved.mean() > 0.01


def test_a_look_depends_only_on_the_world_and_its_noise(world: World, camera: Camera) -> None:
    first, again, other = (camera.look(world, np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.depth_mm, again.depth_mm)
    assert np.array_equal(first.infrared, again.infrared)
    assert not np.array_equal(first.depth_mm, other.depth_mm)


def test_a_frame_names_what_it_shows(world: World, camera: Camera) -> None:
    bowl = thing(world, 'black bowl')
    for shift_m in (-0.05, 0.05):
        world.place(bowl, above_table(world, 0.0) + np.array([shift_m, 0.0, 0.0]))
        world.settle(0.1)
        frame = camera.look(world, world.rng)
        assert {'black bowl', 'plate', 'top drawer', 'stove'} <= set(camera.region_names)
        shown = frame.regions == 1 + camera.region_names.index('black bowl')
        assert 4 <= shown.sum() <= 400
        middle = np.array(world.scene.data.xpos[bowl.body]) + np.array([0.0, 0.0, 0.03])
        cell = pixel_of(world, camera, middle) * REGION_SIZE / SIZE
        np.testing.assert_allclose(np.argwhere(shown).mean(0), cell, atol=2.5)


def test_free_spots_and_the_grip_lie_within_the_picture(world: World) -> None:
    for _ in shots(world, 5):
        assert world.scene.sees(world.grip)
    behind = np.array([*world.scene.centre, world.scene.table_z_m]) + np.array([9.0, 0.0, 0.0])
    assert not world.scene.sees(behind)
