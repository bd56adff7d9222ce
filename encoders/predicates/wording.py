"""A small grammar of English statements about states: denials, and what a readout is asked.

Text towers hardly represent "not", so a readout is asked for a statement and for its denial as
exactly exchanged pairs of sentences; `sides` makes these pairs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from encoders.predicates.opposites import opposite
from encoders.predicates.predicate import Predicate, negate
from encoders.predicates.questions import to_statement, without_any
from encoders.predicates.verbs import (
    AUXILIARIES,
    BE,
    DETERMINERS,
    PRONOUNS,
    a,
    base_form,
    finite_verb,
    is_auxiliary,
    is_base,
    is_plural,
    past,
    third_person,
)

Sides = tuple[tuple[str, ...], tuple[str, ...]]

NOT_TRUE = 'it is not true that '
MASS = {
    'contact', 'heat', 'power', 'noise', 'silence', 'electricity', 'steam', 'water', 'slip',
    'slippage', 'food', 'force', 'space', 'smoke', 'light', 'milk', 'ketchup',
}  # fmt: skip
_NOT_TRUE = re.compile(
    r'^it is (?:not (?:true|the case)|false|untrue) that |^it does not hold that '
)
_TRUE = re.compile(r'^it is (?:true|the case) that ')
_ALL = re.compile(r'^not (?=(?:all|every|everything|everybody|everyone|each|both)\b)')
_MANY = re.compile(r'^(?:all|every|everything|everybody|everyone|each|both)\b')
_NEVER = re.compile(r'\b(?:no longer|never(?: again)?)(?: |$)')
_AUXILIARY_NOT = re.compile(rf'(?<=\w) ({"|".join(AUXILIARIES)}) not\b(?: yet\b)?')
_ANYTHING_BUT = re.compile(r'(?<=\w) (?:anything but|by no means|in no way|not at all)(?= \w)')
_AFTER = re.compile(r' (?:any ?more|any longer|yet|at all)$')
_ABSENT = {
    'something': 'nothing', 'somebody': 'nobody', 'someone': 'no one', 'one of': 'none of',
    'anything': 'nothing',
}  # fmt: skip
_PRESENT = {
    'nothing': 'something', 'nobody': 'somebody', 'no one': 'someone', 'none of': 'one of',
}  # fmt: skip
_SUBJECT_ABSENT = re.compile(r'^(nothing|nobody|no one|none of)\b')
_SUBJECT_NO = re.compile(
    r'^((?:there (?:is|are|was|were|has been|have been) )?)(?:no|not one|not a|not an) (\w+)'
)
_THERE_NOTHING = re.compile(r'^(there (?:is|was) )nothing\b')
_OBJECT_ABSENT = re.compile(r'(?<=\w )(?:nothing|nobody|no one)\b')
_OBJECT_NO = re.compile(r'(?<=\w )(?:no|not any) (\w+)')
_ORDER = re.compile(r'^(?:do|please)\b')


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement without its denials.

    Attributes:
        core: The affirmative statement.
        is_denied: It was denied, an odd number of times.
    """

    core: str
    is_denied: bool


@lru_cache(maxsize=16384)
def claim(text: str) -> Claim:
    """Read a statement or a yes/no question: strip its denials and count them."""
    core, is_denied = _expanded(to_statement(text)) or text, False
    for _ in range(6):
        core = _TRUE.sub('', core)
        stripped = _stripped(core)
        if not stripped:
            break
        core, is_denied = stripped, not is_denied
    return Claim(core, is_denied)


def affirm(text: str) -> str:
    """Return a statement without its denials, in lower case: "the drawer is open"."""
    return claim(text).core


def is_denied(text: str) -> bool:
    """Return whether a statement or question is denied an odd number of times."""
    return claim(text).is_denied


def deny(text: str) -> str:
    """Return the plain denial of a statement; of a denied one, the statement itself.

    `affirm(deny(statement))` is the statement, if that is tidy and affirmative.
    """
    read = claim(text)
    return read.core if read.is_denied else denials(read.core)[0]


@lru_cache(maxsize=16384)
def denials(core: str) -> tuple[str, ...]:
    """Return denials of an affirmative statement, the plainest first.

    "the drawer is not open", "the drawer isn't open", "the drawer is no longer open", "it is not
    true that the drawer is open".
    """
    found = _denied_subject(core) or _denied_verb(core) or ()
    told = (*found, f'{NOT_TRUE}{core}')
    kept = tuple(text for text in dict.fromkeys(told) if claim(text) == Claim(core, True))
    return kept or (f'{NOT_TRUE}{core}',)


