"""A few bags, in which some sensor has nothing to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from encoders import Binder
from tests.field.cases import Ran, check_refused, check_usable, run
from tests.train.conftest import RECIPE, DrawnBag, Moments, random_moments

STEPS = 3
NOTHING = 'no predicate of the recipe is both true and false'


def bound(folder: Path, moments: Sequence[Moments], *, skip: Sequence[str] = ()) -> Ran:
    """Train on a bag per list of moments."""
    for number, each in enumerate(moments):
        DrawnBag().write(folder / 'bags' / f'bag{number}', each, skip=skip, seed=number)
    recipe = folder / 'recipe.yaml'
    recipe.write_text(RECIPE.replace('max_steps: 120', f'max_steps: {STEPS}'))
    place = ['--data', folder / 'bags', '--out', folder / 'out', '--cache', folder / 'cache']
    return run('train', 'bind', '--config', recipe, *place, '--workers', '1', '--threads', '1')


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / 'bags').mkdir()


def test_a_sensor_that_was_not_recorded_is_left_out(tmp_path: Path) -> None:
    ran = bound(tmp_path, [random_moments(8, seed=k) for k in range(2)],
                skip=['/microphone/audio'])  # fmt: skip
    check_usable(ran, f'drawn: without audio: {NOTHING}')
    binder = Binder.load(tmp_path / 'out' / 'drawn')
    assert set(binder.modalities) == {'image', 'depth', 'infrared'}


def test_facts_that_never_change_teach_nothing(tmp_path: Path) -> None:
    ran = bound(tmp_path, [[{'open(top drawer)': True, 'hot(stove)': False}] * 6])
    check_refused(ran, f'image, depth, infrared, audio: {NOTHING}', written=tmp_path / 'out')


def test_few_bags_with_one_usable_fact_train(tmp_path: Path) -> None:
    """Batches in which nothing is known of a sensor by chance do not stop the run."""
    moments = [{'open(top drawer)': k % 2 == 0, 'hot(stove)': False} for k in range(3)]
    check_usable(bound(tmp_path, [moments]))


def test_contrast_names_the_sensor_without_pairs(tmp_path: Path, tiny_model_set: Path) -> None:
    DrawnBag().write(tmp_path / 'bags' / 'a', random_moments(4, seed=0), skip=['/depth/image'])
    recipe = Path(__file__).resolve().parents[2] / 'config/recipes/languagebind-depth.yaml'
    ran = run('train', 'contrast', '--config', recipe, '--data', tmp_path / 'bags',
              '--start', tiny_model_set, '--out', tmp_path / 'out', '--threads', '1')  # fmt: skip
    check_refused(ran, 'depth', written=tmp_path / 'out')
