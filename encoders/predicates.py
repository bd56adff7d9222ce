"""Predicates: a named question with sentences that say yes and sentences that say no."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from encoders.modalities import MODALITIES

# Pairs whose swap turns a statement about a state into its opposite; both directions hold.
OPPOSITES = (
    ('open', 'closed'), ('opened', 'closed'), ('on', 'off'), ('hot', 'cold'), ('warm', 'cool'),
    ('in', 'outside'), ('inside', 'outside'), ('full', 'empty'), ('holds', 'does not hold'),
    ('holding', 'not holding'), ('dropped', 'kept hold of'), ('fell', 'stayed in place'),
    ('lifted', 'resting on the table'), ('shut', 'open'), ('running', 'idle'),
    ('touching', 'away from'), ('touches', 'is away from'), ('loud', 'quiet'),
)  # fmt: skip
VERBS = ('is', 'are', 'was', 'were', 'has', 'have', 'can', 'does', 'do')


class PredicateError(ValueError):
    """A predicate is not usable; the text names it, its file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """A question about the world that sensors answer.

    Attributes:
        name: Unique name, used in topics and services.
        positive: Sentences that say it holds; at least one.
        negative: Sentences that say it does not hold; at least one.
        modalities: Ask only these; all where empty.
        threshold_on: Probability from which the state becomes TRUE.
        threshold_off: Probability to which it must fall to become FALSE; below `threshold_on`.
        dwell_ms: How long a threshold must stay crossed before the state changes.
        max_age_ms: Evidence older than this does not count.
    """

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    modalities: tuple[str, ...] = ()
    threshold_on: float = 0.6
    threshold_off: float = 0.4
    dwell_ms: float = 150.0
    max_age_ms: float = 1000.0

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise PredicateError('a predicate needs a name')
        for side in (self.positive, self.negative):
            if not side or any(not sentence.strip() for sentence in side):
                raise PredicateError(
                    f'predicate {self.name!r} needs non-empty positive and negative sentences'
                )
        for name in self.modalities:
            if name not in MODALITIES:
                raise PredicateError(
                    f'predicate {self.name!r}: unknown modality {name!r}, '
                    f'expected some of {", ".join(MODALITIES)}'
                )
        if not 0.0 < self.threshold_off <= self.threshold_on < 1.0:
            raise PredicateError(
                f'predicate {self.name!r}: thresholds must satisfy '
                f'0 < off ({self.threshold_off}) <= on ({self.threshold_on}) < 1'
            )
        if self.dwell_ms < 0 or self.max_age_ms <= 0:
            raise PredicateError(f'predicate {self.name!r}: dwell_ms >= 0 and max_age_ms > 0')

    @classmethod
    def from_sentence(cls, sentence: str, *, name: str | None = None) -> Predicate:
        """A predicate from one statement; its negative sentences are derived from it.

        Args:
            sentence: A statement, for example `the drawer is open`.
            name: Its name; the sentence itself where None.

        Raises:
            PredicateError: The sentence is empty.
        """
        statement = sentence.strip().rstrip('.!')
        if not statement:
            raise PredicateError('a sentence must not be empty')
        return cls(name or sentence.strip(), (statement,), negate(statement))


def negate(statement: str) -> tuple[str, ...]:
    """Sentences that say the opposite: by antonym where there is one, and by negation."""
    found = []
    for one, other in OPPOSITES:
        for word, opposite in ((one, other), (other, one)):
            changed = re.sub(rf'\b{word}\b', opposite, statement, count=1)
            if changed != statement:
                found.append(changed)
    for verb in VERBS:
        changed = re.sub(rf'\b{verb}\b', f'{verb} not', statement, count=1)
        if changed != statement:
            found.append(changed)
            break
    return tuple(dict.fromkeys(found)) or (f'it is not true that {statement}',)


def load_predicates(path: str | Path) -> list[Predicate]:
    """Read predicates from YAML: a mapping `predicates:` of name to its fields.

    A value may also be a single sentence, or be left out where the name is a sentence.

    Raises:
        PredicateError: The file cannot be read, or an entry is wrong; the message names it.
    """
    path = Path(path)
    try:
        loaded = yaml.safe_load(path.read_text())
    except OSError as error:
        raise PredicateError(f'{path}: {error.strerror}') from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())  # the parser writes a paragraph
        raise PredicateError(f'{path}: {reason}') from error
    entries = loaded.get('predicates') if isinstance(loaded, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise PredicateError(f'{path}: needs a mapping `predicates:` of name to sentences')
    try:
        return [predicate_from_entry(str(name), entry) for name, entry in entries.items()]
    except PredicateError as error:
        raise PredicateError(f'{path}: {error}') from error


def predicate_from_entry(name: str, entry: Mapping[str, Any] | str | None) -> Predicate:
    """One predicate from its YAML value.

    Raises:
        PredicateError: A key is unknown or a value of the wrong kind.
    """
    if entry is None or isinstance(entry, str):
        return Predicate.from_sentence(entry or name, name=name)
    if not isinstance(entry, Mapping):
        raise PredicateError(f'predicate {name!r}: {entry!r} is neither a sentence nor a mapping')
    known = {field.name for field in fields(Predicate)} - {'name'}
    for key in entry:
        if key not in known:
            raise PredicateError(
                f'predicate {name!r}: unknown key {key!r}, expected some of '
                f'{", ".join(sorted(known))}'
            )
    values: dict[str, Any] = {
        k: _tuple(v) if isinstance(v, list | str) else v for k, v in entry.items()
    }
    positive = values.setdefault('positive', (name,))
    for side in ('positive', 'negative'):
        if not isinstance(values.get(side, ()), tuple):
            raise PredicateError(f'predicate {name!r}: {side} must be sentences')
    values.setdefault('negative', tuple(s for sentence in positive for s in negate(sentence)))
    try:
        return Predicate(name=name, **values)
    except TypeError as error:
        raise PredicateError(f'predicate {name!r}: {error}') from error


def _tuple(value: list[Any] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value)
