"""Vocabularies from captions, with a small pipeline of spaCy made on the spot."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb_ros.cli import main
from tests.train.pairs.pair_bags import write_texts
from train.pairs.vocabulary import (
    Counts,
    VocabularyOptions,
    balanced_entries,
    count_entries,
    load_tagger,
    read_captions,
)

spacy = pytest.importorskip('spacy')
TAGS = {
    'NOUN': {'drawer': 'drawer', 'drawers': 'drawer', 'cup': 'cup', 'robot': 'robot'},
    'VERB': {'opens': 'open', 'opened': 'open', 'lifts': 'lift'},
    'ADJ': {'red': 'red', 'top': 'top', 'old': 'old'},
    'DET': {'the': 'the', 'a': 'a'},
}


@pytest.fixture(scope='module')
def tagger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that knows the words of `TAGS`."""
    pipeline = spacy.blank('en')
    ruler = pipeline.add_pipe('attribute_ruler')
    for part, words in TAGS.items():
        for word, lemma in words.items():
            ruler.add([[{'LOWER': word}]], {'POS': part, 'LEMMA': lemma})
    folder = tmp_path_factory.mktemp('spacy') / 'tiny'
    pipeline.to_disk(folder)
    return folder


@pytest.fixture(scope='module')
def tagger(tagger_folder: Path) -> Any:
    return load_tagger(str(tagger_folder))


def counted(tagger: Any, *captions: str, **options: Any) -> dict[tuple[str, str], int]:
    given = VocabularyOptions(size=10, **options)
    counts = count_entries(tagger, (('x', caption) for caption in captions), given)
    return {key: sources.total() for key, sources in counts.entries.items()}


def test_words_by_lemma_and_phrases(tagger: Any) -> None:
    assert counted(tagger, 'The robot opened the top red drawers', 'A robot opens a Cup') == {
        ('noun', 'robot'): 2,
        ('noun', 'drawer'): 1,
        ('noun', 'cup'): 1,
        ('verb', 'open'): 2,
        ('adjective', 'red'): 1,
        ('noun phrase', 'top red drawer'): 1,
    }  # `top` is a stop word


def test_filters(tagger: Any) -> None:
    assert counted(tagger, 'red cup', 'red  cup', kinds=('noun',)) == {('noun', 'cup'): 1}
    assert ('noun phrase', 'old red cup') not in counted(tagger, 'old red cup', max_words=2)
    assert counted(tagger, 'red cup', kinds=('noun', 'adjective'), min_letters=4) == {}


def entry_counts(**kinds: dict[str, dict[str, int]]) -> Counts:
    counts = Counts()
    for kind, entries in kinds.items():
        for text, sources in entries.items():
            counts.entries[kind, text] = Counter(sources)
    return counts


def test_kinds_share_the_size_and_sources_take_turns() -> None:
    nouns = {f'n{k}': {'big': 1000 - k} for k in range(20)} | {'rare': {'small': 2}}
    counts = entry_counts(noun=nouns, verb={'v': {'big': 5}})
    options = VocabularyOptions(size=6, kinds=('noun', 'verb'))
    chosen = [entry.text for entry in balanced_entries(counts, options)]
    assert chosen == ['n0', 'rare', 'n1', 'n2', 'n3', 'v']


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(['noun', 'verb']), st.text('abc', min_size=1, max_size=3)),
        st.dictionaries(st.sampled_from(['s', 't']), st.integers(1, 9), min_size=1),
    ),
    st.integers(1, 12),
)
def test_the_size_is_used_and_nothing_twice(
    found: dict[tuple[str, str], dict[str, int]], size: int
) -> None:
    counts = Counts()
    for key, sources in found.items():
        counts.entries[key] = Counter(sources)
    options = VocabularyOptions(size=size, kinds=('noun', 'verb'), min_count=1)
    chosen = balanced_entries(counts, options)
    keys = [(entry.kind, entry.text) for entry in chosen]
    assert len(keys) == len(set(keys)) == min(size, len(found))
    assert set(keys) <= set(found)
    by_kind = Counter(kind for kind, _ in keys)
    available = Counter(kind for kind, _ in found)
    least, most = sorted(by_kind[kind] for kind in ('noun', 'verb'))
    assert (
        most - least <= 1
        or any(by_kind[k] == available[k] == least for k in available)
        or (len(available) < 2)
    )


@pytest.mark.parametrize(
    ('name', 'content', 'expected'),
    [
        ('a.txt', 'one\ntwo\n', ['one', 'two']),
        ('a.csv', 'id,caption\n1,one\n2,"two, three"\n', ['one', 'two, three']),
        ('a.json', json.dumps({'annotations': [{'caption': 'one'}], 'info': {}}), ['one']),
        ('a.json', json.dumps(['one', ['two']]), ['one', 'two']),
        ('a.jsonl', '{"text": "one"}\n{"captions": ["two", "three"]}\n', ['one', 'two', 'three']),
    ],
)
def test_captions_of_files(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert list(read_captions(path)) == expected


@pytest.mark.parametrize(
    ('name', 'content', 'expected'),
    [
        ('a.json', '{', 'a.json: '),
        ('a.csv', 'x,y\n1,2\n', 'a.csv: no column is named caption, text'),
        ('a.txt', b'\xff\xfe', 'a.txt: '),
    ],
)
def test_unreadable_captions_are_named(
    tmp_path: Path, name: str, content: str | bytes, expected: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=expected):
        list(read_captions(path))


def test_the_command_reads_files_and_bags(
    tmp_path: Path, tagger_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_texts(tmp_path / 'bag', {'/task/text': [(0.0, 'Lifts the old cup')]}, frames_s=[0, 1])
    captions = tmp_path / 'captions.txt'
    captions.write_text('the red drawer\nthe robot opens the red drawer\n')
    words = ['train', 'vocabulary', str(captions), str(tmp_path / 'bag'), '--size', '4']
    words += ['--tagger', str(tagger_folder), '--min-count', '1']
    out = tmp_path / 'vocabulary.txt'
    assert main([*words, '--out', str(out)]) == 0
    assert out.read_text().split('\n')[:-1] == ['cup', 'lift', 'old', 'old cup']
    assert '4 entries (noun 1, verb 1, adjective 1, noun phrase 1)' in capsys.readouterr().out
    assert main([*words, '--out', str(out)]) == 2
    assert 'exists; give --overwrite' in capsys.readouterr().err
    assert main([*words, '--out', str(tmp_path / 'v.json')]) == 0
    described = json.loads((tmp_path / 'v.json').read_text())
    assert described[0] == {'text': 'cup', 'kind': 'noun', 'count': 1, 'sources': {'bag': 1}}


def test_a_missing_tagger_says_how_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'c.txt').write_text('a cup\n')
    words = ['train', 'vocabulary', str(tmp_path / 'c.txt'), '--size', '1', '--tagger', 'xx_none']
    assert main([*words, '--out', str(tmp_path / 'v.txt')]) == 2
    assert 'python -m spacy download xx_none' in capsys.readouterr().err
