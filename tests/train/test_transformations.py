"""Training text of a readout, made by rule."""

from __future__ import annotations

import re

import pytest

from encoders.predicates.wording import affirm, is_denied
from train.phrasings import Phrasings
from train.transformations import (
    HELD_OUT,
    FactTexts,
    compound,
    fact_texts,
    plural,
    question,
    stopped,
    terse,
)

PHRASINGS = Phrasings.load('trained')
PREDICATES = (
    'open(top drawer)', 'open(microwave)', 'hot(stove)', 'turned on(stove)', 'holding(something)',
    'holding(mug)', 'lifted(mug)', 'in(black bowl, top drawer)', 'on(mug, plate)',
    'contact(gripper, mug)', 'dropped(something)', 'shut(top drawer)', 'pressed(button)',
    'locked(door)', 'near(gripper, mug)', 'slipping(mug)', 'success()', 'done(open the drawer)',
)  # fmt: skip


def sides(texts: FactTexts) -> tuple[set[str], set[str]]:
    return (
        {*texts.positive, *texts.more_positive},
        {*texts.negative, *texts.more_negative},
    )


@pytest.mark.parametrize('predicate', PREDICATES)
def test_sides_are_disjoint_and_pairs_are_ordered(predicate: str) -> None:
    texts = fact_texts(predicate, PHRASINGS, sentences=60)
    positive, negative = sides(texts)
    assert not positive & negative
    for pair in texts.pairs:
        assert not set(pair.positive) & negative
        assert not set(pair.negative) & positive
        assert not set(pair.positive) & set(pair.negative)
        assert 1 <= len(pair.positive) <= 2
        assert 1 <= len(pair.negative) <= 2


@pytest.mark.parametrize('predicate', PREDICATES)
def test_text_is_the_same_in_every_run_and_of_the_asked_size(predicate: str) -> None:
    texts = fact_texts(predicate, PHRASINGS)
    assert texts == fact_texts(predicate, PHRASINGS)
    assert 14 <= len(texts.texts) <= 40
    assert len(fact_texts(predicate, PHRASINGS, sentences=12).texts) <= len(texts.texts)


def test_a_pair_holds_a_statement_against_its_denial() -> None:
    pairs = fact_texts('open(top drawer)', PHRASINGS, sentences=200).pairs
    denied = [(p.positive, p.negative) for p in pairs if affirm(p.positive[0]) == p.negative[0]]
    stated = [(p.positive, p.negative) for p in pairs if affirm(p.negative[0]) == p.positive[0]]
    assert denied
    assert stated


def test_denials_of_statements_about_other_things_do_not_state_the_fact() -> None:
    texts = fact_texts('in(black bowl, top drawer)', PHRASINGS, sentences=400)
    positive, _ = sides(texts)
    asked = {text for pair in texts.pairs for text in pair.positive}
    for text in (*positive, *asked):
        if is_denied(text):
            assert 'bowl' in text
            assert 'drawer' in text


@pytest.mark.parametrize('predicate', PREDICATES)
def test_held_out_words_are_never_denied_by_rule(predicate: str) -> None:
    texts = fact_texts(predicate, PHRASINGS, sentences=400)
    told = PHRASINGS.sentences(predicate, synonyms=2)
    by_hand = {*told.positive, *told.negative}
    for text in texts.texts:
        if is_denied(text.rstrip('.?')) and text.lower().rstrip('.') not in by_hand:
            terse_form = any(terse(hand) == text for hand in by_hand)
            assert terse_form or not re.search(rf'\b(?:{"|".join(HELD_OUT)})\b', text), text


@pytest.mark.parametrize('predicate', PREDICATES)
def test_text_without_denials_holds_none(predicate: str) -> None:
    told = PHRASINGS.sentences(predicate, synonyms=2)
    texts = fact_texts(predicate, PHRASINGS, sentences=400, with_denials=False)
    positive, negative = sides(texts)
    assert positive
    assert negative
    for side, phrasings in ((positive, told.positive), (negative, told.negative)):
        if not all(map(is_denied, phrasings)):
            assert not any(map(is_denied, side))
    for pair in texts.pairs:
        assert pair.positive
        assert pair.negative
        assert not any(map(is_denied, (*pair.positive, *pair.negative)))


def test_text_without_denials_keeps_antonyms_and_questions() -> None:
    texts = fact_texts('open(top drawer)', PHRASINGS, sentences=400, with_denials=False)
    asked = {(pair.positive, pair.negative) for pair in texts.pairs}
    assert (('the top drawer is open',), ('the top drawer is closed',)) in asked
    assert any(text.endswith('?') for text in texts.more_positive)


def test_all_phrasings_of_a_relation_occur_over_many_facts() -> None:
    things = [thing for thing in PHRASINGS.objects if thing != 'plate']
    found: set[str] = set()
    for thing in things:
        texts = fact_texts(f'on({thing}, plate)', PHRASINGS)
        names = {thing, *PHRASINGS.objects[thing]}
        for text in (*texts.positive, *texts.negative):
            for name in sorted(names, key=len, reverse=True):
                text = text.replace(name, 'X')
            found.add(text)
    own = PHRASINGS.sentences('on(X, plate)')
    assert len({*own.positive, *own.negative} & found) > 40


def test_too_few_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match='at least 8'):
        fact_texts('open(drawer)', PHRASINGS, sentences=7)


def test_other_forms() -> None:
    assert question('the drawer is open') == 'is the drawer open?'
    assert question('the drawer is not open') is None
    assert question('an open drawer') is None
    assert stopped('the drawer is open') == 'The drawer is open.'
    assert terse('the mug is on a plate') == 'mug is on plate'
    assert compound('the door of the microwave is open') == 'the microwave door is open'
    assert compound('the drawer is open') is None
    assert plural('the top drawer is open') == 'the top drawers are open'
    assert plural('the drawer has been opened') == 'the drawers have been opened'
    assert plural('the mug is on the plate') is None
    assert plural('the gripper holds the mug') is None
