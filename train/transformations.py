"""Which sentences a readout is trained on: phrasings, their denials and other forms, by rule."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from encoders.predicates.questions import to_question
from encoders.predicates.verbs import BE, DETERMINERS, finite_verb, is_plural
from encoders.predicates.wording import NOT_TRUE, Sides, claim, denials, is_denied, sides_of
from train.phrasings import Phrasings, Sentences

# Words of phrasings that are never denied by rule, so that config/phrasings/check.yaml can measure
# whether a readout carries denials over to words that it never saw denied.
HELD_OUT = (
    'grips', 'sits', 'stands', 'meets', 'bumps', 'hoisted', 'sticks', 'glows', 'powered', 'ajar',
    'extended', 'occupied', 'remains', 'upon',
)  # fmt: skip
# Without these words a statement may be false although its fact holds.
_DEGREES = re.compile(
    r'\b(?:wide|partly|very|fully|completely|burning|dangerously|harmlessly|still|firm|firmly'
    r'|tight|right|only|just|all the way|hardly|somewhere|another)\b'
)
_UNIVERSAL = re.compile(
    r'^(?:not )?(?:all|every|everything|everybody|each|both|none|the whole|the entire)\b'
)
_HELD_OUT = re.compile(rf'\b(?:{"|".join(HELD_OUT)})\b')
_PARTS = re.compile(
    r'\b(door|doors|drawer|drawers|handle|knob|burner|surface|lid|button|inside) of the (\w+)\b'
)
_COUNTABLE = re.compile(r'\bthe ((?:\w+ )?(?:drawer|door|stove|microwave|mug|bowl|button))\b')


@dataclass(frozen=True, slots=True)
class Pair:
    """What is asked for one statement and for its denial.

    Attributes:
        positive: Sentences that state the fact; one or two.
        negative: Sentences that deny it; one or two.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]

    @property
    def sides(self) -> Sides:
        """Both sides."""
        return self.positive, self.negative


