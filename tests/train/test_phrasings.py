"""Wordings of facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.phrasings import Fact, Phrasings, Wording, relation_of
from train.training.recipe import load_recipe

RECIPES = Path(__file__).resolve().parents[2] / 'config' / 'recipes'
# The others are of `lb-ros train contrast`.
BIND = sorted(p for p in RECIPES.glob('*.yaml') if '\ntuning:' not in p.read_text())


def all_patterns(phrasings: Phrasings) -> set[str]:
    found: set[str] = set()

    def collect(wording: Wording) -> None:
        found.update(' '.join(p.lower().split()) for p in (*wording.positive, *wording.negative))
        for extra in wording.kinds.values():
            collect(extra)

    for wording in phrasings.relations.values():
        collect(wording)
    return found


def test_no_wording_is_both_trained_and_unseen() -> None:
    trained, unseen = (all_patterns(Phrasings.load(name)) for name in ('trained', 'unseen'))
    assert trained & unseen == set()
    assert len(trained) > 300
    assert len(unseen) > 50


@pytest.mark.parametrize('name', ['trained', 'unseen'])
def test_no_sentence_says_both_that_a_fact_holds_and_that_it_does_not(name: str) -> None:
    phrasings = Phrasings.load(name)
    for predicate in ('open(top drawer)', 'in(black bowl, top drawer)', 'holding(something)'):
        sentences = phrasings.sentences(predicate, synonyms=2)
        assert not set(sentences.positive) & set(sentences.negative)


@pytest.mark.parametrize('name', ['trained', 'unseen'])
def test_every_relation_that_a_recipe_learns_has_wordings(name: str) -> None:
    phrasings = Phrasings.load(name)
    for path in BIND:
        shares = load_recipe(path).relations.values()
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
