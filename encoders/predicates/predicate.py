"""Predicates: named yes/no questions with positive and negative sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NoReturn

from encoders.modalities import MODALITIES
from encoders.regions import is_region

MAX_SENTENCE = 400  # characters; text towers read about 77 tokens
MAX_SENTENCES = 1000  # per side, in all templates

# Pairs whose exchange turns a statement about a state into its opposite, in both directions.
OPPOSITES = (
    ('open', 'closed'), ('opened', 'closed'), ('on', 'off'), ('hot', 'cold'), ('warm', 'cool'),
    ('in', 'outside'), ('inside', 'outside'), ('full', 'empty'), ('holds', 'does not hold'),
    ('holding', 'not holding'), ('dropped', 'kept hold of'), ('fell', 'stayed in place'),
    ('lifted', 'resting on the table'), ('shut', 'open'), ('running', 'idle'),
    ('touching', 'away from'), ('touches', 'is away from'), ('loud', 'quiet'),
    ('empty', 'holding something'), ('nothing', 'something'), ('pulled out', 'pushed in'),
    ('tight', 'loose'), ('rough', 'smooth'), ('jammed', 'free'), ('stuck', 'free'),
)  # fmt: skip
_NEGATION = re.compile(r"it is not true that |\b(?:not|never|no longer) |(?<=\w)n't\b")
VERBS = ('is', 'are', 'was', 'were', 'has', 'have', 'can', 'does', 'do')


class PredicateError(ValueError):
    """A predicate is invalid; the message names it and the problem.

    Attributes:
        field: The invalid field; empty if the problem is not in one field.
    """

    def __init__(self, message: str, *, field: str = '') -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Line:
    """Log-odds as a function of a cosine: `slope * cosine + offset`."""

    slope: float
    offset: float


@dataclass(frozen=True, slots=True)
class Predicate:
    """A yes/no question about the surroundings.

    Attributes:
        name: Unique name, used in topics and services.
        positive: Sentences that express that it holds; at least one.
        negative: Sentences that express that it does not hold; at least one.
        modalities: Use only these; empty for all. A part of a view (`depth@gripper`) is used only
            where it is named here.
        threshold_on: The state becomes TRUE at this probability or above.
        threshold_off: The state becomes FALSE at this probability or below; at most
            `threshold_on`.
        dwell_ms: Time for which a threshold must stay crossed before the state changes.
        max_age_ms: Maximum age of evidence.
        templates: Patterns into which every sentence is inserted at `{}`; vectors are averaged.
        weights: By modality, the factor of its log-odds in the fusion; for other modalities, that
            of the model set's calibration.
        calibration: By modality, cosine to log-odds; for other modalities, that of the model set.
        calibration_space: Language space in which `calibration` was fitted.
    """

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    modalities: tuple[str, ...] = ()
    threshold_on: float = 0.6
    threshold_off: float = 0.4
    dwell_ms: float = 150.0
    max_age_ms: float = 1000.0
    templates: tuple[str, ...] = ('{}',)
    weights: Mapping[str, float] = field(default_factory=dict, hash=False)
    calibration: Mapping[str, Line] = field(default_factory=dict, hash=False)
    calibration_space: str = ''

    def __post_init__(self) -> None:
        # A question is named after its sentence; what is wrong with it is the sentence's fault.
        is_question = self.name in self.positive
        if not is_question and (not self.name.strip() or not self.name.isprintable()):
            raise PredicateError(
                f'a predicate needs a name of printable characters, not {self.name!r}',
                field='name',
            )
        self._check_sentences()
        self._check_modalities()
        self._check_numbers()

    @property
    def sentences(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Positive and negative sentences, inserted into every template."""

        def filled(side: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(
                template.replace('{}', sentence)
                for sentence in side
                for template in self.templates
            )

        return filled(self.positive), filled(self.negative)

    def _refuse(self, where: str, what: str) -> NoReturn:
        raise PredicateError(f'predicate {self.name!r}: {where}: {what}', field=where)

    def _check_sentences(self) -> None:
        for side in ('positive', 'negative', 'templates'):
            sentences = getattr(self, side)
            if not sentences:
                self._refuse(side, 'needs non-empty sentences')
            for sentence in sentences:
                if not isinstance(sentence, str) or not sentence.strip():
                    self._refuse(side, f'needs non-empty sentences, not {sentence!r}')
                if not sentence.isprintable():
                    self._refuse(side, f'{sentence!r} has control characters')
                if len(sentence) > MAX_SENTENCE:
                    self._refuse(side, f'a sentence has more than {MAX_SENTENCE} characters')
        for side in ('positive', 'negative'):
            count = len(getattr(self, side)) * len(self.templates)
            if count > MAX_SENTENCES:
                self._refuse(side, f'{count} sentences are more than {MAX_SENTENCES}')
        for template in self.templates:
            if template.count('{}') != 1:
                self._refuse('templates', f'{template!r} needs one {{}} for the sentence')

    def _check_modalities(self) -> None:
        for where in ('modalities', 'weights', 'calibration'):
            for name in getattr(self, where):
                if name not in MODALITIES and not is_region(name):
                    known = f'{", ".join(MODALITIES)}, or a region as in depth@gripper'
                    self._refuse(where, f'unknown modality {name!r}, expected some of {known}')
        for where in ('weights', 'calibration'):
            for name in getattr(self, where):
                if self.modalities and name not in self.modalities:
                    self._refuse(where, f'{name} is none of its modalities')
        if self.calibration and not self.calibration_space:
            self._refuse('calibration', 'needs the language space it was fitted in')

    def _check_numbers(self) -> None:
        def check(where: str, value: object, holds: Callable[[float], bool], rule: str) -> None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                self._refuse(where, f'must be a number, not {value!r}')
            if not math.isfinite(value) or not holds(value):
                self._refuse(where, f'must be {rule}, not {value}')

        for where in ('threshold_on', 'threshold_off'):
            check(where, getattr(self, where), lambda v: 0 < v < 1, 'above 0 and below 1')
        if self.threshold_off > self.threshold_on:
            self._refuse(
                'threshold_off',
                f'thresholds must satisfy off ({self.threshold_off}) <= on ({self.threshold_on})',
            )
        check('dwell_ms', self.dwell_ms, lambda v: v >= 0, '0 or more')
        check('max_age_ms', self.max_age_ms, lambda v: v > 0, 'above 0')
        for name, weight in self.weights.items():
            check('weights', weight, lambda v: v >= 0, f'0 or more for {name}')
        for name, line in self.calibration.items():
            for value in (line.slope, line.offset):
                check('calibration', value, lambda v: True, f'finite for {name}')

    @classmethod
    def from_sentence(cls, sentence: str, *, name: str | None = None) -> Predicate:
        """Make a predicate from one statement; negative sentences are derived from it.

        Args:
            sentence: A statement, for example `the drawer is open`.
            name: Name of the predicate; None uses the sentence.

        Raises:
            PredicateError: The sentence is empty.
        """
        statement = sentence.strip().rstrip('.!')
        if not statement:
            raise PredicateError('a sentence must not be empty', field='positive')
        return cls(name or sentence.strip(), (statement,), negate(statement))


def check_regions(predicate: Predicate, known: Sequence[str]) -> None:
    """Refuse a predicate that names a part of a view that does not exist.

    Raises:
        PredicateError: The message has the known ones, and where to declare others.
    """
    for where in ('modalities', 'weights', 'calibration'):
        for name in getattr(predicate, where):
            if is_region(name) and name not in known:
                there = f'known: {", ".join(known)}' if known else 'there are none'
                raise PredicateError(
                    f'predicate {predicate.name!r}: {where}: unknown region {name!r} ({there}); '
                    f'declare it in the parameter regions, or with --region offline',
                    field=where,
                )


@lru_cache(maxsize=4096)
def negate(statement: str) -> tuple[str, ...]:
    """Return opposite sentences: without the negation, with an antonym, or else with a "not"."""
    if is_negated(statement):
        return (_NEGATION.sub('', statement, count=1),)
    found = []
    for one, other in OPPOSITES:
        for word, opposite in ((one, other), (other, one)):
            changed = re.sub(rf'\b{word}\b', opposite, statement, count=1)
            if changed != statement:
                found.append(changed)
    return tuple(dict.fromkeys(found)) or (deny(statement),)


def is_negated(statement: str) -> bool:
    """Whether a statement contains a word of negation."""
    return _NEGATION.search(statement) is not None


def deny(statement: str) -> str:
    """Return the statement with a "not"."""
    for verb in VERBS:
        changed = re.sub(rf'\b{verb}\b', f'{verb} not', statement, count=1)
        if changed != statement:
            return changed
    return f'it is not true that {statement}'