@dataclass(frozen=True, slots=True)
class FactTexts:
    """Training text of one fact.

    Attributes:
        positive: Phrasings that state the fact.
        negative: Phrasings that deny it.
        more_positive: Other forms that state it: denials of `negative`, questions, plurals.
        more_negative: Other forms that deny it.
        pairs: Statements with their own denials and antonyms.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    more_positive: tuple[str, ...]
    more_negative: tuple[str, ...]
    pairs: tuple[Pair, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """All sentences, each once."""
        told = (*self.positive, *self.negative, *self.more_positive, *self.more_negative)
        paired = (text for pair in self.pairs for text in (*pair.positive, *pair.negative))
        return tuple(dict.fromkeys((*told, *paired)))


def fact_texts(
    predicate: str, phrasings: Phrasings, *, sentences: int = 30, with_denials: bool = True
) -> FactTexts:
    """Choose training text of a fact, the same in every run.

    Different facts of a relation get different phrasings, so that all phrasings occur.

    Args:
        predicate: `relation(argument, ...)`.
        phrasings: Source of the sentences.
        sentences: Approximate number of sentences; at least 8.
        with_denials: False leaves out every denied sentence, also of the phrasings; a side of
            which all phrasings are denied keeps them.

    Raises:
        ValueError: `sentences` is too small.
        WordingError: A predicate has no phrasings.
    """
    if sentences < 8:
        raise ValueError(f'sentences must be at least 8, not {sentences}')
    drawn = random.Random(predicate)
    own, told = phrasings.sentences(predicate), phrasings.sentences(predicate, synonyms=2)
    if not with_denials:
        own, told = _without_denials(own), _without_denials(told)
    names = phrasings.arguments(predicate)
    share = sentences * 4 // 15
    positive = _some(own.positive, told.positive, share, drawn)
    negative = _some(own.negative, told.negative, share, drawn)
    paired = max(2, sentences // 6)
    stated = [text for text in positive if _is_deniable(text, names)][: (paired + 1) // 2]
    denied = [
        text for text in negative if _is_deniable(text, names) and 'something' not in text.split()
    ][: paired - len(stated)]
    against = {text: _other_side(text, drawn) for text in (*stated, *denied)}
    pairs = [
        *(pair for text in stated for pair in _pairs(text, against[text])),
        *(Pair(*pair.sides[::-1]) for text in denied for pair in _pairs(text, against[text])),
    ]
    # The denial of "the robot let go of it" does not state that it holds it.
    more_positive = [against[text] for text in denied if _is_state(text)]
    more_negative = [against[text] for text in stated]
    for side, more in ((positive, more_positive), (negative, more_negative)):
        more += _other_forms(side, drawn, count=max(1, sentences // 15))
    if not with_denials:
        more_positive, more_negative = _affirmative(more_positive), _affirmative(more_negative)
        pairs = [pair for pair in map(_affirmative_pair, pairs) if all(pair.sides)]
    return FactTexts(
        tuple(positive),
        tuple(negative),
        tuple(dict.fromkeys(more_positive)),
        tuple(dict.fromkeys(more_negative)),
        tuple(dict.fromkeys(pairs)),
    )


def _affirmative(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if not is_denied(text)]


def _affirmative_pair(pair: Pair) -> Pair:
    """A statement against its antonym; a side without an affirmative sentence is empty."""
    return Pair(tuple(_affirmative(pair.positive)), tuple(_affirmative(pair.negative)))


def _without_denials(sentences: Sentences) -> Sentences:
    """The sentences that are not denied; a side without any stays as it is."""
    positive, negative = _affirmative(sentences.positive), _affirmative(sentences.negative)
    return Sentences(tuple(positive) or sentences.positive, tuple(negative) or sentences.negative)


def _some(own: Sequence[str], told: Sequence[str], count: int, drawn: random.Random) -> list[str]:
    """Choose sentences; six in ten, or more, with the usual names of things."""
    first = drawn.sample(own, min(len(own), round(0.6 * count)))
    others = [text for text in told if text not in first]
    chosen = [*first, *drawn.sample(others, min(len(others), count - len(first)))]
    drawn.shuffle(chosen)
    return chosen


def _is_deniable(text: str, names: tuple[tuple[str, ...], ...]) -> bool:
    """Whether a statement and its denial are a fact and its opposite.

    That the mug is on the table is against its being in the basket, but that it is not on the
    table does not state that it is in the basket: a statement must name all arguments.
    """
    if _DEGREES.search(text) or _UNIVERSAL.search(text) or re.search('[,:]', text):
        return False
    if any(map(_HELD_OUT.search, (text, *sides_of(text)[0], *sides_of(text)[1]))):
        return False
    if not all(any(f' {name}' in f' {text}' for name in options) for options in names):
        return False
    read = claim(text)
    return not denials(read.core)[0].startswith(NOT_TRUE)


def _is_state(text: str) -> bool:
    """Whether a statement is about now: "is", "holds", not "was removed" or "has let go"."""
    words = claim(text).core.split()
    at = finite_verb(words)
    if at is None:
        return True
    return words[at] in BE[:2] or (words[at].endswith('s') and words[at] not in ('was', 'has'))


def _other_side(text: str, drawn: random.Random) -> str:
    """A sentence of the other side: a denial in some form, or what a denied statement denies."""
    read = claim(text)
    return read.core if read.is_denied else drawn.choice(denials(read.core)[:-1])


def _pairs(text: str, against: str) -> tuple[Pair, Pair]:
    """What is asked for a statement, and the statement against another sentence."""
    return Pair(*sides_of(text)), Pair((text,), (against,))


def _other_forms(side: Sequence[str], drawn: random.Random, *, count: int) -> list[str]:
    """Return questions, plurals, terse and stopped forms of sentences, each of another one."""
    kinds = list(FORMS)
    drawn.shuffle(kinds)
    found: list[str] = []
    for kind in kinds:
        changed = [FORMS[kind](text) for text in side]
        new = [form for form in changed if form and form not in side]
        if new:
            found.append(drawn.choice(new))
        if len(found) == count:
            break
    return found


def question(text: str) -> str | None:
    """Return "is the drawer open?"; None for a denied sentence or one without a verb."""
    asked = to_question(text)
    return None if is_denied(text) or asked.startswith('is it true') else asked


def stopped(text: str) -> str:
    """Return the sentence with a capital and a full stop."""
    return f'{text[:1].upper()}{text[1:]}.'


def terse(text: str) -> str:
    """Return the sentence without articles."""
    return re.sub(r'\b(?:the|an?) ', '', text)


def compound(text: str) -> str | None:
    """Return "the cabinet drawer" for "the drawer of the cabinet"."""
    changed = _PARTS.sub(r'\2 \1', text)
    return changed if changed != text else None


def plural(text: str) -> str | None:
    """Return "the drawers are open" for "the drawer is open"; None if that cannot be formed."""
    found = _COUNTABLE.match(text)
    words = text.split()
    verb = finite_verb(words)
    if found is None or verb is None or verb != len(found[0].split()):
        return None
    forms = {'is': 'are', 'was': 'were', 'has': 'have'}
    if words[verb] not in forms or is_plural(found[1]) or set(words[verb:]) & {*DETERMINERS}:
        return None
    noun = f'{found[0]}s'
    return ' '.join([noun, forms[words[verb]], *words[verb + 1 :]])


FORMS: dict[str, Callable[[str], str | None]] = {
    'question': question,
    'stopped': stopped,
    'terse': terse,
    'compound': compound,
    'plural': plural,
}
