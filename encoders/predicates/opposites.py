"""Antonyms of statements about states, for what a readout is asked.

Unlike `predicate.OPPOSITES`, a word is exchanged only where it is the statement's claim: not in
"the mug is on the hot plate".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from encoders.predicates.verbs import BE, a, finite_verb

# Usual word of a state, and the word of its absence.
_STATES = {
    'open': 'closed', 'hot': 'cold', 'warm': 'cool', 'full': 'empty', 'lit': 'unlit',
    'locked': 'unlocked', 'running': 'idle', 'loud': 'quiet', 'active': 'inactive',
    'powered': 'unpowered', 'heated': 'unheated', 'pressed': 'unpressed', 'raised': 'lowered',
    'occupied': 'unoccupied', 'complete': 'incomplete', 'finished': 'unfinished',
}  # fmt: skip
_ABSENCES = {absent: present for present, absent in _STATES.items()} | {'shut': 'open'}
_HANDS = re.compile(r'\b(?:grippers?|hands?|claws?|jaws|fingers|effectors?|arms?)\b')
_PLACES = re.compile(
    r'^(?:the|a|an|its) (?!(?:air|way|middle|front|corner|hand|gripper|open|closed)\b)'
)
# Without a claim about a state: something happened.
_EVENT = re.compile(
    r'\b(?:just|slammed|banged|clicked|bang)\b|\b(?:was|were) (?:shut|opened|closed)\b'
)
_SOMETHING = re.compile(r'(?<!\band )(?<!\bfrom )\bsomething\b(?! and\b)')
# Whose opposite is not that of each: some drawers may be open when not all are closed.
_QUANTIFIED = re.compile(
    r'(?:all|every|everything|everybody|everyone|each|both|some|somebody|someone|one of)\b'
    r'|.* (?:can|could|may|might|must|should) |.*:|(?:the|a|no) (?:sound|noise|slam)\b'
)


@dataclass(frozen=True, slots=True)
class Opposite:
    """An opposite statement.

    Attributes:
        text: The opposite.
        is_usual: It is the usual form of the two: "open" of "closed".
    """

    text: str
    is_usual: bool


def opposite(statement: str) -> Opposite | None:
    """Return the opposite of an affirmative statement in lower case, None if none is known."""
    words = statement.split()
    verb = finite_verb(words)
    found = _nothing(statement) or _emptiness(statement, words, verb)
    if found is None and not _EVENT.search(statement) and not _QUANTIFIED.match(statement):
        found = _state(words, verb) or _switched(words) or _place(words, verb)
    if found is None or found.text == statement:
        return None
    return Opposite(re.sub(r'\ban? (\w+)', lambda m: a(m[1]), found.text), found.is_usual)


def _nothing(statement: str) -> Opposite | None:
    if not _SOMETHING.search(statement):
        return None
    return Opposite(_SOMETHING.sub('nothing', statement, count=1), False)


def _emptiness(statement: str, words: list[str], verb: int | None) -> Opposite | None:
    """The opposite of "empty" names what is there; that of "full" is "empty"."""
    if verb is None or words[verb] not in BE or words[-1] != 'empty':
        return None
    subject = ' '.join(words[:verb])
    if _HANDS.search(subject):
        return Opposite(f'{subject} {words[verb]} holding something', True)
    return Opposite(f'something is in {subject}', True) if subject.startswith('the ') else None


def _state(words: list[str], verb: int | None) -> Opposite | None:
    """Exchange the last word of a state that is the statement's claim."""
    for at in range(len(words) - 1, -1, -1):
        word = words[at]
        if word not in _STATES and word not in _ABSENCES and word not in ('opened', 'closed'):
            continue
        previous = words[at - 1] if at else ''
        if verb is not None and at < verb:
            return None
        # "wide closed" does not exist, and "to open" is a task.
        if previous in ('the', 'its', 'wide', 'partly', 'to') or (
            previous in ('a', 'an') and verb is not None
        ):
            return None
        if words[at + 1 : at + 2] == ['around']:  # "closed around the mug": not "open around"
            return None
        is_event = at == verb or previous in ('been', 'has', 'have', 'had')
        changed = _exchanged(word, is_event=is_event)
        if changed is None:
            return None
        return Opposite(' '.join([*words[:at], changed, *words[at + 1 :]]), word in _ABSENCES)
    return None


def _exchanged(word: str, *, is_event: bool) -> str | None:
    if word == 'opened':
        return 'closed'
    if word in ('closed', 'shut') and is_event:
        return 'opened'
    return _STATES.get(word) or _ABSENCES.get(word)


def _switched(words: list[str]) -> Opposite | None:
    """Exchange "on" and "off" at the end, or after "turned", "switched" and "powered"."""
    for at in range(len(words) - 1, 0, -1):
        if words[at] not in ('on', 'off'):
            continue
        is_last = at == len(words) - 1
        if is_last or words[at - 1] in ('turned', 'switched', 'powered'):
            other = 'off' if words[at] == 'on' else 'on'
            return Opposite(' '.join([*words[:at], other, *words[at + 1 :]]), words[at] == 'off')
    return None


def _place(words: list[str], verb: int | None) -> Opposite | None:
    """Exchange "in" or "inside" and "outside", "on" and "off", directly after the verb."""
    if verb is None or verb + 2 >= len(words) or words[verb] not in BE:
        return None
    if not _PLACES.match(' '.join(words[verb + 2 :])):
        return None
    word = words[verb + 1]
    other = {'in': 'outside', 'inside': 'outside', 'outside': 'in', 'on': 'off', 'off': 'on'}
    if word not in other:
        return None
    text = ' '.join([*words[: verb + 1], other[word], *words[verb + 2 :]])
    return Opposite(text, word in ('outside', 'off'))
