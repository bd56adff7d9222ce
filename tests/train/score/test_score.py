"""Scoring bags: what is written, what survives an interruption, and what any bag may be like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import SENSED, Binder, Predicate, PredicateBank, decode_image
from lb_ros.cli import main
from train.bags.reader import BagReport, read_bag
from train.score import embed
from train.score.embed import BagSource, embed_bag
from train.score.picture import STYLES
from train.score.table import value_at
from train.score.thumbnail import thumbnail
from train.score.timeline import PAGE
from train.score.track import track
from train.score.windows import SensorTopics, read_windows

PREDICATES = """
predicates:
  drawer:
    positive: [the top drawer is open]
    negative: [the top drawer is closed]
    dwell_ms: 0
    max_age_ms: 700
  hot(stove):
    positive: [the stove is hot]
    negative: [the stove is cold]
    modalities: [infrared]
"""
MOMENTS = [{'open(top drawer)': i % 4 > 1, 'hot(stove)': i > 5} for i in range(10)]


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


@pytest.fixture(scope='module')
def bag(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(drawn.write(tmp_path_factory.mktemp('bags') / 'kitchen', MOMENTS))


@pytest.fixture(scope='module')
def predicates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('predicates') / 'predicates.yaml'
    path.write_text(PREDICATES)
    return path


@pytest.fixture(scope='module')
def scored(
    bag: Path, predicates: Path, tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp('scored')
    words = ['score', str(bag), '--predicates', str(predicates), '--model', str(tiny_model_set)]
    assert main([*words, '-o', str(out), '--mcap']) == 0
    return out / 'kitchen'


def source(bag: Path, *topics: str, rate_hz: float = 15.0) -> BagSource:
    sensed = ('image', 'depth', 'infrared', 'audio')
    return BagSource(bag, SensorTopics.parse(topics), sensed, rate_hz)


def test_a_row_for_every_moment_predicate_and_modality(scored: Path) -> None:
    rows = pq.read_table(scored / 'scores.parquet').to_pylist()
    drawer = [row for row in rows if row['predicate'] == 'drawer']
    assert [row['modality'] for row in drawer].count('image') == len(MOMENTS)
    stove = {row['modality'] for row in rows if row['predicate'] == 'hot(stove)'}
    assert stove == {'infrared', 'fused'}
    assert all(0 <= row['probability'] <= 1 for row in rows if row['probability'] is not None)
    assert all((row['similarity'] is None) == (row['modality'] == 'fused') for row in rows)
    assert {row['state'] for row in rows} <= {'TRUE', 'FALSE', 'UNKNOWN'}
    told = [row['truth'] for row in drawer if row['modality'] == 'depth']
    assert told == [moment['open(top drawer)'] for moment in MOMENTS]
    described = json.loads(pq.read_schema(scored / 'scores.parquet').metadata[b'lb_ros'])
    assert described['truth'] == {'drawer': 'open(top drawer)', 'hot(stove)': 'hot(stove)'}


def test_probabilities_are_those_of_the_bank(bag: Path, scored: Path, binder: Binder) -> None:
    predicate = Predicate('drawer', ('the top drawer is open',), ('the top drawer is closed',))
    bank = PredicateBank([predicate], binder)
    first = next(read_bag(bag, topics=['depth/image'])).message
    vector = binder.embed(depth=decode_image(first, modality='depth').array)
    expected = bank.score(vector)[0]
    row = next(
        row
        for row in pq.read_table(scored / 'scores.parquet').to_pylist()
        if (row['predicate'], row['modality']) == ('drawer', 'depth')
    )
    assert row['similarity'] == pytest.approx(expected.similarity['depth'], abs=1e-4)
    assert row['probability'] == pytest.approx(expected.probability['depth'], abs=1e-3)


def test_the_annotated_bag_holds_everything_and_the_scores(bag: Path, scored: Path) -> None:
    original, copied = BagReport(bag), BagReport(scored)
    before = [m.raw for m in read_bag(bag, report=original)]
    messages = list(read_bag(scored / 'scores.mcap', report=copied))
    assert not copied.problems
    assert original.counts.items() <= copied.counts.items()
    assert [m.raw for m in messages if m.topic in original.counts] == before
    stamps = [m.log_ns for m in messages]
    assert stamps == sorted(stamps)
    scores = [m.message for m in messages if m.topic == 'predicates/scores']
    assert {entry.name for entry in scores[0].scores} == {'drawer', 'hot(stove)'}
    assert all(len(e.modalities) == len(e.probabilities) for m in scores for e in m.scores)


def test_the_annotated_bag_is_read_by_the_installed_messages(scored: Path) -> None:
    serialization = pytest.importorskip('rclpy.serialization')
    from lb_ros.msg import PredicateScores, PredicateStates

    kinds = {'predicates/scores': PredicateScores, 'predicates/state': PredicateStates}
    seen = set()
    for message in read_bag(scored / 'scores.mcap', topics=list(kinds)):
        read = serialization.deserialize_message(message.raw, kinds[message.topic])
        entries = read.scores if message.topic == 'predicates/scores' else read.states
        assert [entry.name for entry in entries] == ['drawer', 'hot(stove)']
        seen.add(message.topic)
    assert seen == set(kinds)


def test_timeline_files_show_every_predicate(scored: Path) -> None:
    assert (scored / 'scores.png').read_bytes().startswith(b'\x89PNG')
    page = (scored / 'scores.html').read_text()
    for text in ('drawer', 'hot(stove)', 'data:image/jpeg;base64,', '"truth"'):
        assert text in page
    assert '"caveats": [[0.0, {"fused": "not calibrated"}]]' in page


def test_predicates_without_truth_are_drawn_as_well(
    bag: Path, tiny_model_set: Path, tmp_path: Path
) -> None:
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text('predicates: {cup: {positive: [there is a cup]}}')
    words = ['score', str(bag), '--predicates', str(predicates), '--model', str(tiny_model_set)]
    assert main([*words, '-o', str(tmp_path / 'out')]) == 0
    assert (tmp_path / 'out' / 'kitchen' / 'scores.png').stat().st_size > 1000


def test_every_sensor_has_a_line_of_its_own() -> None:
    styles = [str(style['linestyle']) for style in STYLES.values()]
    assert set(STYLES) == {*SENSED, 'fused'}
    assert len(set(styles)) == len(styles)
    text = (PAGE / 'timeline.js').read_text()
    assert [modality for modality in SENSED if modality not in text] == []


def test_an_interrupted_run_goes_on(
    bag: Path, binder: Binder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, 'PART_WINDOWS', 8)
    whole = embed_bag(binder, source(bag), store=tmp_path / 'a', report=BagReport(bag))

    def stop(log_ns: int) -> None:
        if len(list((tmp_path / 'b').glob('*.npz'))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_bag(binder, source(bag), store=tmp_path / 'b', report=BagReport(bag), progress=stop)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / 'b').glob('*.npz')}
    again = embed_bag(binder, source(bag), store=tmp_path / 'b', report=BagReport(bag))
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert np.array_equal(whole.stamp_ns, again.stamp_ns)
    np.testing.assert_allclose(whole.vectors, again.vectors, atol=1e-5)


def test_parts_of_another_choice_are_not_used(bag: Path, binder: Binder, tmp_path: Path) -> None:
    embed_bag(binder, source(bag), store=tmp_path / 'a', report=BagReport(bag))
    report = BagReport(bag)
    slower = embed_bag(binder, source(bag, rate_hz=1.0), store=tmp_path / 'a', report=report)
    assert ['starting anew' in line for line in report.problems] == [True]
    assert len(MOMENTS) / 2 <= list(slower.modality).count('depth') < len(MOMENTS)


def test_a_topic_of_another_name(drawn: Any, tmp_path: Path) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS, skip=['/camera/image/compressed'])
    report = BagReport(bag)
    kinds = {w.modality for w in read_windows(bag, SensorTopics(), report=report)}
    assert kinds == {'depth', 'infrared', 'audio'}
    assert any('for image; name one' in line and 'depth/image' in line for line in report.problems)
    named = SensorTopics.parse(['infrared=/depth/image'])
    windows = list(read_windows(bag, named, modalities=['infrared']))
    assert {w.topic for w in windows} == {'depth/image'}
    assert windows[0].raw().shape == (32, 32)


def test_undecodable_images_are_reported_and_skipped(
    bag: Path, binder: Binder, tmp_path: Path
) -> None:
    report = BagReport(bag)
    wrong = BagSource(bag, SensorTopics.parse(['image=depth/image']), ('image', 'audio'), 15.0)
    found = embed_bag(binder, wrong, store=tmp_path, report=report)
    assert set(found.modality) == {'audio'}
    assert any("'16UC1' is no image" in line for line in report.problems)
    again = BagReport(bag)
    embed_bag(binder, wrong, store=tmp_path, report=again)
    assert again.problems == report.problems


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['nowhere'], 'nowhere'),
        (['{bag}', '--topic', 'smell=/nose'], 'smell'),
        (['{bag}', '--topic', 'depth'], 'MODALITY=/TOPIC'),
        (['{bag}', '--predicates', 'missing.yaml'], 'missing.yaml'),
        (['{bag}', '{bag}'], 'two bags are named'),
        (['{bag}', '--modality', 'smell'], 'smell'),
    ],
)
def test_unusable_input_is_one_line(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    words = [word.format(bag=bag) for word in words]
    assert main(['score', *words, '-o', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lb-ros score: ') and said in error
    assert len(error.splitlines()) == 1


def test_states_grow_old_where_a_bag_is_silent(drawn: Any, binder: Binder, tmp_path: Path) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS)
    found = embed_bag(binder, source(bag), store=tmp_path / 's', report=BagReport(bag))
    found.stamp_ns[found.stamp_ns > found.stamp_ns[0] + 2e9] += 10_000_000_000
    question = Predicate('it', ('it is open',), ('it is closed',), max_age_ms=700, dwell_ms=0,
                         threshold_on=0.5, threshold_off=0.5)  # fmt: skip
    moments = list(track(binder, [question], found))
    silent = [m for m in moments if not m.fresh]
    assert 'UNKNOWN' in {m.evaluation.states['it'].state.name for m in silent}
    assert all(m.evaluation.states['it'].state.name != 'UNKNOWN' for m in moments if m.fresh)
    times = [m.time_ns for m in moments]
    assert times == sorted(times)


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(-500, 3000))
def test_truth_is_the_newest_label(values: list[bool], at_ms: int) -> None:
    said = [(i * 100_000_000, value) for i, value in enumerate(values)]
    known = value_at(said, at_ms * 1_000_000)
    if at_ms < 0 or at_ms > (len(values) - 1) * 100 + 150:
        assert known is None
    else:
        assert known is values[min(at_ms // 100, len(values) - 1)]


@pytest.mark.parametrize('holes', [0.0, 0.5, 1.0])
def test_thumbnails_are_small_pictures(holes: float) -> None:
    rng = np.random.default_rng(0)
    depth = rng.integers(400, 4000, (480, 640)).astype(np.uint16)
    depth[rng.random(depth.shape) < holes] = 0
    assert thumbnail('depth', depth).startswith(b'\xff\xd8')
    assert thumbnail('audio', (np.zeros((2, 100), np.int16), 16_000)).startswith(b'\xff\xd8')


@pytest.mark.parametrize('rate', ['-3', 'nan', 'fast'])
def test_an_impossible_rate_is_refused(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['score', '.', '--max-rate-hz', rate]) == 2
    assert '--max-rate-hz: must be a' in (error := capsys.readouterr().err)
    assert rate in error
