"""Search for moments: time, size and recall of a large index, and correctness of the answers.

    python -m benchmarks.search scale --rows 1000000
    python -m benchmarks.search quality --index INDEX --bags BAGS [--reread 0 50]
    python -m benchmarks.search bags --index INDEX --bags BAGS [--count 1000]

The vectors of `scale` are synthetic: unit vectors around as many centres as there would be
scenes, with an offset for each sensor and another for sentences, or without any of these
(`--vectors gaussian`). Recall is relative to exact products in NumPy. `quality` searches an index
of real windows for sentences whose truth is recorded in the bags. An answer is correct if the
sentence is true at the nearest labelled sample, within a second, or, for audio, at a labelled
sample during the window. Every sentence is asked once with each number of moments to encode again
(`lb-ros search --reread`); 0 orders by what the index stores. `bags` asks the same sentences of an
index of many bags: the bags of a real index, each under several names, as hard links.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import write_result
from encoders import MODALITIES, SENSED, Binder
from encoders.decode.audio_window import WINDOW_S
from train.bags.find import find_bags
from train.phrasings import Phrasings, relation_of
from train.score.parts import Embeddings
from train.score.track import read_truth
from train.search.arguments import REREAD
from train.search.find import find_sentence
from train.search.reread import Rereading
from train.search.store import About, Entry, MomentStore

DIMENSIONS = 384
BAG_ROWS = 10_000
SCENE_ROWS = 200
STEP_NS = 25_000_000
TOP = 20
SPANS = (0.01, 0.1, 0.5)  # shares of the time of the recordings
QUERIES = 100
SENTENCES = 30
FIRST = 5
MIN_TRUE, MAX_SHARE = 3, 0.2
MATCH_NS = 1_000_000_000
WHOLE_S = 1e9  # longer than any bag


def main() -> None:
    """Run one of the two benchmarks and write its result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest='kind', required=True)
    scale = kinds.add_parser('scale')
    scale.add_argument('--rows', type=int, default=1_000_000)
    scale.add_argument('--queries', type=int, default=QUERIES)
    scale.add_argument('--vectors', choices=('clustered', 'gaussian'), default='clustered')
    scale.add_argument('--name', default='search_scale', help='of the result file')
    quality = kinds.add_parser('quality')
    quality.add_argument('--index', required=True)
    quality.add_argument('--bags', type=Path, nargs='+', required=True)
    quality.add_argument('--model', help="the index's own by default")
    quality.add_argument('--reread', type=int, nargs='+', default=[0, REREAD])
    bags = kinds.add_parser('bags')
    bags.add_argument('--index', required=True)
    bags.add_argument('--bags', type=Path, nargs='+', required=True)
    bags.add_argument('--count', type=int, default=1000)
    bags.add_argument('--reread', type=int, nargs='+', default=[0, REREAD])
    args = parser.parse_args()
    result = MEASURES[args.kind](args)
    path = write_result(getattr(args, 'name', f'search_{args.kind}'), result)
    print(f'{json.dumps(result, indent=2)}\nwritten to {path}')


