"""A vocabulary from captions: nouns, verbs, adjectives and noun phrases, balanced.

VIDAL-10M (Zhu et al., ICLR 2024, section 4.1) collects its clips by search terms that are taken
from the captions and labels of several data sets and balanced by part of speech.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOUN, VERB, ADJECTIVE, PHRASE = KINDS = 'noun', 'verb', 'adjective', 'noun phrase'
# Of universal parts of speech (universaldependencies.org).
PARTS = {'NOUN': NOUN, 'PROPN': NOUN, 'VERB': VERB, 'ADJ': ADJECTIVE}
TEXT_KEYS = ('caption', 'text', 'sentence', 'label', 'title', 'captions', 'texts')
DEFAULT_TAGGER = 'en_core_web_sm'


@dataclass(frozen=True, slots=True)
class VocabularyOptions:
    """Which entries are kept.

    Attributes:
        size: Most entries.
        kinds: Kinds of entries; each gets an equal share of `size`, and what it cannot use goes
            to the others.
        min_count: Captions in which an entry must occur.
        min_letters: Letters of a word, at least.
        max_words: Words of a noun phrase, at most.
    """

    size: int
    kinds: Sequence[str] = KINDS
    min_count: int = 2
    min_letters: int = 3
    max_words: int = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a vocabulary.

    Attributes:
        text: Lemma of a word, or words of a noun phrase.
        kind: One of `KINDS`.
        count: Captions in which it occurs.
        sources: The same by source.
    """

    text: str
    kind: str
    count: int
    sources: Mapping[str, int]


