"""Denials, questions, and the sentences that a readout is asked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.predicates.predicate import Predicate, PredicateError
from encoders.predicates.questions import is_question, to_question, to_statement
from encoders.predicates.wording import (
    Claim,
    affirm,
    claim,
    denials,
    deny,
    is_denied,
    sides,
    sides_of,
)
from train.phrasings import Phrasings

ARGUMENTS = ('top drawer, wooden cabinet', 'stove, black bowl', 'something', 'red mug, wine rack')


def all_sentences() -> list[str]:
    found: set[str] = set()
    for name in ('trained', 'unseen', 'check'):
        phrasings = Phrasings.load(name)
        for relation in phrasings.relations:
            bare = relation.removesuffix(' something')
            # `done` takes a task, of which a name is none.
            for arguments in ('open the drawer',) if relation == 'done' else ARGUMENTS:
                if relation in ('in', 'on', 'contact', 'near') and arguments == 'something':
                    continue
                sentences = phrasings.sentences(f'{bare}({arguments})', synonyms=1)
                found.update((*sentences.positive, *sentences.negative))
    return sorted(found)


SENTENCES = all_sentences()
STATES = [
    'the drawer is open', 'the drawers are open', 'the stove is hot', 'the gripper holds the mug',
    'the gripper is holding something', 'the mug has been lifted', 'the bowl is in the basket',
    'something was dropped', 'an object fell', 'somebody opened the drawer',
    'the robot grasped it', 'the lid fits the pot', 'the fingers touch the mug',
    'there is a mug on the tray', 'all drawers are closed', 'the kettle boils',
    'the drawer can be opened', 'the lamp glows',
]  # fmt: skip


def sided(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return sides(Predicate.from_sentence(text))


def test_a_denial_of_any_phrasing_is_read_back() -> None:
    assert len(SENTENCES) > 1000
    for sentence in SENTENCES:
        core = affirm(sentence)
        for denial in denials(core):
            assert affirm(denial) == core
            assert is_denied(denial)
        assert deny(deny(core)) == core


def test_affirmative_phrasings_are_their_own_core() -> None:
    affirmative = [text for text in SENTENCES if not is_denied(text)]
    assert len(affirmative) > 600
    assert all(affirm(text) == to_statement(text) for text in affirmative)


def test_phrasings_with_an_ordinary_verb_are_denied_by_it() -> None:
    plain = [denials(affirm(text))[0] for text in SENTENCES]
    unparsed = [text for text in plain if text.startswith('it is not true that')]
    assert len(unparsed) < 0.05 * len(plain), unparsed


def test_sides_of_a_denial_are_exactly_exchanged() -> None:
    for sentence in SENTENCES:
        positive, negative = sides_of(sentence)
        assert positive
        assert negative
        assert not set(positive) & set(negative)
        for denial in denials(affirm(sentence)):
            assert sides_of(denial) in ((positive, negative), (negative, positive))
            assert (sides_of(denial) == (negative, positive)) == (not is_denied(sentence))


@pytest.mark.parametrize('state', STATES)
def test_a_state_a_question_and_their_forms_have_the_same_sides(state: str) -> None:
    expected = sided(state)
    question = to_question(state)
    assert not question.startswith('is it true')
    forms = [question, question[:-1], question.capitalize(), f'  {state.upper()}.', f'{state}!!']
    for form in (*forms, f'It is true that {state}.', f'is it true that {state}?'):
        assert sided(form) == expected, form
    denied = (expected[1], expected[0])
    for denial in denials(state):
        for form in (denial, denial.replace("'", '\u2019').capitalize(), f'{denial}.'):
            assert sided(form) == denied, form


@pytest.mark.parametrize(
    ('statement', 'expected'),
    [
        ('the gripper holds the mug', 'the gripper does not hold the mug'),
        ('the gripper holds something', 'the gripper does not hold anything'),
        ('the fingers touch the mug', 'the fingers do not touch the mug'),
        ('the robot has the mug in its gripper', 'the robot does not have the mug in its gripper'),
        ('the mug has been lifted', 'the mug has not been lifted'),
        ('the mug fell', 'the mug did not fall'),
        ('something fell', 'nothing fell'),
        ('somebody opened the drawer', 'nobody opened the drawer'),
        ('an object fell', 'no object fell'),
        ('there is a mug in the sink', 'there is no mug in the sink'),
        ('all drawers are closed', 'not all drawers are closed'),
        ('a thud', 'no thud'),
        ('the guard bars access', 'the guard does not bar access'),
        ('the tray refuses to move', 'the tray does not refuse to move'),
        ('the lid clunked onto the table', 'the lid did not clunk onto the table'),
        ('the lid has sprung open', 'the lid has not sprung open'),
        ('the drawer can be opened', 'the drawer cannot be opened'),
    ],
)
def test_plain_denials(statement: str, expected: str) -> None:
    assert deny(statement) == expected
    assert deny(expected) == statement


@pytest.mark.parametrize(
    'denial',
    [
        "the drawer isn't open", 'The drawer isn\u2019t open.', 'the drawer isnt open',
        'the drawer is no longer open', 'the drawer is not open yet', 'the drawer is never open',
        'it is not true that the drawer is open', "it isn't true that the drawer is open",
        'the drawer is anything but open', 'the drawer is by no means open',
        "it's not the case that the drawer is open", 'it is false that the drawer is open',
        'is the drawer not open?', "the drawer isn't open anymore",
    ],
)  # fmt: skip
def test_denials_in_any_form_are_recognised(denial: str) -> None:
    assert affirm(denial) == 'the drawer is open'
    assert is_denied(denial)


@pytest.mark.parametrize(
    ('question', 'statement'),
    [
        ('is the drawer open?', 'the drawer is open'),
        ('Are the drawers open', 'the drawers are open'),
        ("isn't the drawer open?", 'the drawer is open'),
        ('is the drawer of the cabinet open?', 'the drawer of the cabinet is open'),
        ('has the mug been lifted?', 'the mug has been lifted'),
        ('does the gripper hold something?', 'the gripper holds something'),
        ('does the gripper hold anything?', 'the gripper holds something'),
        ("doesn't the gripper hold the mug?", 'the gripper holds the mug'),
        ('does the gripper not hold the mug?', 'the gripper does not hold the mug'),
        ('did the mug fall?', 'the mug fell'),
        ('is the black frying pan on the hot plate?', 'the black frying pan is on the hot plate'),
        ('is the gripper holding ketchup?', 'the gripper is holding ketchup'),
        ('was anything dropped?', 'something was dropped'),
        ('is there any mug on the tray?', 'there is a mug on the tray'),
        ('can the drawer be opened?', 'the drawer can be opened'),
        ('the drawer is open?', 'the drawer is open'),
        ('is drawer open', 'drawer is open'),
        ('does the lid fit the pot?', 'the lid fits the pot'),
    ],
)
def test_questions_become_statements(question: str, statement: str) -> None:
    assert is_question(question)
    assert to_statement(question) == statement


def test_phrasings_survive_being_asked_as_questions() -> None:
    assert all(to_statement(to_question(text)) == text for text in SENTENCES)
    assert not is_question('do not touch the stove, it is hot')


# The texts of the published report of reversed wordings.
@pytest.mark.parametrize(
    ('text', 'positive', 'negative'),
    [
        ('the drawer is open', 'the drawer is open', 'the drawer is closed'),
        ('the drawer is closed', 'the drawer is closed', 'the drawer is open'),
        ('the drawers are open', 'the drawers are open', 'the drawers are closed'),
        ('the drawers are closed', 'the drawers are closed', 'the drawers are open'),
        ('the drawer is not closed', 'the drawer is open', 'the drawer is closed'),
        ('the drawer is not open', 'the drawer is closed', 'the drawer is open'),
        ('the stove is on', 'the stove is on', 'the stove is off'),
        ('the stove is not off', 'the stove is on', 'the stove is off'),
        ('the stove is hot', 'the stove is hot', 'the stove is cold'),
        (
            'the gripper is holding something',
            'the gripper is holding something',
            'the gripper is holding nothing',
        ),
        ('the gripper is not empty', 'the gripper is holding something', 'the gripper is empty'),
        ('the gripper is full', 'the gripper is full', 'the gripper is empty'),
    ],
)
def test_reversed_wordings_are_asked_the_right_way_round(
    text: str, positive: str, negative: str
) -> None:
    found = sided(text)
    assert (found[0][0], found[1][0]) == (positive, negative)


def test_antonyms_are_exact_exchanges() -> None:
    for one, other in (('open', 'closed'), ('hot', 'cold'), ('on', 'off'), ('lit', 'unlit')):
        first, second = (sided(f'the lid is {word}') for word in (one, other))
        assert first == (second[1], second[0])


def test_a_word_is_exchanged_only_where_it_is_the_claim() -> None:
    assert sided('the mug is on the hot plate')[1][0] == 'the mug is off the hot plate'
    assert sided('the mug touches the closed drawer')[1] == (
        'the mug does not touch the closed drawer',
    )
    assert sided('all drawers are closed') == (
        ('all drawers are closed',), ('not all drawers are closed',)
    )  # fmt: skip


def test_terse_statements_are_completed() -> None:
    assert sided('drawer open') == sided('Drawer is open') == sided('the drawer is open')
    assert sided('drawer not open') == sided('the drawer is not open')
    assert sided('gripper holds mug') == sided('the gripper holds the mug')
    assert sided('mug is not in basket') == sided('the mug is not in the basket')


def test_denials_given_by_hand_are_told_on_the_other_side() -> None:
    told = Predicate(
        'mine', ('The gripper is not empty.', 'is the gripper full?'), ('Gripper empty',)
    )
    assert sides(told) == (('the gripper is full',), ('gripper empty', 'the gripper is empty'))
    exchanged = Predicate('mine', told.negative, told.positive)
    assert sides(exchanged) == sides(told)[::-1]


def test_a_side_of_denials_alone_keeps_them() -> None:
    shut = ('the drawer is shut',)
    only = Predicate('mine', ('the drawer is not shut', "the drawer isn't shut"), shut)
    assert sides(only) == (('the drawer is open',), shut)


def test_templates_are_filled() -> None:
    told = Predicate(
        'open', ('the drawer is open',), ('the drawer is shut',), templates=('{}', 'here {}')
    )
    assert sides(told)[0] == ('the drawer is open', 'here the drawer is open')


VOCABULARY = (
    'the a drawer mug is are not no does hold holds nothing something open closed in on it true '
    "that isn't never any ? . has been an of all"
)
WORDS = st.sampled_from(VOCABULARY.split())


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(WORDS, min_size=1, max_size=9).map(' '.join), st.text(max_size=60)))
def test_any_text_has_sides(text: str) -> None:
    try:
        predicate = Predicate.from_sentence(text)
    except PredicateError:
        return
    positive, negative = sides(predicate)
    assert positive
    assert negative
    assert all(told.strip() for told in (*positive, *negative))
    core = claim(text).core
    if claim(denials(core)[0]) == Claim(core, True) and claim(core) == Claim(core, False):
        assert sides_of(denials(core)[0]) == sides_of(core)[::-1]