def sides(predicate: Predicate) -> Sides:
    """Return positive and negative sentences that a readout is asked for a predicate.

    A predicate with derived negative sentences is asked for its statement against the plain
    denial and, if one is known, the antonym. A denial has the sides of its statement exchanged,
    sentence by sentence, so that the two probabilities sum to 1. Negative sentences given by hand
    are kept but for denials, see `sides_of_lists`; questions become statements.
    """
    positive, negative = predicate.positive, predicate.negative
    if negative == tuple(told for text in positive for told in negate(text)):
        pairs = [sides_of(text) for text in positive]
        positive = tuple(dict.fromkeys(text for pair in pairs for text in pair[0]))
        negative = tuple(dict.fromkeys(text for pair in pairs for text in pair[1]))
    else:
        positive, negative = sides_of_lists(positive, negative)
    return _filled(positive, predicate.templates), _filled(negative, predicate.templates)


def sides_of_lists(positive: Sequence[str], negative: Sequence[str]) -> Sides:
    """Return several statements for and against a fact as sides without denials.

    A text tower places "the drawer is not shut" next to "the drawer is shut", and the mean of a
    side would be between both. So a denial counts as its statement on the other side. A side that
    would be left without sentences gets the denials of the other.
    """
    claims = [[claim(text) for text in texts] for texts in (positive, negative)]
    # A side's own statements come first, so that exchanged sides have the same order.
    yes, no = (
        tuple(
            dict.fromkeys(
                [
                    *(to_statement(t) for t, c in zip(texts, own, strict=True) if not c.is_denied),
                    *(c.core for c in other if c.is_denied),
                ]
            )
        )
        for texts, own, other in (
            (positive, claims[0], claims[1]),
            (negative, claims[1], claims[0]),
        )
    )
    return yes or _against(no), no or _against(yes)


def _against(side: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for told in side for text in sides_of(told)[1]))


@lru_cache(maxsize=16384)
def sides_of(text: str) -> Sides:
    """Return the sides of one statement or question, whose negative sentences are derived."""
    read = claim(text)
    core = with_articles(read.core)
    plain, other = denials(core)[0], opposite(core)
    yes: tuple[str, ...] = (core,)
    no: tuple[str, ...] = (plain,)
    if other is not None and other.is_usual:
        # "closed" is asked as the exchange of "open".
        yes, no = (core, deny(other.text)), (other.text,)
    elif other is not None:
        no = tuple(dict.fromkeys((other.text, plain)))
    return (no, yes) if read.is_denied else (yes, no)


def with_articles(statement: str) -> str:
    """Add what a terse statement leaves out: "drawer is open", "gripper holds mug", "stove hot".

    Only statements without any article are completed.
    """
    words = statement.split()
    if len(words) < 2 or set(words) & {*DETERMINERS, *PRONOUNS, 'not', 'of', 'that', 'nobody'}:
        return statement
    verb = finite_verb(words)
    if verb is None:
        terse = f'the {" ".join(words[:-1])} is {words[-1]}'
        other = opposite(terse)
        is_claim = other is not None and words[0] not in PRONOUNS and not is_plural(words[0])
        return terse if is_claim and words[-1] not in ('on', 'off', 'in') else statement
    if is_plural(words[0]) or words[0] in MASS:
        return statement
    last = words[-1]
    places = ('in', 'on', 'inside', 'outside', 'onto', 'into', 'touches', 'touching', 'holding')
    before = words[-2] in places or (base_form(words, len(words) - 2) is not None)
    is_complete = last in {*MASS, 'operation', 'place', 'motion'} or last.endswith(('ly', 'ed'))
    is_complete = is_complete or opposite(f'the {statement}') is not None
    if before and verb < len(words) - 1 and not is_complete:
        words = [*words[:-1], 'the', last]
    return ' '.join(['the', *words])


