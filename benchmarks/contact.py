"""AUROC of what is felt, by sensor, on bags of the contact suite: trained and unseen wording.

A predicate is asked where it changes (in scenes in which it is true and false), and against the
scenes in which its thing is absent. Which sensor is the best for a predicate is chosen on --val.
The sensors that see and hear are asked on the bags of --pictures, which are also among the others.

python -m benchmarks.contact --val bags/val --data bags/felt --pictures bags/seen
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.environment import write_result
from encoders import Binder
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.places import find_set
from encoders.predicates.metrics import auroc
from train.bags.find import find_bags
from train.bags.samples import Samples
from train.evaluation.cli import wordings_of
from train.evaluation.reading import FUSED, Asked, ReadBags, read_bags

# Short names of what is reported, and the truths that they are about.
PREDICATES = {
    'contact': 'contact(tool, something)',
    'grasped': 'holding(something)',
    'slipping': 'slipping(something)',
    'empty': 'empty(cup)',
    'half full': 'half full(cup)',
    'full': 'full(cup)',
    'screwed tight': 'screwed tight(screw)',
    'cross-threaded': 'cross threaded(screw)',
    'rough': 'rough(surface)',
    'inserted': 'inserted(peg)',
    'jammed': 'jammed(peg)',
}
# Where exactly one of both is true, the score of the first tells them apart.
APART = ('jammed', 'inserted')
FELT, SEEN = ('wrench', 'joints', 'imu'), ('image', 'depth', 'audio')
JAMMED_INSERTED = 'jammed against inserted'
# What should be reached, trained and unseen wording, by the best sensor.
TARGETS = {
    'contact': (0.98, 0.95),
    'grasped': (0.99, 0.97),
    'empty': (0.97, 0.96),
    'full': (0.92, 0.90),
    'screwed tight': (0.95, 0.92),
    'rough': (0.90, 0.88),
    'inserted': (0.90, 0.88),
    JAMMED_INSERTED: (0.85, 0.85),
}
Scores = Mapping[str, NDArray[np.float32]]
Areas = dict[str, dict[str, float | None]]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a predicate is asked, bool `[N]` each.

    Attributes:
        own: Known truths in scenes in which it is both true and false.
        absent: The true ones of `own`, and the false ones of scenes in which it is never true.
    """

    own: NDArray[np.bool_]
    absent: NDArray[np.bool_]


