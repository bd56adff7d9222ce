"""Recipe files are checked before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.training.readout_recipe import load_readout_recipe
from train.training.recipe import RecipeError, load_recipe

RECIPES = Path(__file__).resolve().parents[3] / 'config' / 'recipes'
BIND = sorted(p for p in RECIPES.glob('*.yaml') if '\ntrainable:' in p.read_text())
READOUT = sorted(p for p in RECIPES.glob('*.yaml') if '\ntoken_dropout:' in p.read_text())


@pytest.mark.parametrize('path', BIND, ids=lambda path: path.name)
def test_recipes_of_the_repository_load_and_say_how_to_run_them(path: Path) -> None:
    recipe = load_recipe(path)
    assert f'lb-ros train bind --config config/recipes/{path.name}' in path.read_text()
    manifest = recipe.manifest(space='minilm:0', provenance={})
    assert set(manifest.modalities) == set(recipe.batch)


@pytest.mark.parametrize('name', ['lb-mini', 'lb-mini-infrared', 'lb-mini-contact'])
def test_recipes_of_lb_mini_run_in_the_format_that_the_processor_is_fast_at(name: str) -> None:
    assert load_recipe(RECIPES / f'{name}.yaml').precision == 'auto'


@pytest.mark.parametrize('path', READOUT, ids=lambda path: path.name)
def test_recipes_of_readouts_load_and_say_how_to_run_them(path: Path) -> None:
    recipe = load_readout_recipe(path)
    assert f'lb-ros train readout --config config/recipes/{path.name}' in path.read_text()
    assert set(recipe.attention_weight) | set(recipe.relations) <= set(recipe.modalities)
    with pytest.raises(RecipeError, match='a recipe of lb-ros train readout'):
        load_recipe(path)


@pytest.mark.parametrize(
    ('old', 'new', 'said'),
    [
        ('heads: 4 ', 'heads: 5 ', 'must divide the width'),
        ('heads: 4 ', 'heads: 1 ', 'heads'),
        ('token_dropout: 0.15', 'token_dropout: 1.0', 'token_dropout'),
        ('sentences: 30', 'sentences: 7', 'sentences'),
        ('modalities: [image,', 'modalities: [smell,', 'smell'),
        ('attention_weight: {image', 'attention_weight: {smell', 'smell'),
        ('facts: 24', 'fakts: 24', "did you mean 'facts'"),
        ('unfreeze_blocks: 0', 'unfreeze_blocks: -1', 'unfreeze_blocks must be'),
        ('blocks_learning_rate: 1.0e-4', 'blocks_learning_rate: 0', 'blocks_learning_rate'),
    ],
)
def test_a_faulty_recipe_of_readouts_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = (RECIPES / 'lb-mini-readout.yaml').read_text()
    assert old in text
    path = tmp_path / 'faulty.yaml'
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RecipeError, match=said):
        load_readout_recipe(path)


def test_blocks_learn_only_while_vectors_are_kept(tmp_path: Path) -> None:
    text = (RECIPES / 'lb-mini-readout.yaml').read_text()
    free = text.replace('keep_weight: 1.0 ', 'keep_weight: 0.0 ')
    path = tmp_path / 'free.yaml'
    path.write_text(free)
    assert load_readout_recipe(path).keep_weight == 0
    path.write_text(free.replace('unfreeze_blocks: 0', 'unfreeze_blocks: 2'))
    said = 'keep_weight must be more than 0 with unfreeze_blocks 2, not 0.0: .*set it to 1.0'
    with pytest.raises(RecipeError, match=said):
        load_readout_recipe(path)
    # Recipes of earlier versions have none of the keys.
    names = ('unfreeze_blocks', 'blocks_learning_rate', 'keep_weight')
    lines = [line for line in text.splitlines() if line.split(':')[0] not in names]
    path.write_text('\n'.join(lines))
    assert load_readout_recipe(path) == load_readout_recipe(RECIPES / 'lb-mini-readout.yaml')


@pytest.mark.parametrize(
    ('old', 'new', 'said'),
    [
        ('seed: 0', 'seed: 0\nlerning_rate: 1.0', "unknown key 'lerning_rate'"),
        ('seed: 0', '', "missing key 'seed'"),
        ('trainable: all', 'trainable: some', 'trainable'),
        ('trainable: all', 'trainable: lora', 'start'),
        ('image: 16, ', '', 'batch'),
        ('patch_dropout: 0.2', 'patch_dropout: 1.0', 'patch_dropout'),
        ('ema: 0.95', 'ema: 1.0', 'ema'),
        ('max_steps: 120', 'max_steps: 0', 'max_steps'),
        ('  infrared: *all', '', 'relations must name the modalities'),
        ('image: &all {open: 1.0', 'image: &all {on: 1.0', 'quote `on`'),
        ('learning_rate: 3.0e-3', 'learning_rate: 0.0', 'learning_rate'),
        ('region_weight: {}', 'region_weight: {smell: 1.0}', 'region_weight'),
        ('region_weight: {}', 'region_weight: {image: 1.0}', 'patch_dropout 0'),
        ('precision: fp32', 'precision: int8', 'precision'),
        ('heads: 2', 'heads: 5', 'heads'),
        ('heads: 2', 'heads: 2, deads: 3', 'deads'),
        ('image: {size: 32}', 'image: {sise: 32}', 'sise'),
        ('  depth: {size: 32}', '  smell: {size: 32}', 'smell'),
    ],
)
def test_a_faulty_recipe_is_refused_by_file_and_key(
    recipe_file: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = recipe_file.read_text()
    assert old in text
    path = tmp_path / 'faulty.yaml'
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RecipeError, match=said) as raised:
        load_recipe(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize('text', ['', '- a list', 'name: [unclosed'])
def test_a_recipe_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'faulty.yaml'
    path.write_text(text)
    with pytest.raises(RecipeError, match=r'faulty\.yaml'):
        load_recipe(path)


def test_all_errors_are_reported_together_with_line_and_remedy(
    recipe_file: Path, tmp_path: Path
) -> None:
    text = recipe_file.read_text()
    for old, new in (('heads: 2', 'heds: 2'), ('ema: 0.95', 'ema: 1.5'), ('seed: 0', 'sed: 0')):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / 'faulty.yaml'
    path.write_text(text)
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    numbers = {line.split(':')[0]: number for number, line in enumerate(text.splitlines(), 1)}
    assert set(str(raised.value).splitlines()) == {
        f"{path}:{numbers['vit']}: missing key 'vit.heads'",
        f"{path}:{numbers['vit']}: unknown key 'vit.heds', did you mean 'heads'?",
        f'{path}:{numbers["ema"]}: ema must be less than 1, not 1.5',
        f"{path}:2: missing key 'seed'",
        f"{path}:{numbers['sed']}: unknown key 'sed', did you mean 'seed'?",
    }
