"""Sentences for `relation(argument, ...)`: wordings of the fact and of its negation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from encoders.shipped import shipped
from train.validated import STRICT, read_record

FACT = re.compile(r'^\s*(?P<relation>[\w ]+?)\s*\((?P<arguments>[^()]*)\)\s*$')
SLOTS = ('x', 'y')
SOMETHING = ('holding', 'lifted', 'contact')
# Pronouns take no article and no preceding adjective.
PRONOUN = '(?:some|any|every)(?:thing|one|body)|nothing|nobody'
ARTICLE = re.compile(rf'\b(?:the|an?) (?=(?:{PRONOUN})\b)', re.I)
QUALIFIED = re.compile(rf'\b(?:the|an?) \w+ (?:{PRONOUN})\b', re.I)


class WordingError(KeyError, ValueError):
    """No wording fits a predicate; the message names both."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Fact:
    """A parsed predicate of the ground truth.

    Attributes:
        relation: For example `in`.
        arguments: Noun phrases without articles, for example `('black bowl', 'top drawer')`.
    """

    relation: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, predicate: str) -> Fact:
        """Parse `relation(argument[, argument])`.

        Raises:
            ValueError: The text does not have that form.
        """
        found = FACT.match(predicate)
        if found is None:
            raise ValueError(f'{predicate!r} is not of the form relation(argument[, argument])')
        arguments = tuple(part.strip() for part in found['arguments'].split(',') if part.strip())
        return cls(found['relation'], arguments)


def _with_known_slots(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not patterns:
        raise ValueError('must have at least one pattern')
    for pattern in patterns:
        if not set(re.findall(r'\{(\w*)\}', pattern)) <= set(SLOTS):
            raise ValueError(f'unknown slot in {pattern!r}, expected {{x}} or {{y}}')
    return patterns


Patterns = Annotated[tuple[str, ...], AfterValidator(_with_known_slots)]


@dataclass(frozen=True, slots=True, config=STRICT)
class Wording:
    """Sentence patterns of one relation.

    Attributes:
        positive: Patterns with slots {x} and {y} that state the fact.
        negative: Patterns that negate the fact.
        kinds: Further patterns that apply if the first argument contains the key as a word.
    """

    positive: Patterns
    negative: Patterns
    kinds: Mapping[str, Wording] = Field(default_factory=dict)

    def for_argument(self, argument: str) -> Wording:
        """All patterns that fit an argument, including those of its kinds."""
        positive, negative = list(self.positive), list(self.negative)
        for kind, extra in self.kinds.items():
            if kind in argument.split():
                positive += extra.positive
                negative += extra.negative
        return Wording(tuple(positive), tuple(negative))


@dataclass(frozen=True, slots=True)
class Sentences:
    """Sentences for one fact: `positive` state it, `negative` negate it."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


@dataclass(frozen=True, config=STRICT)
class Phrasings:
    """All wordings of one file.

    Attributes:
        relations: Relation name to its patterns; `holding something` is a separate relation.
        objects: Other names of things.
        names: Patterns with the slot {x} that name a thing.
        own: Sentences of predicates that are no facts, by name.
    """

    relations: Mapping[str, Wording]
    objects: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    names: Patterns = ('a {x}',)
    own: Mapping[str, Sentences] = Field(default_factory=dict)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Phrasings:
        """Load `trained`, `unseen`, `check`, or any file of the same layout.

        Raises:
            FileNotFoundError: There is no such file.
            InvalidRecordError: A relation lacks positive or negative patterns, or has an unknown
                key or slot; one line for each, with file, line and key.
        """
        path = Path(name_or_path)
        if not path.suffix:
            path = shipped(f'config/phrasings/{name_or_path}.yaml')
        return read_record(path, cls)

    def knows(self, predicate: str) -> bool:
        """Whether there are sentences for this predicate or its relation."""
        if predicate in self.own:
            return True
        try:
            return self._relation_key(Fact.parse(predicate)) is not None
        except ValueError:
            return False

    def sentences(self, predicate: str, *, synonyms: int = 0) -> Sentences:
        """Return sentences that state and that negate a predicate.

        Args:
            predicate: For example `in(black bowl, top drawer)`.
            synonyms: Number of other names of each argument to use in addition to its own.

        Raises:
            ValueError: The predicate is malformed, or no relation of this file fits it
                (`WordingError`).
        """
        if predicate in self.own:
            return self.own[predicate]
        fact = Fact.parse(predicate)
        key = self._relation_key(fact)
        if key is None:
            known = ', '.join(sorted(self.relations))
            raise WordingError(
                f'no phrasings for {predicate!r}, expected RELATION(ARGUMENT) with one of {known}'
            )
        first = fact.arguments[0] if fact.arguments else ''
        wording = self.relations[key].for_argument(first)
        fillings = self._fillings(fact, synonyms)
        try:
            return Sentences(
                _fill_all(wording.positive, fillings), _fill_all(wording.negative, fillings)
            )
        except KeyError:
            raise WordingError(f'{predicate!r} has too few arguments for {key!r}') from None

    def arguments(self, predicate: str) -> tuple[tuple[str, ...], ...]:
        """Return all names of each argument of a predicate, its own first, without articles.

        A relation such as `holding something` has none.
        """
        fact = Fact.parse(predicate)
        if self._relation_key(fact) != fact.relation:
            return ()
        return tuple((_noun(name), *self.objects.get(name, ())) for name in fact.arguments)

    def named(self, name: str) -> tuple[str, ...]:
        """Texts that name a thing, one per pattern."""
        return tuple(_grammar(pattern.format(x=name)) for pattern in self.names)

    def _relation_key(self, fact: Fact) -> str | None:
        special = f'{fact.relation} something'
        if fact.arguments == ('something',) and special in self.relations:
            return special
        return fact.relation if fact.relation in self.relations else None

    def _fillings(self, fact: Fact, synonyms: int) -> list[dict[str, str]]:
        names = [
            (_noun(argument), *self.objects.get(argument, ())[:synonyms])
            for argument in fact.arguments
        ]
        own = {slot: options[0] for slot, options in zip(SLOTS, names, strict=False)}
        fillings = [own]
        for slot, options in zip(SLOTS, names, strict=False):
            fillings += [{**own, slot: other} for other in options[1:]]
        return fillings


def _noun(argument: str) -> str:
    """The noun phrase of an argument, without article (patterns have one) or underscores."""
    return re.sub(r'^(?:the|an?) ', '', argument.replace('_', ' ').strip(), flags=re.I)


def _fill_all(patterns: tuple[str, ...], fillings: list[dict[str, str]]) -> tuple[str, ...]:
    filled = [pattern.format_map(filling) for filling in fillings for pattern in patterns]
    sentences = [sentence for sentence in filled if not QUALIFIED.search(sentence)]
    return tuple(dict.fromkeys(_grammar(sentence) for sentence in sentences or filled))


def _grammar(sentence: str) -> str:
    return re.sub(r'\b([Aa]) (?=[aeio])', r'\1n ', ARTICLE.sub('', sentence))


def relation_of(predicate: str) -> str:
    """The relation of a predicate; `holding something` and similar are separate relations.

    A predicate that is no fact is a relation of its own.
    """
    if FACT.match(predicate) is None:
        return predicate
    fact = Fact.parse(predicate)
    if fact.arguments[-1:] == ('something',) and fact.relation in SOMETHING:
        return f'{fact.relation} something'
    return fact.relation