def main() -> None:
    """Evaluate and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--val', type=Path, nargs='+', required=True)
    parser.add_argument('--data', type=Path, nargs='+', required=True)
    parser.add_argument('--pictures', type=Path, nargs='+', default=[])
    parser.add_argument('--name', default='contact', help='of the result file')
    parser.add_argument('--cache', type=Path)
    args = parser.parse_args()
    wordings = wordings_of([])

    def read(folders: Sequence[Path], sensors: Sequence[str] = FELT) -> ReadBags:
        binder = Binder.load(find_set(args.model), modalities=sensors)
        return read_bags(binder, find_bags(folders), wordings=wordings, cache=args.cache)

    best = best_sensors(areas_of(read(args.val), 'trained')['own'])
    found = read([*args.data, *args.pictures])
    tables = {wording: areas_of(found, wording) for wording in wordings}
    seen = read(args.pictures, SEEN) if args.pictures else None
    result: dict[str, Any] = {
        'bags': len(found.samples.bags),
        'moments': len(found.samples),
        'seeds': {'bags': list(found.samples.bags)},
        'provenance': read_manifest(find_set(args.model)).manifest.provenance.get('joined'),
        'truths': counts_of(found.samples),
        'targets': TARGETS,
        'best_sensor_on_val': best,
        'best': {w: {n: table['own'][n].get(m) for n, m in best.items() if n in table['own']}
                 for w, table in tables.items()},
        'auroc': tables,
    }  # fmt: skip
    if seen is not None:
        result['seen'] = {
            'bags': len(seen.samples.bags),
            'moments': len(seen.samples),
            'truths': counts_of(seen.samples),
            'auroc': {wording: areas_of(seen, wording) for wording in wordings},
        }
    for wording, rows in result['best'].items():
        known = [rows[name] for name in TARGETS if rows.get(name) is not None]
        result.setdefault('mean_of_best', {})[wording] = round(mean(known), 3)
    print_areas(tables, best)
    if seen is not None:
        print_areas(result['seen']['auroc'], {})
    print(f'written to {write_result(args.name, result)}')


def areas_of(read: ReadBags, wording: str) -> dict[str, Areas]:
    """AUROC by predicate and sensor, where a predicate changes and against absent things."""
    scores = read.readings[Asked(wording, 'sides')].scores
    samples = read.samples
    found: dict[str, Areas] = {'own': {}, 'absent': {}}
    for short, name in PREDICATES.items():
        if name not in samples.predicates:
            continue
        column = samples.predicates.index(name)
        truth = samples.truth[:, column] == 1
        places = places_of(samples, column)
        for key, rows in (('own', places.own), ('absent', places.absent)):
            found[key][short] = _areas(scores, column, truth, rows)
    found['own'][JAMMED_INSERTED] = _apart(scores, samples)
    return found


def places_of(samples: Samples, column: int) -> Places:
    """The samples about which a predicate is asked; see `Places`."""
    truth = samples.truth[:, column]
    scene = np.array(samples.scenes or ('',) * len(samples.bags))[samples.bag]
    true_in, false_in = set(scene[truth == 1]), set(scene[truth == 0])
    own = np.isin(scene, sorted(true_in & false_in)) & (truth >= 0)
    absent = (own & (truth == 1)) | (np.isin(scene, sorted(false_in - true_in)) & (truth == 0))
    return Places(own, absent)


def _apart(scores: Scores, samples: Samples) -> dict[str, float | None]:
    jammed, inserted = (samples.predicates.index(PREDICATES[name]) for name in APART)
    is_jammed, is_inserted = (samples.truth[:, k] == 1 for k in (jammed, inserted))
    return _areas(scores, jammed, is_jammed, is_jammed != is_inserted)


def _areas(
    scores: Scores, column: int, truth: NDArray[np.bool_], rows: NDArray[np.bool_]
) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for sensor, table in scores.items():
        heard = rows & ~np.isnan(table[:, column])
        area = auroc(truth[heard], table[heard, column]) if heard.any() else None
        found[sensor] = None if area is None else round(area, 3)
    return found


def best_sensors(areas: Areas) -> dict[str, str]:
    """The sensor with the largest area by predicate."""
    best = {}
    for name, by_sensor in areas.items():
        known = {s: a for s, a in by_sensor.items() if a is not None and s != FUSED}
        if known:
            best[name] = max(sorted(known), key=lambda sensor: known[sensor])
    return best


def counts_of(samples: Samples) -> dict[str, dict[str, int]]:
    """How often each predicate is true and false where it changes."""
    found = {}
    for short, name in PREDICATES.items():
        if name in samples.predicates:
            column = samples.predicates.index(name)
            truth = samples.truth[places_of(samples, column).own, column]
            found[short] = {'true': int((truth == 1).sum()), 'false': int((truth == 0).sum())}
    return found


def print_areas(tables: Mapping[str, dict[str, Any]], best: Mapping[str, str]) -> None:
    """Print a line per predicate: trained / unseen wording of every sensor."""
    for name, by_sensor in tables['trained']['own'].items():
        cells = []
        for sensor in by_sensor:
            pair = [tables[w]['own'][name][sensor] for w in tables]
            if None not in pair:
                mark = '*' if best.get(name) == sensor else ''
                cells.append(f'{sensor}{mark} ' + '/'.join(f'{area:.2f}' for area in pair))
        print(f'{name}: ' + ', '.join(cells))


if __name__ == '__main__':
    main()