def measure_scale(args: argparse.Namespace) -> dict[str, Any]:
    """Build an index of synthetic vectors and compare it with exact search."""
    rows, count = args.rows, args.queries
    made = _Synthetic(rows, clustered=args.vectors == 'clustered')
    with tempfile.TemporaryDirectory() as folder:
        store = MomentStore(folder, About('synthetic', 'synthetic', DIMENSIONS))
        began_s = time.perf_counter()
        for bag in range(rows // BAG_ROWS):
            made.add(store, bag)
        wrote_s, wrote_cpu_s = time.perf_counter(), time.process_time()
        store.optimise()
        built_s, built_cpu_s = time.perf_counter(), time.process_time()
        size = sum(f.stat().st_size for f in Path(folder).rglob('*') if f.is_file())
        # The first queries read the cells of the index from disk.
        cold_ms, _, _ = _ask_all(store, made.examples(count))
        searches = {
            'examples': made.asked(store, made.examples(count), share=1.0),
            'sentences': made.asked(store, made.sentences(count), share=1.0),
        } | {
            f'during {share:g} of the time': made.asked(store, made.examples(count), share=share)
            for share in SPANS
        }
        return {
            'vectors': args.vectors,
            'rows': len(store),
            'dimensions': DIMENSIONS,
            'queries': count,
            'filter': f"modality = '{SENSED[0]}'",
            'first_search_ms': _quantiles(cold_ms),
            'searches': searches,
            'size_over_raw_float32_vectors': round(size / (rows * DIMENSIONS * 4), 4),
            'write_s': round(wrote_s - began_s, 1),
            'index_s': round(built_s - wrote_s, 1),
            'index_cpu_s': round(built_cpu_s - wrote_cpu_s, 1),
            'load_average': os.getloadavg(),
        }


class _Synthetic:
    """Synthetic windows of all sensors, recorded one bag after another, and queries for them.

    Args:
        rows: Number of windows.
        clustered: Whether vectors are in scenes and in a cone for each sensor, as real embeddings
            are. If not, they are Gaussian: nothing is nearer than chance makes it.
    """

    def __init__(self, rows: int, *, clustered: bool) -> None:
        self._rng = np.random.default_rng(0)
        scale = 1.0 if clustered else 0.0
        scenes, sensors = max(rows // SCENE_ROWS, 1), len(SENSED)
        self._centres = scale * self._normal(scenes)
        self._biases = scale * self._normal(sensors)
        self._gap = scale * self._normal(1)
        self._end_ns = rows // BAG_ROWS * BAG_ROWS * STEP_NS
        # What exact search is about: the windows of the first sensor.
        self._vectors: list[Any] = []
        self._stamps: list[Any] = []

    def _normal(self, rows: int) -> Any:
        return self._rng.normal(size=(rows, DIMENSIONS)).astype(np.float32)

    def add(self, store: MomentStore, bag: int) -> None:
        """Store one bag, with a scene for each 200 windows."""
        modality = np.arange(BAG_ROWS) % len(SENSED)
        scene = self._rng.integers(0, len(self._centres), -(-BAG_ROWS // SCENE_ROWS))
        centres = self._centres[scene.repeat(SCENE_ROWS)[:BAG_ROWS]]
        vectors = _unit(centres + self._biases[modality] + 0.5 * self._normal(BAG_ROWS))
        stamps = (bag * BAG_ROWS + np.arange(BAG_ROWS)) * STEP_NS
        names = np.array(SENSED)[modality]
        valid, reasons = np.ones(BAG_ROWS, np.float32), np.full(BAG_ROWS, '')
        found = Embeddings(vectors, names, names, stamps, stamps, stamps, valid, reasons)
        store.add_bag(f'/bags/{bag:06d}', 'key', found, start_log_ns=0, thumbnails=[])
        self._vectors.append(vectors[modality == 0])
        self._stamps.append(stamps[modality == 0])

    def examples(self, count: int) -> Any:
        """Further windows of the first sensor, `[count, D]`."""
        centres = self._centres[self._rng.integers(0, len(self._centres), count)]
        return _unit(centres + self._biases[0] + 0.5 * self._normal(count))

    def sentences(self, count: int) -> Any:
        """Vectors for the scenes in the cone of the texts, `[count, D]`."""
        centres = self._centres[self._rng.integers(0, len(self._centres), count)]
        return _unit(centres + self._gap + 0.5 * self._normal(count))

    def asked(self, store: MomentStore, queries: Any, *, share: float) -> dict[str, Any]:
        """Times of the searches for queries in a share of the time, and recall of the answers."""
        vectors, stamps = np.concatenate(self._vectors), np.concatenate(self._stamps)
        begin_ns = int((1 - share) / 2 * self._end_ns)
        end_ns = int((1 + share) / 2 * self._end_ns)
        is_inside = (stamps >= begin_ns) & (stamps <= end_ns)
        inside, inside_ns = vectors[is_inside], stamps[is_inside]
        searched = store if share == 1.0 else store.during(begin_ns, end_ns)
        times_ms, cpu_ms, found = _ask_all(searched, queries)
        recalls = []
        for query, near in zip(queries, found, strict=True):
            best = np.argsort(inside @ query)[-TOP:]
            recalls.append(len({int(t) for t in inside_ns[best]} & near) / TOP)
        return {
            'searched_windows': len(inside),
            'ms': _quantiles(times_ms),
            'cpu_ms': round(float(np.mean(cpu_ms)), 2),
            'recall_at_20': round(float(np.mean(recalls)), 4),
            'smallest_recall': round(float(np.min(recalls)), 4),
        }


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _ask_all(store: MomentStore, queries: Any) -> tuple[list[float], list[float], list[set[int]]]:
    """Wall-clock and CPU milliseconds, and the stamps of the results, by query."""
    times_ms, cpu_ms, found = [], [], []
    for query in queries:
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        near = store.nearest(query, SENSED[0], limit=TOP)
        times_ms.append((time.perf_counter() - started_s) * 1e3)
        cpu_ms.append((time.process_time() - started_cpu_s) * 1e3)
        found.append({entry.stamp_ns for entry in near})
    return times_ms, cpu_ms, found


def _quantiles(values: list[float]) -> dict[str, float]:
    return {f'p{p}': round(float(np.percentile(values, p)), 2) for p in (50, 95)}


def measure_quality(args: argparse.Namespace) -> dict[str, Any]:
    """Search for sentences that are seldom true and check the answers against the bags."""
    store = MomentStore(args.index)
    binder = Binder.load(args.model or store.about.model)
    truths = {str(bag.resolve()): read_truth(bag) for bag in find_bags(args.bags)}
    names = choose_predicates(truths)
    results: dict[str, Any] = {
        'model': binder.model,
        'readouts': list(binder.readouts),
        'bags': len(truths),
        'moments': len(store),
        'load_average': os.getloadavg(),
    }
    counts = args.reread if binder.readouts else [0]
    for wording in ('trained', 'unseen'):
        phrasings = Phrasings.load(wording)
        results[wording] = {}
        for count in counts:
            asked = [
                _ask(store, binder, phrasings, name, truths, reread_count=count) for name in names
            ]
            results[wording][f'reread {count}'] = {
                'found_within_5': round(float(np.mean([one['right'] for one in asked])), 3),
                'first_right': round(
                    float(np.mean([one['answers'].startswith('+') for one in asked])), 3
                ),
                'by_chance': round(float(np.mean([one['chance'] for one in asked])), 3),
                'query_ms': _quantiles([one['ms'] for one in asked]),
                'query_cpu_ms': _quantiles([one['cpu_ms'] for one in asked]),
                'sentences': asked,
            }
    return results


def measure_bags(args: argparse.Namespace) -> dict[str, Any]:
    """Ask sentences of an index that holds each bag under several names."""
    store = MomentStore(args.index)
    binder = Binder.load(store.about.model, dtype='auto')
    truths = {str(bag.resolve()): read_truth(bag) for bag in find_bags(args.bags)}
    phrasings = Phrasings.load('trained')
    sentences = [phrasings.sentences(n).positive[0] for n in choose_predicates(truths)]
    known = sorted(store.bags().items())
    with tempfile.TemporaryDirectory(dir=args.bags[0].resolve().parent) as folder:
        many = MomentStore(f'{folder}/index', store.about)
        for number in range(args.count):
            bag, key = known[number % len(known)]
            copied = Path(folder) / f'{number:06d}'
            shutil.copytree(bag, copied, copy_function=os.link)
            found = _embeddings(store.at(bag, 0.0, within_s=WHOLE_S))
            many.add_bag(str(copied), key, found, start_log_ns=0, thumbnails=[])
        many.optimise()
        times_ms = {
            f'reread {count}': [_time_ms(many, binder, each, count) for each in sentences]
            for count in args.reread
        }
        return {
            'model': binder.model,
            'bags': args.count,
            'moments': len(many),
            'facts': many.about.facts,
            'sentences': len(sentences),
            'query_ms': {name: _quantiles(values) for name, values in times_ms.items()},
            'load_average': os.getloadavg(),
        }


def _time_ms(store: MomentStore, binder: Binder, sentence: str, count: int) -> float:
    started_s = time.perf_counter()
    find_sentence(store, binder, sentence, modalities=SENSED, top=FIRST, again=Rereading(count))
    return (time.perf_counter() - started_s) * 1e3


def _embeddings(entries: list[Entry]) -> Embeddings:
    """The stored windows of a bag, as they were added."""
    log_ns = np.array([round(e.time_s * 1e9) for e in entries], np.int64)
    facts = [e.facts for e in entries if e.facts is not None]
    return Embeddings(
        vectors=np.stack([e.vector for e in entries]),
        modality=np.array([e.modality for e in entries]),
        topic=np.array([e.topic for e in entries]),
        stamp_ns=np.array([e.stamp_ns for e in entries], np.int64),
        start_ns=np.array([e.start_ns for e in entries], np.int64),
        log_ns=log_ns,
        valid=np.ones(len(entries), np.float32),
        invalid_reason=np.full(len(entries), ''),
        facts=np.stack(facts).astype(np.float16) if facts else None,
    )


def choose_predicates(truths: dict[str, dict[str, list[tuple[int, bool]]]]) -> list[str]:
    """Choose predicates that are true in few samples, alternating between relations.

    The choice depends only on truth, and is made before the search.
    """
    share = _shares(truths)
    phrasings = [Phrasings.load(wording) for wording in ('trained', 'unseen')]
    by_relation: dict[str, list[str]] = defaultdict(list)
    for name, (true, total) in sorted(share.items()):
        known = all(p.knows(name) for p in phrasings)
        if known and true >= MIN_TRUE and true / total <= MAX_SHARE:
            by_relation[relation_of(name)].append(name)
    chosen: list[str] = []
    while len(chosen) < SENTENCES and any(by_relation.values()):
        for names in by_relation.values():
            if names and len(chosen) < SENTENCES:
                chosen.append(names.pop(0))
    return chosen


def _shares(truths: dict[str, dict[str, list[tuple[int, bool]]]]) -> dict[str, tuple[int, int]]:
    """Numbers of true samples and of all samples by predicate, over all bags."""
    moments = sum(max(map(len, truth.values()), default=0) for truth in truths.values())
    counts: dict[str, int] = defaultdict(int)
    for truth in truths.values():
        for name, values in truth.items():
            counts[name] += sum(value for _, value in values)
    return {name: (true, moments) for name, true in counts.items()}


def _ask(
    store: MomentStore,
    binder: Binder,
    phrasings: Phrasings,
    name: str,
    truths: Any,
    *,
    reread_count: int,
) -> dict[str, Any]:
    sentence = phrasings.sentences(name).positive[0]
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    answers = find_sentence(
        store, binder, sentence, modalities=SENSED, top=FIRST, again=Rereading(reread_count)
    )
    taken_s, taken_cpu_s = time.perf_counter(), time.process_time()
    right = [_is_true(truths[a.bag], name, a.stamp_ns, modality=a.modality) for a in answers]
    return {
        'predicate': name,
        'sentence': sentence,
        'right': any(right),
        'answers': ''.join('+' if one else '-' for one in right),
        'chance': round(1 - (1 - _share_right(truths, name)) ** FIRST, 3),
        'ms': round((taken_s - started_s) * 1e3, 1),
        'cpu_ms': round((taken_cpu_s - started_cpu_s) * 1e3, 1),
    }


def _share_right(truths: Any, name: str) -> float:
    """Share of correct answers if times, bags and sensors were chosen at random."""
    asked = [
        _is_true(truth, name, stamp_ns, modality=modality)
        for truth in truths.values()
        for stamp_ns in _moments_ns(truth)
        for modality in SENSED
    ]
    return float(np.mean(asked))


def _moments_ns(truth: Any) -> list[int]:
    """Times of the labelled samples of a bag, and the midpoints between them."""
    labelled = sorted({stamp_ns for values in truth.values() for stamp_ns, _ in values})
    between = [(a + b) // 2 for a, b in pairwise(labelled)]
    return labelled + between


def _is_true(truth: Any, name: str, stamp_ns: int, *, modality: str) -> bool:
    told = truth.get(name, ())
    if MODALITIES[modality].kind == 'sound' and any(
        value and 0 <= stamp_ns - t <= WINDOW_S * 1e9 for t, value in told
    ):
        return True
    offset_ns, value = min(
        ((abs(t - stamp_ns), v) for t, v in told), default=(MATCH_NS + 1, False)
    )
    return bool(value) and offset_ns <= MATCH_NS


MEASURES = {'scale': measure_scale, 'quality': measure_quality, 'bags': measure_bags}

if __name__ == '__main__':
    main()
