"""Files of labels, and what samples, pairs and teaching take from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders import Predicate
from encoders.preprocess import mini_config
from train.bags.labelled import LabelSet, read_labels
from train.bags.labels import (
    Label,
    check_columns,
    labels_path,
    name_of,
    read_label_file,
    sensor_start_ns,
    without_overlaps,
    write_label_file,
)
from train.bags.load import load_samples
from train.bags.samples import FALSE, TRUE, UNKNOWN
from train.pairs.make import plan_pairs
from train.pairs.options import PairOptions, PairsReport
from train.phrasings import Phrasings
from train.teaching.labels import read_labels as teaching_labels

HEAD = 'bag,predicate,start_s,end_s,truth\n'
SECOND_NS = 1_000_000_000
SENTENCE = 'the lid is screwed on'
MOMENTS = [{'open(top drawer)': False}] * 20


def label(start_s: float, end_s: float, truth: bool | None, name: str = SENTENCE) -> Label:
    return Label('one', name, truth, round(start_s * 1e9), round(end_s * 1e9))


@pytest.fixture(scope='module')
def bag(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds."""
    return drawn.write(tmp_path_factory.mktemp('labelled') / 'one', MOMENTS)  # type: ignore[no-any-return]


def file_of(folder: Path, *rows: str) -> Path:
    path = folder / 'one.labels.csv'
    path.write_text(HEAD + ''.join(f'{row}\n' for row in rows))
    return path


def read(folder: Path, *rows: str) -> LabelSet:
    known = [Predicate('lid', (SENTENCE,), ('the lid is off',))]
    return read_labels([file_of(folder, *rows)], known=known, phrasings=Phrasings.load('trained'))


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    odd = 'a "lid", screwed on'
    labels = [label(0, 1.25, True), label(2.000000001, 2.000000001, None, odd), label(3, 4, False)]
    path = tmp_path / 'x.csv'
    write_label_file(path, labels)
    assert read_label_file(path) == labels
    assert path.read_text().splitlines()[:2] == [HEAD.strip(), f'one,{SENTENCE},0,1.25,true']
    assert [each.line for each in read_label_file(path)] == [2, 3, 4]
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes().replace(b'\n', b'\r\n'))  # a spreadsheet
    assert read_label_file(path) == labels


