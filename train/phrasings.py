"""What people say when a fact holds or does not hold: sentences for `relation(argument, ...)`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from encoders.shipped import shipped

FACT = re.compile(r'^\s*(?P<relation>[\w ]+?)\s*\((?P<arguments>[^()]*)\)\s*$')
SLOTS = ('x', 'y')
SOMETHING = ('holding', 'lifted', 'contact')
# Pronouns take no article, nor an adjective before them.
PRONOUN = '(?:some|any|every)(?:thing|one|body)|nothing|nobody'
ARTICLE = re.compile(rf'\b(?:the|an?) (?=(?:{PRONOUN})\b)', re.I)
QUALIFIED = re.compile(rf'\b(?:the|an?) \w+ (?:{PRONOUN})\b', re.I)


class WordingError(KeyError, ValueError):
    """No wording fits a predicate; the text names both."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Fact:
    """A predicate of the ground truth, taken apart.

    Attributes:
        relation: For example `in`.
        arguments: Noun phrases without articles, for example `('black bowl', 'top drawer')`.
    """

    relation: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, predicate: str) -> Fact:
        """Take `relation(argument[, argument])` apart.

        Raises:
            ValueError: The text is not of that form.
        """
        found = FACT.match(predicate)
        if found is None:
            raise ValueError(f'{predicate!r} is not of the form relation(argument[, argument])')
        arguments = tuple(part.strip() for part in found['arguments'].split(',') if part.strip())
        return cls(found['relation'], arguments)


@dataclass(frozen=True, slots=True)
class Wording:
    """Sentence patterns of one relation.

    Attributes:
        positive: Patterns with slots {x} and {y} that say the fact holds.
        negative: Patterns that say it does not hold.
        kinds: Further patterns that apply when the first argument contains the key as a word.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    kinds: Mapping[str, Wording] = field(default_factory=dict)

    def for_argument(self, argument: str) -> Wording:
        """All patterns that fit an argument, those of its kinds included."""
        positive, negative = list(self.positive), list(self.negative)
        for kind, extra in self.kinds.items():
            if kind in argument.split():
                positive += extra.positive
                negative += extra.negative
        return Wording(tuple(positive), tuple(negative))


@dataclass(frozen=True, slots=True)
class Sentences:
    """Sentences for one fact: `positive` say it holds, `negative` that it does not."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


@dataclass(frozen=True)
class Phrasings:
    """All wordings of one file.

    Attributes:
        relations: Relation name to its patterns; `holding something` is a relation of its own.
        objects: Other names of things.
        names: Patterns with the slot {x} that say what a thing is.
    """

    relations: Mapping[str, Wording]
    objects: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...] = ('a {x}',)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Phrasings:
        """Load `trained`, `unseen`, or any file of the same layout.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: A relation lacks positive or negative patterns, or has an unknown key or
            slot.
        """
        path = Path(name_or_path)
        if not path.suffix:
            path = shipped(f'config/phrasings/{name_or_path}.yaml')
        try:
            loaded = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            raise ValueError(f'{path}: {" ".join(str(error).split())}') from error
        if not isinstance(loaded, dict) or not isinstance(loaded.get('relations'), dict):
            raise ValueError(f'{path}: expected a mapping with the key `relations`')
        relations = {
            str(name): _wording(entry, f'{path}: relation {name!r}')
            for name, entry in loaded['relations'].items()
        }
        objects = {str(k): tuple(v) for k, v in (loaded.get('objects') or {}).items()}
        names = _patterns(loaded.get('names') or ['a {x}'], 'name', str(path))
        return cls(relations, objects, names)

    def knows(self, predicate: str) -> bool:
        """Whether there are sentences for this predicate."""
        try:
            return bool(self.sentences(predicate).positive)
        except ValueError:
            return False

    def sentences(self, predicate: str, *, synonyms: int = 0) -> Sentences:
        """Sentences for and against one predicate.

        Args:
            predicate: For example `in(black bowl, top drawer)`.
            synonyms: How many other names of each argument to use besides its own.

        Raises:
            ValueError: The predicate is of no known form, or no relation of this file fits it
                (`WordingError`).
        """
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

    def named(self, name: str) -> tuple[str, ...]:
        """What a thing of that name is called, one text per pattern."""
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
    """The noun phrase of an argument: programs write `the_top_drawer`, and patterns an article."""
    return re.sub(r'^(?:the|an?) ', '', argument.replace('_', ' ').strip(), flags=re.I)


def _wording(entry: object, where: str) -> Wording:
    if not isinstance(entry, Mapping):
        raise ValueError(f'{where}: expected lists of positive and negative patterns')
    unknown = set(entry) - {'positive', 'negative', 'kinds'}
    if unknown:
        raise ValueError(f'{where}: unknown key {sorted(unknown)[0]!r}')
    positive, negative = (_patterns(entry.get(side), side, where) for side in SIDES)
    kinds = entry.get('kinds') or {}
    if not isinstance(kinds, Mapping):
        raise ValueError(f'{where}: kinds must map a word to patterns')
    return Wording(
        positive,
        negative,
        {str(kind): _wording(extra, f'{where}, kind {kind!r}') for kind, extra in kinds.items()},
    )


SIDES = ('positive', 'negative')


def _patterns(patterns: object, side: str, where: str) -> tuple[str, ...]:
    if not isinstance(patterns, list) or not patterns:
        raise ValueError(f'{where}: needs a list of {side} patterns')
    for pattern in patterns:
        slots = set(re.findall(r'\{(\w*)\}', str(pattern)))
        if not slots <= set(SLOTS):
            raise ValueError(f'{where}: unknown slot in {pattern!r}, expected {{x}} or {{y}}')
    return tuple(str(pattern) for pattern in patterns)


def _fill_all(patterns: tuple[str, ...], fillings: list[dict[str, str]]) -> tuple[str, ...]:
    filled = [pattern.format_map(filling) for filling in fillings for pattern in patterns]
    sentences = [sentence for sentence in filled if not QUALIFIED.search(sentence)]
    return tuple(dict.fromkeys(_grammar(sentence) for sentence in sentences or filled))


def _grammar(sentence: str) -> str:
    return re.sub(r'\b([Aa]) (?=[aeio])', r'\1n ', ARTICLE.sub('', sentence))


def relation_of(predicate: str) -> str:
    """The relation of a predicate; `holding something` and its like are their own."""
    fact = Fact.parse(predicate)
    if fact.arguments[-1:] == ('something',) and fact.relation in SOMETHING:
        return f'{fact.relation} something'
    return fact.relation
