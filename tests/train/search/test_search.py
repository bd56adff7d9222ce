"""Moments in an index: found by sentence and example, each bag whole and once, one space."""

from __future__ import annotations

import json
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders import Binder, SpaceError
from lb_ros.cli import main
from train.bags.reader import BagReport
from train.score.embed import BagSource
from train.score.parts import Embeddings
from train.score.windows import SensorTopics
from train.search import index as indexing
from train.search.find import find_sentence
from train.search.index import index_bag
from train.search.like import Example, find_like, parse_place
from train.search.store import About, MomentStore, NoIndexError

pytest.importorskip('lancedb')

DIMENSIONS = 384
MOMENTS = [{'open(top drawer)': i > 5, 'dropped(something)': i == 7} for i in range(12)]


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


@pytest.fixture(scope='module')
def bag(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(drawn.write(tmp_path_factory.mktemp('bags') / 'kitchen', MOMENTS))


def source(bag: Path) -> BagSource:
    return BagSource(bag, SensorTopics(), ('image', 'depth', 'infrared', 'audio'), 4.0)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def stored(path: Path, vectors: np.ndarray, modality: str = 'depth', *, bag: str = '/b') -> Any:
    """An index that holds these vectors, one every second, as one bag."""
    store = MomentStore(str(path), About('space', 'model', DIMENSIONS))
    add(store, vectors, modality, bag=bag)
    return store


def add(store: MomentStore, vectors: np.ndarray, modality: str, *, bag: str) -> None:
    rows = len(vectors)
    stamps = np.arange(rows) * 1_000_000_000
    names = np.array([modality] * rows)
    valid = np.ones(rows, np.float32)
    found = Embeddings(
        vectors, names, names, stamps, stamps, stamps, valid, np.full(len(names), '')
    )
    store.add_bag(bag, 'key', found, start_log_ns=0, thumbnails=[])


def test_a_sentence_finds_the_nearest_sample(binder: Binder, tmp_path: Path) -> None:
    from encoders import Predicate
    from encoders.predicates.texts import text_vectors

    rng = np.random.default_rng(0)
    _, contrast = text_vectors(binder, Predicate.from_sentence('the drawer is open'))
    vectors = unit(rng.normal(size=(60, DIMENSIONS)))
    vectors[30] = unit(vectors[30] + 2 * contrast)
    vectors[31] = unit(vectors[31] + 1.9 * contrast)
    store = MomentStore(str(tmp_path / 'i'), About(binder.space, binder.model, DIMENSIONS))
    add(store, vectors, 'depth', bag='/b')
    found = find_sentence(store, binder, 'the drawer is open', modalities=['depth'], top=5)
    assert (found[0].bag, found[0].time_s, found[0].modality) == ('/b', 30.0, 'depth')
    assert 31.0 not in [moment.time_s for moment in found]  # one answer for one scene
    gaps = [abs(a.time_s - b.time_s) for a in found for b in found if a is not b]
    assert min(gaps) >= 3.0
    assert not find_sentence(store, binder, 'the drawer is open', modalities=['audio'], top=5)


def test_another_language_space_is_refused(
    bag: Path, binder: Binder, tmp_path: Path, tiny_model_set: Path
) -> None:
    store = stored(tmp_path / 'i', unit(np.ones((2, DIMENSIONS))))
    with pytest.raises(SpaceError, match='language space'):
        find_sentence(store, binder, 'it is open', modalities=['depth'], top=1)
    with pytest.raises(SpaceError, match='language space'):
        index_bag(binder, source(bag), store, work=tmp_path, report=BagReport(bag))
    words = ['index', str(bag), '-o', str(tmp_path / 'i'), '--model', str(tiny_model_set)]
    assert main(words) == 2
    assert len(store) == 2


def test_a_bag_is_stored_once_and_replaced_when_it_changes(
    bag: Path, binder: Binder, tmp_path: Path, drawn: Any
) -> None:
    copy = drawn.write(tmp_path / 'bag', MOMENTS)
    store = MomentStore(str(tmp_path / 'i'), About(binder.space, binder.model, DIMENSIONS))
    work = tmp_path / 'i'
    first = index_bag(binder, source(copy), store, work=work, report=BagReport(copy))
    assert not first.known and len(store) == first.windows > 0
    again = index_bag(binder, source(copy), store, work=work, report=BagReport(copy))
    assert again.known and len(store) == first.windows
    for file in copy.iterdir():
        file.unlink()
    copy.rmdir()
    drawn.write(copy, MOMENTS[:6])
    changed = index_bag(binder, source(copy), store, work=work, report=BagReport(copy))
    assert not changed.known and len(store) == changed.windows < first.windows
    assert store.thumbnail(str(copy.resolve()), 'depth', store.nearest(
        np.ones(DIMENSIONS), 'depth', limit=1)[0].stamp_ns)  # fmt: skip


def test_a_bag_is_encoded_again_by_other_weights_of_the_same_name(
    bag: Path, binder: Binder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MomentStore(str(tmp_path / 'i'), About(binder.space, binder.model, DIMENSIONS))
    for weights in ('one', 'other'):
        monkeypatch.setattr(binder, 'weights_sha256', weights)
        found = index_bag(binder, source(bag), store, work=tmp_path, report=BagReport(bag))
        assert not found.known and len(store) == found.windows


def test_an_interruption_leaves_no_half_bag(
    bag: Path, binder: Binder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MomentStore(str(tmp_path / 'i'), About(binder.space, binder.model, DIMENSIONS))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(indexing, '_thumbnails', stop)
        with pytest.raises(KeyboardInterrupt):
            index_bag(binder, source(bag), store, work=tmp_path, report=BagReport(bag))
    assert len(store) == 0
    done = index_bag(binder, source(bag), store, work=tmp_path, report=BagReport(bag))
    assert len(store) == done.windows > 0
    assert not any((tmp_path / indexing.WORK).iterdir())


def test_an_example_finds_similar_samples_of_other_sensors(tmp_path: Path) -> None:
    """Two sensors see the same things, each with a direction of its own added."""
    rng = np.random.default_rng(1)
    things = rng.normal(size=(40, DIMENSIONS))
    biases = {'depth': rng.normal(size=DIMENSIONS) * 3, 'audio': rng.normal(size=DIMENSIONS) * 3}
    store = stored(tmp_path / 'i', unit(things + biases['depth']), 'depth')
    add(store, unit(things[::-1] + biases['audio']), 'audio', bag='/c')
    example = Example('/b', 7.0, {'depth': unit(things[7] + biases['depth'])})
    crossed = find_like(store, example, modalities=['audio'], top=1)
    assert (crossed[0].bag, crossed[0].time_s) == ('/c', 32.0)
    same = find_like(store, example, modalities=['depth'], top=3)
    assert all(abs(moment.time_s - 7.0) >= 3.0 for moment in same)  # not the example itself
    with pytest.raises(ValueError, match='no audio, only depth'):
        find_like(store, example, modalities=['depth'], top=1, like=['audio'])


def test_as_many_answers_as_there_are_although_the_best_are_neighbours(tmp_path: Path) -> None:
    turn = np.linspace(0, np.pi, 400)[:, None] * np.ones(DIMENSIONS // 2)
    store = stored(tmp_path / 'i', unit(np.concatenate([np.cos(turn), np.sin(turn)], 1)), 'depth')
    example = Example('/elsewhere', 0.0, {'depth': store.at('/b', 200.0, within_s=0.1)[0].vector})
    for top in (1, 3, 5):
        found = find_like(store, example, modalities=['depth'], top=top, apart_s=60.0)
        assert len(found) == top


def test_the_approximate_index_finds_what_the_exact_search_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.search import store as storing

    monkeypatch.setattr(storing, 'MIN_ROWS_TO_APPROXIMATE', 1000)
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(20, DIMENSIONS))
    vectors = unit(centres[rng.integers(0, 20, 3000)] + 0.5 * rng.normal(size=(3000, DIMENSIONS)))
    store = stored(tmp_path / 'i', vectors)
    store.optimise()
    shares = []
    for query in vectors[:10]:
        near = {e.stamp_ns for e in store.nearest(query, 'depth', limit=20)}
        exact = {e.stamp_ns for e in store.nearest(query, 'depth', limit=20, exact=True)}
        shares.append(len(near & exact) / 20)
    assert np.mean(shares) >= 0.98


def test_a_sentence_nearer_to_another_sensor_is_found_in_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.search import store as storing

    monkeypatch.setattr(storing, 'MIN_ROWS_TO_APPROXIMATE', 1000)
    rng = np.random.default_rng(3)
    middles = {name: unit(rng.normal(size=DIMENSIONS)) for name in ('depth', 'audio')}
    store = MomentStore(str(tmp_path / 'i'), About('space', 'model', DIMENSIONS))
    for name, middle in middles.items():
        drawn = middle + 0.5 / np.sqrt(DIMENSIONS) * rng.normal(size=(2000, DIMENSIONS))
        add(store, unit(drawn), name, bag=f'/{name}')
    store.optimise()
    query = unit(middles['audio'] + 0.2 * unit(rng.normal(size=DIMENSIONS)))
    found = store.nearest(query, 'depth', limit=20)
    exact = store.nearest(query, 'depth', limit=20, exact=True)
    assert {e.modality for e in found} == {'depth'}
    assert len({e.stamp_ns for e in found} & {e.stamp_ns for e in exact}) >= 10


@pytest.mark.parametrize('is_indexed', [False, True])
def test_a_search_in_a_span_of_time_finds_the_best_of_that_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_indexed: bool
) -> None:
    from train.search import store as storing

    monkeypatch.setattr(storing, 'MIN_ROWS_TO_APPROXIMATE', 1000)
    rng = np.random.default_rng(5)
    vectors = unit(rng.normal(size=(2000, DIMENSIONS)))
    store = stored(tmp_path / 'i', vectors)
    add(store, unit(rng.normal(size=(2000, DIMENSIONS))), 'audio', bag='/c')
    if is_indexed:
        store.optimise()
    for begin, end in ((0, 1999), (100, 119), (700, 1500), (1990, 5000), (60, 60)):
        query = unit(rng.normal(size=DIMENSIONS))
        found = store.during(begin * 10**9, end * 10**9).nearest(query, 'depth', limit=10)
        inside = np.arange(begin, min(end, 1999) + 1)
        best = inside[np.argsort(-(vectors[inside] @ query))[:10]]
        assert {e.modality for e in found} == {'depth'}
        stamps = {e.stamp_ns // 10**9 for e in found}
        assert len(stamps) == len(best) and len(stamps & set(best.tolist())) >= len(best) - 1
    assert not store.during(10**13, 10**14).nearest(query, 'depth', limit=10)
    assert len(store.nearest(query, 'depth', limit=10)) == 10  # the store itself has no span


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), span=st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_small_indexes_are_searched_exactly(
    tmp_path_factory: pytest.TempPathFactory, seed: int, span: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(50, DIMENSIONS)))
    store = stored(tmp_path_factory.mktemp('exact') / 'i', vectors)
    query = unit(rng.normal(size=DIMENSIONS))
    found = store.during(span[0] * 10**9, span[1] * 10**9).nearest(query, 'depth', limit=5)
    inside = np.arange(span[0], min(span[1], 49) + 1)
    best = inside[np.argsort(-(vectors[inside] @ query))[:5]]
    cosines = np.array([entry.cosine for entry in found])
    np.testing.assert_allclose(cosines, vectors[best] @ query, atol=1e-3)


def test_an_index_of_an_earlier_version_is_searched_and_then_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.search import store as storing

    rng = np.random.default_rng(6)
    store = stored(tmp_path / 'i', unit(rng.normal(size=(1500, DIMENSIONS))))
    config = storing._lancedb().index.IvfSq(distance_type='cosine', num_partitions=39)
    store._moments.create_index('vector', config=config)
    queries = unit(rng.normal(size=(20, DIMENSIONS)))
    for _ in range(2):
        reopened = MomentStore(str(tmp_path / 'i'))
        shares = []  # of the nearest; cells begin at random
        for query in queries:
            wanted = {e.stamp_ns for e in store.nearest(query, 'depth', limit=5, exact=True)}
            found = {e.stamp_ns for e in reopened.nearest(query, 'depth', limit=5)}
            shares.append(len(found & wanted) / 5)
        assert np.mean(shares) > 0.75
        monkeypatch.setattr(storing, 'MIN_ROWS_TO_APPROXIMATE', 1000)
        reopened.optimise()
    indices = MomentStore(str(tmp_path / 'i'))._moments.list_indices()
    assert sorted(name for index in indices for name in index.columns) == [
        'modality', 'stamp_ns', 'vector'
    ]  # fmt: skip
    assert storing.VECTOR_INDEX in {index.name for index in indices}


def test_what_is_stored_is_what_was_embedded_and_little_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.search import store as storing

    monkeypatch.setattr(storing, 'KEPT_VERSIONS', timedelta(0))
    vectors = unit(np.random.default_rng(4).normal(size=(4000, DIMENSIONS)))
    for begin in range(0, len(vectors), 500):
        store = stored(tmp_path / 'i', vectors[begin : begin + 500], bag=f'/{begin}')
    with warnings.catch_warnings(action='ignore'):  # nobody else reads this index
        store.optimise()
    found = store.nearest(vectors[1234], 'depth', limit=1)[0]
    assert (found.bag, found.stamp_ns) == ('/1000', 234 * 1_000_000_000)
    np.testing.assert_allclose(found.vector, vectors[1234], atol=1e-3)
    assert found.cosine == pytest.approx(1, abs=1e-3)
    size = sum(file.stat().st_size for file in (tmp_path / 'i').rglob('*') if file.is_file())
    assert size < 1.3 * vectors.nbytes


def test_commands_from_bags_to_answers(
    bag: Path, tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, model = str(tmp_path / 'i'), ['--model', str(tiny_model_set)]
    assert main(['index', str(bag), '-o', out, *model]) == 0
    capsys.readouterr()
    words = ['search', out, 'the drawer is open', '--modality', 'audio,depth', '--json', *model]
    assert main([*words, '--top', '3']) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < len(found) <= 3
    assert {moment['modality'] for moment in found} <= {'audio', 'depth'}
    assert found[0]['bag'] == str(bag.resolve())
    assert found[0]['replay'].startswith('lb-ros dashboard ')
    assert '--start-offset' in found[0]['ros2_bag_play']
    picture = Path(found[0]['thumbnails']['depth'])
    assert picture.read_bytes().startswith(b'\xff\xd8')
    assert picture.name in (picture.parent / 'index.html').read_text()
    assert main([*words, '--before', '1970-01-01T00:00:00+00:00']) == 1  # the bag is later
    capsys.readouterr()
    like = ['search', out, '--like', f'{bag.name}@2.5s', '--modality', 'depth', '--json']
    assert main([*like, '--top', '2']) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(abs(moment['time_s'] - 2.5) >= 3.0 for moment in found)


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['{missing}', 'it is open'], 'no index; make one with: lb-ros index'),
        (['{index}'], 'either a sentence or --like'),
        (['{index}', 'it', '--modality', 'smell'], "unknown modality 'smell'"),
        (['{index}', '--like', 'kitchen'], 'expected BAG@SECONDS'),
        (['{index}', '--like', 'nowhere@1s', '--model', '{model}'], 'nowhere'),
        (['{index}', 'it', '--top', '0'], '--top'),
        (['{index}', 'it', '--after', 'noon'], 'expected a time'),
        (['{index}', 'it', '--before', '-3'], '--before'),
    ],
)
def test_unusable_questions_are_one_line(
    tmp_path: Path,
    tiny_model_set: Path,
    binder: Binder,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    MomentStore(str(tmp_path / 'i'), About(binder.space, binder.model, DIMENSIONS))
    places = {'index': tmp_path / 'i', 'missing': tmp_path / 'none', 'model': tiny_model_set}
    assert main(['search', *(word.format(**places) for word in words)]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lb-ros search: ') and said in error
    assert len(error.splitlines()) == 1


def test_places_in_bags() -> None:
    assert parse_place('a@b/c@12.5s') == ('a@b/c', 12.5)
    assert parse_place('bag@3') == ('bag', 3.0)
    for word in ('bag', '@3s', 'bag@', 'bag@nan', 'bag@soon'):
        with pytest.raises(ValueError, match='expected BAG@SECONDS'):
            parse_place(word)


def test_a_missing_store_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'lancedb', None)
    with pytest.raises(ModuleNotFoundError, match=r'lb_ros\[search\]'):
        MomentStore('/nowhere')


def test_a_folder_without_an_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoIndexError, match=str(tmp_path)):
        MomentStore(str(tmp_path))