@dataclass(slots=True)
class Counts:
    """Counts of the entries of captions, by kind and entry, then by source."""

    entries: dict[tuple[str, str], Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    captions: Counter[str] = field(default_factory=Counter)


def load_tagger(name: str) -> Any:
    """Load a pipeline of spaCy: an installed one by name, or a folder.

    Raises:
        ValueError: spaCy or the pipeline is missing, or it tags no parts of speech.
    """
    try:
        import spacy
    except ImportError as error:
        raise ValueError('a vocabulary needs spaCy: pip install "lb_ros[vocabulary]"') from error
    try:
        tagger = spacy.load(name, exclude=['ner'])
    except OSError as error:
        raise ValueError(
            f'{name}: no pipeline of spaCy; install it: python -m spacy download {name}'
        ) from error
    if not {'morphologizer', 'tagger', 'attribute_ruler'} & set(tagger.pipe_names):
        raise ValueError(f'{name}: the pipeline tags no parts of speech, only {tagger.pipe_names}')
    return tagger


def count_entries(
    tagger: Any, captions: Iterable[tuple[str, str]], options: VocabularyOptions
) -> Counts:
    """Count entries of captions; an equal caption of the same source counts once.

    Args:
        tagger: See `load_tagger`.
        captions: Pairs of source and caption.
        options: Which entries count.
    """
    counts = Counts()
    once = dict.fromkeys((source, ' '.join(text.split())) for source, text in captions)
    texts = ((text, source) for source, text in once if text)
    for document, source in tagger.pipe(texts, as_tuples=True):
        counts.captions[source] += 1
        for key in set(_entries(document, options)):
            counts.entries[key][source] += 1
    return counts


def _entries(document: Any, options: VocabularyOptions) -> Iterator[tuple[str, str]]:
    """Kind and text of every entry of a tagged caption."""
    for token in document:
        kind = PARTS.get(token.pos_, '')
        if kind in options.kinds and _is_word(token, options):
            yield kind, _lemma(token)
    if PHRASE in options.kinds:
        yield from ((PHRASE, phrase) for phrase in _phrases(document, options))


def _phrases(document: Any, options: VocabularyOptions) -> Iterator[str]:
    """Adjectives and nouns in a row that end with a noun, of two words or more."""
    row: list[Any] = []
    for token in (*document, None):
        if token is not None and PARTS.get(token.pos_) in (NOUN, ADJECTIVE) and token.is_alpha:
            row.append(token)
            continue
        while row and PARTS.get(row[-1].pos_) != NOUN:
            row.pop()
        if 2 <= len(row) <= options.max_words:
            yield ' '.join([*(t.lower_ for t in row[:-1]), _lemma(row[-1])])
        row = []


def _is_word(token: Any, options: VocabularyOptions) -> bool:
    is_long = len(token.text) >= options.min_letters
    return bool(token.is_alpha and not token.is_stop and is_long)


def _lemma(token: Any) -> str:
    return str(token.lemma_ or token.text).lower()


def balanced_entries(counts: Counts, options: VocabularyOptions) -> list[Entry]:
    """Choose entries: kinds share the size equally, and the sources of a kind take turns.

    Within a source, the more frequent entry comes first. An entry that is chosen for one source is
    not chosen again for another.
    """
    by_kind: dict[str, list[Entry]] = {kind: [] for kind in options.kinds}
    for (kind, text), sources in counts.entries.items():
        if sources.total() >= options.min_count:
            by_kind[kind].append(Entry(text, kind, sources.total(), dict(sources)))
    ranked = {kind: _in_turns(entries) for kind, entries in by_kind.items()}
    shares = _shares({kind: len(found) for kind, found in ranked.items()}, options.size)
    return [entry for kind, found in ranked.items() for entry in found[: shares[kind]]]


def _in_turns(entries: Sequence[Entry]) -> list[Entry]:
    queues = {
        source: sorted(
            (entry for entry in entries if source in entry.sources),
            key=lambda entry: (-entry.sources[source], entry.text),
        )
        for source in sorted({source for entry in entries for source in entry.sources})
    }
    order: dict[str, Entry] = {}
    longest = max(map(len, queues.values()), default=0)
    waiting = {source: iter(queue) for source, queue in queues.items()}
    for _ in range(longest):
        for queue in waiting.values():
            entry = next((e for e in queue if e.text not in order), None)
            if entry is not None:
                order[entry.text] = entry
    return list(order.values())


def _shares(found: Mapping[str, int], size: int) -> dict[str, int]:
    """Divide a size equally; what a kind cannot use is divided among the others."""
    shares = dict.fromkeys(found, 0)
    left = min(size, sum(found.values()))
    while left:
        open_kinds = [kind for kind in found if shares[kind] < found[kind]]
        part = max(1, left // len(open_kinds))
        for kind in open_kinds:
            added = min(part, found[kind] - shares[kind], left)
            shares[kind] += added
            left -= added
    return shares


def read_captions(path: Path) -> Iterator[str]:
    """Yield the captions of a text, CSV, JSON or JSON-lines file.

    A text file has one caption per line. Of a table or of objects, the first of `TEXT_KEYS` that
    exists is read; a list of texts is read as it is, at any depth.

    Raises:
        OSError: The file cannot be read.
        ValueError: It has another form; the message names the file.
    """
    try:
        if path.suffix == '.csv':
            yield from _captions_of_table(path)
        elif path.suffix == '.json':
            yield from _captions_of(json.loads(path.read_text()))
        elif path.suffix == '.jsonl':
            for line in path.read_text().splitlines():
                yield from _captions_of(json.loads(line))
        else:
            yield from path.read_text().splitlines()
    except (json.JSONDecodeError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path}: {error}') from error


def _captions_of_table(path: Path) -> Iterator[str]:
    with path.open(newline='') as file:
        rows = csv.DictReader(file)
        column = next((key for key in TEXT_KEYS if key in (rows.fieldnames or ())), None)
        if column is None:
            raise ValueError(
                f'{path}: no column is named {", ".join(TEXT_KEYS)}, only {rows.fieldnames}'
            )
        yield from (row[column] or '' for row in rows)


def _captions_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _captions_of(item)
    elif isinstance(value, dict):
        key = next((key for key in TEXT_KEYS if key in value), None)
        # COCO and its like keep their captions in a list next to others.
        inner = [value[key]] if key else [v for v in value.values() if isinstance(v, list)]
        for item in inner:
            yield from _captions_of(item)