times = st.integers(0, 12).map(float)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(times, times, st.sampled_from([True, False, None])), max_size=6))
def test_the_later_of_two_overlapping_stretches_holds(rows: list[Any]) -> None:
    labels = [label(min(a, b), max(a, b), truth) for a, b, truth in rows]
    kept = without_overlaps(labels)
    for tenth in range(130):
        now_ns = tenth * SECOND_NS // 10
        covering = [each for each in labels if each.covers(now_ns)]
        found = {each.truth for each in kept if each.covers(now_ns)}
        if covering and tenth % 10:  # at whole seconds, moments lie within stretches
            assert found == {covering[-1].truth}
        elif covering:
            assert covering[-1].truth in found
        else:
            assert not found


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        (b'bag,predicate,start_s,end_s\n', ':1: no column truth; needs bag,predicate,'),
        (b'', ':1: no column bag, predicate'),
        (HEAD.encode() + b'one,x,0,1,true\none,x,0,1,maybe\n', ':3: truth must be true, false or'),
        (HEAD.encode() + b'one,x,0,1,true,more\n', ':2: more than 5 cells: put quotes around'),
        (HEAD.encode() + b'one,"x,0,1,true\n', ':2: unexpected end of data; is a quote missing'),
        (HEAD.encode() + b'one,x,nan,1,true\n', ':2: start_s must be 0 or more seconds'),
        (HEAD.encode() + b'one,x,0,1,true\none,\xff,0,1,true\n', ':3: is not UTF-8'),
    ],
)
def test_a_malformed_file_is_named_with_its_line(
    content: bytes, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / 'x.csv'
    path.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        read_label_file(path)
    assert f'{path}{complaint}' in str(refused.value)


def test_a_column_that_would_be_lost_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'x.csv'
    path.write_text('bag,predicate,start_s,end_s,truth,note\n')
    with pytest.raises(ValueError, match=r':1: column note would be lost; .* with --labels'):
        check_columns(path)


def test_names_and_times_of_a_bag(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name_of(bag) == name_of(bag / '..' / 'one') == 'one'
    (storage,) = bag.glob('*.mcap')
    assert name_of(storage) == storage.stem
    assert labels_path(bag) == bag.parent / 'one.labels.csv'
    monkeypatch.chdir(bag)
    assert labels_path(Path()).name == 'one.labels.csv' and name_of(Path()) == 'one'
    # The first image, although its sound began half a second before.
    assert sensor_start_ns(bag) == 1_700_000_000_500_000_000
    assert sensor_start_ns(bag, {'depth': ('/no/such/topic',)}) == 1_700_000_000_500_000_000


def test_labels_replace_the_ground_truth_of_samples(bag: Path, tmp_path: Path) -> None:
    rows = ['one,lid,0,3,true', 'one,lid,3,6,false', f'one,{SENTENCE},1,2,true',
            'one,lid,4,5,unclear', 'two,lid,0,9,true']  # fmt: skip
    labels = read(tmp_path, *rows)
    configs = {'depth': mini_config('depth', {'size': 32})}
    samples, report = load_samples([bag], configs, cache=tmp_path / 'cache', labels=labels)
    assert report.moments == len(samples) and samples.predicates == ('lid', SENTENCE)
    lid = samples.truth[:, 0]
    times_s = samples.times_s + 0.25  # since the first sample
    assert {FALSE, TRUE} <= set(lid.tolist()) <= {FALSE, TRUE, UNKNOWN}
    assert (lid[times_s < 3] == TRUE).all() and (lid[(times_s > 3) & (times_s < 4)] == FALSE).all()
    assert (lid[(times_s >= 4) & (times_s < 5)] == UNKNOWN).all() and (lid == FALSE).sum() == 4
    again, _ = load_samples([bag], configs, cache=tmp_path / 'cache', labels=labels)
    assert (again.truth == samples.truth).all()
    truth, _ = load_samples([bag], configs, cache=tmp_path / 'cache')
    assert truth.predicates == ('open(top drawer)',)  # the cache keeps them apart
    nothing, report = load_samples([bag], configs, labels=LabelSet(()))
    assert not len(nothing) and 'it has no labels; the bag is skipped' in report.problems[0]


def test_labels_give_pairs_sentences_and_unclear_ones_none(bag: Path, tmp_path: Path) -> None:
    rows = ['one,lid,0,3,true', 'one,lid,3,6,false', 'one,open(top drawer),0,9,unclear',
            'one,lid,5,6,unclear', 'one,lid,70,80,true', 'two,lid,0,9,true']  # fmt: skip
    report = PairsReport()
    options = PairOptions(modalities=('depth',), sentences_per_fact=9, max_texts=9)
    plan = plan_pairs([bag], options, report=report, labels=read(tmp_path, *rows))
    said: dict[str, list[float]] = {}
    for window in plan.windows[0]:
        for text in window.texts:
            at_s = (window.at_ns - 1_700_000_000_500_000_000) * 1e-9
            said.setdefault(text.text, []).append(at_s)
    off_s = said['the lid is off']
    assert max(said[SENTENCE]) < 3 <= min(off_s) <= max(off_s) < 5
    of_truth = [times for text, times in said.items() if 'drawer' in text]
    assert of_truth and min(map(min, of_truth)) >= 9
    assert report.dropped['labels outside the recording'] == 1
    assert any("no bag is named 'two'" in line for line in report.problems)


def test_pairs_at_the_labels_are_as_long_as_these(bag: Path, tmp_path: Path) -> None:
    options = PairOptions(modalities=('audio',), windows_at='texts')
    labels = read(tmp_path, 'one,lid,1,2,true', 'one,lid,4,5,unclear', 'one,lid,6,8,false')
    report = PairsReport()
    plan = plan_pairs([bag], options, report=report, labels=labels)
    windows = [(w.end_ns - w.start_ns) * 1e-9 for w in plan.windows[0] if 'lid' in w.facts]
    assert windows == [1.0, 2.0]


def test_teaching_leaves_out_what_is_unclear(tmp_path: Path) -> None:
    rows = ['one,lid,0,4,true', 'one,lid,1,2,unclear', 'one,lid,3,6,false']
    found = teaching_labels(str(file_of(tmp_path, *rows)))
    (stretches,) = found.by_bag.values()  # type: ignore[union-attr]
    parts = [(s.start_ns / SECOND_NS, s.end_ns / SECOND_NS, s.truth) for s in stretches]
    assert parts == [(0, 1, True), (2, 3, True), (3, 6, False)]
    with pytest.raises(ValueError, match='has no labels that are true or false'):
        teaching_labels(str(file_of(tmp_path, 'one,lid,0,1,unclear')))


def test_a_name_that_is_no_sentence_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'one.labels.csv:3: .*must not be empty'):
        read(tmp_path, 'one,lid,0,1,true', 'one,.,0,1,true')