def _filled(sentences: tuple[str, ...], templates: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(template.replace('{}', text) for text in sentences for template in templates)


def _expanded(text: str) -> str:
    """Write contractions out: "isn't" as "is not", "cannot" as "can not"."""
    text = re.sub(r"\bcan(?:not|'t)\b", 'can not', text)
    text = re.sub(r"\bwon't\b", 'will not', text)
    text = re.sub(r"\b(it|there|that)'s not\b", r'\1 is not', text)
    text = re.sub(r"^(it|there)'s\b", r'\1 is', text)
    verbs = '|'.join(AUXILIARIES)
    return re.sub(rf"\b({verbs})n'?t\b", r'\1 not', text)


def _stripped(text: str) -> str | None:
    """Remove one denial; None if there is none."""
    for pattern in (_NOT_TRUE, _ALL):
        if pattern.search(text):
            return pattern.sub('', text)
    if found := _SUBJECT_ABSENT.match(text):
        return _PRESENT[found[1]] + text[found.end() :]
    if _THERE_NOTHING.match(text):
        return _THERE_NOTHING.sub(r'\1something', text)
    if (found := _SUBJECT_NO.match(text)) and found[2] != 'longer':
        return f'{found[1]}{_with_some(found[2])}{text[found.end() :]}'
    if _ORDER.match(text):
        return None
    if _ANYTHING_BUT.search(text):
        return _ANYTHING_BUT.sub('', text, count=1)
    return _stripped_verb(text) or _stripped_object(text)


def _with_some(noun: str) -> str:
    if noun in MASS:
        return noun
    if is_plural(noun):
        return f'some {noun}'
    return a(noun)


def _stripped_verb(text: str) -> str | None:
    if found := _AUXILIARY_NOT.search(text):
        before, verb, after = text[: found.start()], found[1], text[found.end() :].strip()
        if verb in ('does', 'do', 'did'):
            predicate = _inflected(after.split(), verb)
        else:
            predicate = f'{verb} {after}'
        return without_any(_AFTER.sub('', f'{before} {predicate}').strip())
    if found := _NEVER.search(text):
        rest = text[: found.start()] + text[found.end() :]
        return without_any(_AFTER.sub('', rest).strip())
    if ' not ' in text and finite_verb(text.split()) is None:  # "drawer not open"
        return text.replace(' not ', ' ', 1)
    return None


def _inflected(words: list[str], auxiliary: str) -> str:
    at = 0
    while at + 1 < len(words) and not is_base(words[at]) and words[at].endswith(('ly', 'yet')):
        at += 1
    if not words:
        return auxiliary
    inflect = {'does': third_person, 'did': past}.get(auxiliary, str)
    return ' '.join([*words[:at], inflect(words[at]), *words[at + 1 :]])


def _stripped_object(text: str) -> str | None:
    if found := _OBJECT_ABSENT.search(text):
        return f'{text[: found.start()]}{_PRESENT[found[0]]}{text[found.end() :]}'
    if (found := _OBJECT_NO.search(text)) and found[1] != 'longer':
        rest = _AFTER.sub('', without_any(text[found.end() :]))
        return f'{text[: found.start()]}{_with_some(found[1])}{rest}'
    return None


def _denied_subject(core: str) -> tuple[str, ...]:
    """Denials of statements about something, somebody, all or a thing: "nothing is ..."."""
    if _MANY.match(core):
        return (f'not {core}',)
    for present, absent in _ABSENT.items():
        for start in ('', 'there is ', 'there was '):
            if core.startswith(f'{start}{present}'):
                return (f'{start}{absent}{core.removeprefix(start + present)}',)
    if found := re.match(r'((?:there (?:is|are|was|were) )?)(?:an?|some) (?=\w)', core):
        return (f'{found[1]}no {core[found.end() :]}',)
    if found := re.match(rf'(there (?:is|was) )(?=(?:{"|".join(sorted(MASS))})\b)', core):
        return (f'{found[1]}no {core[found.end() :]}',)
    return ()


def _denied_verb(core: str) -> tuple[str, ...]:
    words = core.split()
    at = finite_verb(words)
    if at is None or _ORDER.match(core):
        return ()
    before, verb = ' '.join(words[:at]), words[at]
    after = _with_any(' '.join(words[at + 1 :]))
    if is_auxiliary(words, at):
        forms = [f'{before} {verb} not {after}']
        if verb not in ('may', 'might', 'can', 'will'):
            forms.append(f"{before} {verb}n't {after}")
        if verb == 'can':
            forms = [f'{before} cannot {after}', f"{before} can't {after}"]
        if verb in BE:
            forms.append(f'{before} {verb} no longer {after}')
        if verb in ('has', 'have', 'had'):
            forms.append(f'{before} {verb} never {after}')
        return tuple(text.strip() for text in forms)
    base = base_form(words[: at + 1], at)
    if base is None:
        return ()
    forms = [
        f'{before} {base[1]} not {base[0]} {after}',
        f"{before} {base[1]}n't {base[0]} {after}",
    ]
    if base[1] == 'did':
        forms.append(f'{before} never {verb} {after}')
    else:
        forms.append(f'{before} no longer {verb} {after}')
    return tuple(text.strip() for text in forms)


def _with_any(text: str) -> str:
    return re.sub(r'\bsome(thing|body|one)\b', r'any\1', text)
