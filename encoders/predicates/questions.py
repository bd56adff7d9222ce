"""Turns yes/no questions about states into statements and back."""

from __future__ import annotations

import re
from functools import lru_cache

from encoders.predicates.verbs import (
    AUXILIARIES,
    DETERMINERS,
    DO,
    MODALS,
    PARTICIPLES,
    PREPOSITIONS,
    PRONOUNS,
    a,
    base_form,
    finite_verb,
    is_auxiliary,
    is_base,
    past,
    third_person,
)

# Words with which the part of a sentence after its subject may begin, besides participles.
_STATES = {
    'open', 'opened', 'closed', 'shut', 'ajar', 'on', 'off', 'hot', 'cold', 'warm', 'cool', 'full',
    'empty', 'lit', 'unlit', 'held', 'idle', 'loud', 'quiet', 'visible', 'free', 'vacant',
    'clean', 'dirty', 'wet', 'dry', 'ready', 'done', 'complete', 'upright', 'stuck', 'safe',
    'bare', 'active', 'inactive', 'bright', 'dark', 'separate', 'distant', 'remote', 'clear',
    'adjacent', 'absent', 'present', 'level', 'secure', 'tight', 'alone', 'apart', 'heavy',
    'incomplete', 'accessible', 'able', 'flush', 'loose', 'still', 'true', 'lost', 'slid',
    'swung', 'hung', 'set', 'put', 'caught', 'let', 'made', 'kept', *PARTICIPLES,
}  # fmt: skip
_ADVERBS = {
    'not', 'no', 'never', 'already', 'still', 'currently', 'now', 'very', 'fully', 'completely',
    'partly', 'wide', 'just', 'really', 'too', 'firmly', 'tightly', 'ever', 'yet', 'right',
}  # fmt: skip
_STRONG = {'be', 'been', 'being', 'have', *_ADVERBS, *PREPOSITIONS, *DETERMINERS, *PRONOUNS}
_IS_IT_TRUE = re.compile(r'^(?:is it true|is it the case) that (.+)$')
_ANY = {'anything': 'something', 'anybody': 'somebody', 'anyone': 'someone'}


def tidied(text: str) -> str:
    """Return a text in lower case, with straight apostrophes and single spaces, without full stop.

    Text towers do not distinguish capitals. A question mark stays.
    """
    text = re.sub('[\u2018\u2019\u02bc\u00b4`]', "'", text)
    text = re.sub('[\u201c\u201d"]', '', text)
    return ' '.join(text.lower().split()).rstrip('.!\u2026;, ')


def is_question(text: str) -> bool:
    """Return whether a text is a yes/no question: "is the drawer open", with or without `?`."""
    text = tidied(text)
    words = text.rstrip('? ').split()
    starts = bool(words) and re.sub(r"n't$|(?<=can)not$", '', words[0]) in (
        *AUXILIARIES,
        'ca',
        'wo',
    )
    if not starts or len(words) < 3:
        return text.endswith('?')
    # "do not touch the stove" is an order, "do the fingers touch it" a question.
    is_order = words[0] in ('do', "don't", 'have', "haven't") and (
        words[1] not in (*DETERMINERS, *PRONOUNS) or not any(map(is_base, words[2:]))
    )
    return text.endswith('?') or not is_order or 'been' in words


