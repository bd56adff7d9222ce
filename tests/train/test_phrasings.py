"""Wordings of facts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from encoders.predicates.wording import is_denied
from train.phrasings import Fact, Phrasings, Wording, relation_of
from train.training.recipe import load_recipe
from train.transformations import HELD_OUT, fact_texts

FILES = ('trained', 'unseen', 'check')
RECIPES = Path(__file__).resolve().parents[2] / 'config' / 'recipes'
# The others are of `lb-ros train contrast` and `lb-ros train readout`.
OTHERS = re.compile('^(?:tuning|token_dropout):', re.M)
BIND = sorted(p for p in RECIPES.glob('*.yaml') if not OTHERS.search(p.read_text()))


def all_patterns(phrasings: Phrasings) -> set[str]:
    found: set[str] = set()

    def collect(wording: Wording) -> None:
        found.update(' '.join(p.lower().split()) for p in (*wording.positive, *wording.negative))
        for extra in wording.kinds.values():
            collect(extra)

    for wording in phrasings.relations.values():
        collect(wording)
    return found


def test_no_wording_is_in_two_of_the_files() -> None:
    trained, unseen, check = (all_patterns(Phrasings.load(name)) for name in FILES)
    assert trained & unseen == trained & check == unseen & check == set()
    assert len(trained) > 300
    assert len(unseen) > 50
    assert len(check) > 150


def test_the_check_set_has_other_names_of_things() -> None:
    trained, check = (Phrasings.load(name).objects for name in ('trained', 'check'))
    known = {other for name, others in trained.items() for other in (name, *others)}
    assert set(check) == set(trained)
    assert not known & {other for others in check.values() for other in others}


def test_training_text_has_no_sentence_of_the_check_set() -> None:
    trained, check = Phrasings.load('trained'), Phrasings.load('check')
    for relation in check.relations:
        bare = relation.removesuffix(' something')
        arguments = 'something' if bare != relation else 'top drawer, wooden cabinet'
        told = check.sentences(f'{bare}({arguments})')
        text = fact_texts(f'{bare}({arguments})', trained, sentences=2000)
        assert not {*told.positive, *told.negative} & set(text.texts)


def test_the_check_set_denies_what_training_never_denies() -> None:
    told = [p.format(x='drawer', y='cabinet') for p in all_patterns(Phrasings.load('check'))]
    text = ' '.join(filter(is_denied, told))
    for word in HELD_OUT:
        assert re.search(rf'\b{word.rstrip("s")}', text), word


@pytest.mark.parametrize('name', FILES)
def test_no_sentence_says_both_that_a_fact_holds_and_that_it_does_not(name: str) -> None:
    phrasings = Phrasings.load(name)
    for predicate in ('open(top drawer)', 'in(black bowl, top drawer)', 'holding(something)'):
        sentences = phrasings.sentences(predicate, synonyms=2)
        assert not set(sentences.positive) & set(sentences.negative)


@pytest.mark.parametrize('name', FILES)
def test_every_relation_that_a_recipe_learns_has_wordings(name: str) -> None:
    phrasings = Phrasings.load(name)
    for path in BIND:
        recipe = load_recipe(path)
        if 'signals' in recipe.modalities:  # of recordings, whose mapping has its own wordings
            continue
        shares = recipe.relations.values()
        for relation in {name for names in shares for name in names}:
            predicate = relation.removesuffix(' something') + '(something)'
            assert phrasings.knows(predicate), (path, relation)


def test_slots_are_filled_with_correct_articles() -> None:
    phrasings = Phrasings(
        relations={'in': Wording(('a {x} is in a {y}',), ('no {x} here',))}, objects={}
    )
    sentences = phrasings.sentences('in(apple, basket)')
    assert sentences.positive == ('an apple is in a basket',)
    assert sentences.negative == ('no apple here',)


def test_kinds_add_wordings_only_for_their_things() -> None:
    drawer = Wording(('the {x} is pulled out',), ('the {x} is pushed in',))
    opened = Wording(('the {x} is open',), ('the {x} is closed',), kinds={'drawer': drawer})
    phrasings = Phrasings(relations={'open': opened}, objects={})
    assert len(phrasings.sentences('open(top drawer)').positive) == 2
    assert len(phrasings.sentences('open(microwave)').positive) == 1


@pytest.mark.parametrize('text', ['open', 'open(', 'open(a) or b', '(a)'])
def test_text_that_is_no_predicate_is_named(text: str) -> None:
    with pytest.raises(ValueError, match='relation'):
        Fact.parse(text)


def test_holding_something_is_a_relation_of_its_own() -> None:
    assert relation_of('holding(something)') == 'holding something'
    assert relation_of('holding(mug)') == 'holding'
    assert relation_of('dropped(something)') == 'dropped'


@pytest.mark.parametrize(
    ('body', 'said'),
    [
        ('{positive: [a], negative: [b], maybe: [c]}', 'maybe'),
        ('{positive: [a]}', 'negative'),
        ('{positive: [a], negative: []}', 'negative'),
        ("{positive: ['the {z}'], negative: [b]}", 'slot'),
    ],
)
def test_a_faulty_file_is_refused(tmp_path: Path, body: str, said: str) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_text(f'relations:\n  open: {body}\n')
    with pytest.raises(ValueError, match=said) as raised:
        Phrasings.load(path)
    assert 'mine.yaml' in str(raised.value)