@lru_cache(maxsize=16384)
def to_statement(text: str) -> str:
    """Return the statement that a yes/no question asks for, tidied; other text only tidied.

    "Isn't the drawer open?" asks whether it is open, "is the drawer not open?" whether it is not.
    """
    if not is_question(text):
        return tidied(text)
    original, text = text, tidied(text).rstrip('? ').rstrip('.!')
    if found := _IS_IT_TRUE.match(text):
        return found[1]
    words = text.split()
    if len(words) < 3:
        return text or tidied(original)
    auxiliary = re.sub(r"n't$|(?<=can)not$", '', words[0])
    auxiliary = {'ca': 'can', 'wo': 'will'}.get(auxiliary, auxiliary)
    rest = words[2:] if words[1] == 'not' else words[1:]
    if auxiliary not in AUXILIARIES or len(rest) < 2:
        return text
    end = _subject_end(rest, needs_verb=auxiliary in (*DO, *MODALS))
    subject, predicate = rest[:end], rest[end:]
    if auxiliary in DO and predicate and predicate[0] != 'not':
        predicate = _inflected(predicate, auxiliary)
    else:
        predicate = [auxiliary, *predicate]
    statement = ' '.join([*subject, *predicate])
    return statement if 'not' in predicate else without_any(statement)


def to_question(statement: str) -> str:
    """Return the yes/no question that asks for a statement: "is the drawer open?"."""
    words = statement.split()
    verb = finite_verb(words)
    if verb is not None:
        before, after = words[:verb], words[verb + 1 :]
        base = base_form(words[: verb + 1], verb)
        if is_auxiliary(words, verb):
            asked = [words[verb], *before, *after]
        elif base is not None:
            asked = [base[1], *before, base[0], *after]
        else:
            asked = []
        question = f'{" ".join(asked)}?'
        if asked and to_statement(question) == statement:
            return question
    return f'is it true that {statement}?'


def without_any(statement: str) -> str:
    """Return a statement with "some" for "any", as it reads without a denial or a question."""
    statement = re.sub(r'\bany(?:thing|body|one)\b', lambda m: _ANY[m[0]], statement)
    statement = re.sub(r'\bany (\w+\b(?<!s))', lambda m: a(m[1]), statement)
    return re.sub(r'\bany\b', 'some', statement)


def _inflected(predicate: list[str], auxiliary: str) -> list[str]:
    """Put the auxiliary "does", "do" or "did" into the verb, which may follow an adverb."""
    at = 0
    while at + 1 < len(predicate) and (predicate[at] in _ADVERBS or predicate[at].endswith('ly')):
        at += 1
    inflect = {'does': third_person, 'did': past}.get(auxiliary, str)
    return [*predicate[:at], inflect(predicate[at]), *predicate[at + 1 :]]


def _subject_end(words: list[str], *, needs_verb: bool) -> int:
    """Index of the first word after the subject of a question without its auxiliary."""
    if words[0] in PRONOUNS:
        return 1
    start = 2 if words[0] in DETERMINERS else 1
    at = start
    while at < len(words):
        if words[at] in ('of', 'and'):
            at += 3 if at + 1 < len(words) and words[at + 1] in DETERMINERS else 2
            continue
        if needs_verb:
            if is_base(words[at]) or words[at] in ('be', *_ADVERBS):
                return at
        elif _begins_predicate(words, at):
            return _with_place(words, at)
        at += 1
    if not needs_verb:
        return len(words) - 1
    # The verb is unknown: it stands before the first article, preposition or pronoun, or last.
    for at in range(start, len(words) - 1):
        if words[at + 1] in (*DETERMINERS, *PREPOSITIONS, *PRONOUNS, 'anything'):
            return at
    return len(words) - 1


def _begins_predicate(words: list[str], at: int) -> bool:
    word = words[at]
    if word in _STRONG:
        return True
    if word not in _STATES and not re.search(r'(?:[^e]ed|ing|[^aeiou]en|ly)$', word):
        return False
    # A participle before a noun belongs to the subject: "is the black frying pan on ...".
    following = words[at + 1] if at + 1 < len(words) else ''
    is_before_noun = following and following not in _STRONG | _STATES
    return not (is_before_noun and any(w in _STRONG | _STATES for w in words[at + 2 :]))


def _with_place(words: list[str], at: int) -> int:
    """Include a place into the subject: "is the drawer in the cabinet open"."""
    last = words[-1]
    is_state = last in _STATES - set(PREPOSITIONS)
    return len(words) - 1 if words[at] in PREPOSITIONS and is_state else at
