"""Sentences on real recordings of contact: screws, collisions, grasps; docs/recordings.md.

Encoders are trained by sentences on a part of each set and read zero-shot on the rest: other
screws, other windows of a motion and another motion, other objects. The recordings are not part of
the repository; config/recordings/README.md says how to get them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from benchmarks.environment import write_result
from encoders import Binder
from encoders.model_sets.evidence import Evidence
from encoders.predicates.metrics import auroc
from encoders.predicates.taught import Features, fit
from encoders.preprocess import from_stored, is_series
from encoders.preprocess.mini.series import with_statistics
from encoders.vision.stem import window_statistics
from train.arguments import place, there, whole
from train.bags.recorded import samples_of
from train.bags.samples import Samples, stored_tensor
from train.evaluation.evaluate import embed_stored
from train.evaluation.reading import OPPOSITE, WAYS, Asked, Reader
from train.phrasings import Phrasings
from train.recordings.mapping import read_mapping
from train.training.bind import bind
from train.training.recipe import Recipe, load_recipe

CONFIG = Path(__file__).resolve().parents[1] / 'config'
RECIPE = CONFIG / 'recipes' / 'recordings.yaml'
MODALITY = 'signals'
WORDINGS = ('trained', 'unseen')
HELD_OBJECTS = 10
FOLDS = 5
PRESSES = (1, 2, 5, 10, 20)
DRAWS = 10
Rows = NDArray[np.int64]
Folds = list[tuple[Rows, Rows]]
TAXELS = [f'taxels[{finger}][{taxel}]' for finger in range(3) for taxel in range(24)]


@dataclass(frozen=True)
class Set:
    """One set of recordings.

    Attributes:
        mapping: File in config/recordings.
        channels: Channel to the sentence about it.
        values: Further values of the preprocessing.
        relations: Relations of its facts.
        changes: Values of the recipe that differ.
        only: Runs to use, instead of those of the mapping.
    """

    mapping: str
    channels: Mapping[str, str]
    values: Mapping[str, Any]
    relations: Sequence[str]
    changes: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, Any] | None = None

    def recipe(self, layout: str, *, seed: int) -> Recipe:
        """The recipe with `words`, or with a `fixed` layout of channels."""
        values = {**self.values, 'channels': list(self.channels)}
        if layout == 'words':
            values['words'] = list(self.channels.values())
        return load_recipe(
            RECIPE,
            modalities={MODALITY: values},
            phrasings=str(CONFIG / 'recordings' / 'trained.yaml'),
            relations={MODALITY: dict.fromkeys(self.relations, 1.0)},
            seed=seed,
            **self.changes,
        )


SETS = {
    'unscrewing': Set(
        'unscrewing.yaml',
        {
            'torque': 'torque about the tool axis of the nutrunner, newton metres',
            'angle': 'angle that the bit of the nutrunner has turned, degrees',
        },
        {
            'floor': [0.01, 2.0],
            'relative': ['angle'],
            'required': ['torque'],
            'window_s': 2.0,
            'rate_hz': 64.0,
            'patch_ms': 250.0,
        },
        ['loose'],
        only={},
    ),
    'execution_failures': Set(
        'execution_failures.yaml',
        {
            f'{quantity}.{axis}': f'{quantity} at the wrist {side}, raw counts'
            for quantity in ('force', 'torque')
            for axis, side in (
                ('x', 'along the first axis'),
                ('y', 'along the second axis'),
                ('z', 'along the third axis, the one of approach'),
            )
        },
        {
            'floor': [1.0] * 6,
            'resting': [f'{q}.{a}' for q in ('force', 'torque') for a in 'xyz'],
            'forms': ['absolute', 'logarithm'],
            'window_s': 0.315,
            'rate_hz': 47.619,
            'patch_ms': 63.0,
        },
        ['undisturbed', 'collided', 'collided in front', 'obstructed'],
        changes={'max_steps': 200},
    ),
    'grasp_stability': Set(
        'grasp_stability.yaml',
        {
            name: f'pressure on electrode {index % 24 + 1} of finger {index // 24 + 1}, raw counts'
            for index, name in enumerate(TAXELS)
        },
        {
            'floor': [20.0] * len(TAXELS),
            'forms': ['absolute'],
            'window_s': 0.01,
            'rate_hz': 100.0,
            'patch_ms': 10.0,
        },
        ['slipped'],
        changes={'max_steps': 200, 'batch': {MODALITY: 128}},
    ),
}


def main() -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=there, required=True, help='folder of the NumPy archives')
    parser.add_argument('--sets', nargs='+', choices=tuple(SETS), default=list(SETS))
    parser.add_argument('--layouts', nargs='+', default=['fixed', 'words'])
    parser.add_argument('--seeds', type=whole(1), default=3, help='trainings of each split')
    parser.add_argument('--report', type=place, help='write the result here, not into results/')
    parser.add_argument(
        '--inner', action='store_true', help='only inner folds of the training part, to choose'
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {'seeds': args.seeds, 'sets': {}, 'taught': {}}
    loaded = {name: load(name, args.data) for name in args.sets}
    find = inner_splits if args.inner else splits_of
    for layout in args.layouts:
        for name, samples in loaded.items():
            found = measured(name, samples, find(name, samples), layout=layout, seeds=args.seeds)
            result['sets'].setdefault(name, {})[layout] = found
            if args.report:
                args.report.write_text(json.dumps(result, indent=2) + '\n')
    for name, samples in loaded.items():
        if not args.inner:
            recipe = SETS[name].recipe('fixed', seed=0)
            result['taught'][name] = taught(samples, splits_of(name, samples), recipe)
    print(json.dumps(result, indent=2))
    if args.report:
        args.report.write_text(json.dumps(result, indent=2) + '\n')
    elif not args.inner:
        print(write_result('real_contact', result), file=sys.stderr)
    return 0


def load(name: str, data: Path) -> Samples:
    """All samples of a set."""
    one = SETS[name]
    mapping = read_mapping(CONFIG / 'recordings' / one.mapping)
    if one.only is not None:
        mapping = replace(mapping, only=one.only)
    configs = one.recipe('fixed', seed=0).modalities
    samples, problems = samples_of(mapping, data, configs)
    for line in problems:
        print(line, file=sys.stderr)
    return samples


def splits_of(name: str, samples: Samples) -> dict[str, Folds]:
    """Rows to train on and to test on, by split; a split may have several folds."""
    group = np.array(samples.bags)[samples.bag]
    if name == 'unscrewing':
        size = np.array([each.split(' ', 1)[0] for each in group])
        head = np.array([each.split(' ', 1)[1] for each in group])
        held = ~np.isin(size, ('M4', 'M5'))
        found = {'other sizes': [_fold(held)]} if held.any() else {}
        return found | {f'without {one}': [_fold(head == one)] for one in np.unique(head)}
    if name == 'execution_failures':
        within = {
            f'within {one}': _stratified(samples, np.flatnonzero(group == one))
            for one in np.unique(group)
        }
        first = np.unique(group)[0]
        across = {
            f'{first} to {one}': [(np.flatnonzero(group == first), np.flatnonzero(group == one))]
            for one in np.unique(group)[1:]
        }
        return within | across
    return {f'objects {draw}': [_fold(_some_objects(samples, draw))] for draw in range(3)}


def inner_splits(name: str, samples: Samples) -> dict[str, Folds]:
    """Folds within the part on which all splits train, to choose settings."""
    group = np.array(samples.bags)[samples.bag]
    if name == 'unscrewing':
        rows = np.flatnonzero(np.isin([each.split(' ', 1)[0] for each in group], ('M4', 'M5')))
        small = np.array([each.startswith('M4') for each in group[rows]])
        return {'M5 to M4': [(rows[~small], rows[small])]}
    if name == 'execution_failures':
        rows = np.flatnonzero(group == np.unique(group)[0])
        (train, _), *_ = _stratified(samples, rows)
        return {'inner': _stratified(samples, train)}
    kept = ~_some_objects(samples, 0)
    objects = np.unique(samples.bag[kept])[::4]
    rows = np.flatnonzero(kept)
    held = np.isin(samples.bag[rows], objects)
    return {'inner objects': [(rows[~held], rows[held])]}


def _some_objects(samples: Samples, draw: int) -> NDArray[np.bool_]:
    count = len(samples.bags)
    held = np.random.default_rng(draw).permutation(count)[: min(HELD_OBJECTS, count // 2)]
    return np.isin(samples.bag, held)


def _fold(held: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    return np.flatnonzero(~held), np.flatnonzero(held)


def _stratified(samples: Samples, rows: Rows) -> Folds:
    labels = [str(each) for each in samples.truth[rows]]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return [(rows[train], rows[test]) for train, test in folds.split(rows, labels)]


def measured(
    name: str, samples: Samples, splits: Mapping[str, Folds], *, layout: str, seeds: int
) -> dict[str, Any]:
    """AUROC by split, fact, wording and way of asking: mean and lowest of the seeds."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    reader: Reader | None = None
    for seed in range(seeds):
        recipe = SETS[name].recipe(layout, seed=seed)
        for split, folds in splits.items():
            vectors, binder = _vectors(samples, folds, recipe)
            reader = reader or _reader(binder)  # texts are the same for all encoders
            areas = dict(_areas(samples, vectors, reader))
            for (fact, asked), area in areas.items():
                found.setdefault(split, {}).setdefault(fact, {}).setdefault(asked, []).append(area)
            shown = {' '.join(key): round(area, 4) for key, area in areas.items()}
            print(f'{name}, {layout}, seed {seed}, {split}: {shown}', file=sys.stderr, flush=True)
    return {
        split: {
            fact: {
                asked: {'mean': round(float(np.mean(a)), 4), 'least': round(min(a), 4)}
                for asked, a in areas.items()
            }
            for fact, areas in facts.items()
        }
        for split, facts in found.items()
    }


def _vectors(
    samples: Samples, folds: Folds, recipe: Recipe
) -> tuple[dict[int, NDArray[np.float32]], Binder]:
    """Vectors of the tested rows, each from the encoder of its fold, and the last encoder."""
    vectors: dict[int, NDArray[np.float32]] = {}
    for train, test in folds:
        binder = trained(recipe, rows_of(samples, train))
        encoder = binder._encoders[MODALITY]
        embedded = embed_stored(encoder, samples.inputs[MODALITY][test])
        vectors |= dict(zip(test.tolist(), embedded, strict=True))
    return vectors, binder


def _reader(binder: Binder) -> Reader:
    files = {one: CONFIG / 'recordings' / f'{one}.yaml' for one in WORDINGS}
    return Reader(binder, {one: Phrasings.load(file) for one, file in files.items()})


def _areas(
    samples: Samples, vectors: Mapping[int, NDArray[np.float32]], reader: Reader
) -> Iterator[tuple[tuple[str, str], float]]:
    """AUROC by fact, and by wording and way of asking."""
    rows = np.array(sorted(vectors))
    evidence = [Evidence(vectors[row]) for row in rows.tolist()]
    readings = reader.read(samples.predicates, {MODALITY: evidence})
    for column, fact in enumerate(samples.predicates):
        truth = samples.truth[rows, column] == 1
        for wording in WORDINGS:
            for way in WAYS:
                scores = readings[Asked(wording, way)].scores[MODALITY][:, column]
                area = auroc(~truth if way in OPPOSITE else truth, scores)
                if area is not None:
                    yield (fact, wording if way == 'sides' else f'{wording}, {way}'), area


def rows_of(samples: Samples, rows: Rows) -> Samples:
    """Some of the samples."""
    return replace(
        samples,
        inputs={name: stored[rows] for name, stored in samples.inputs.items()},
        truth=samples.truth[rows],
        bag=samples.bag[rows],
        times_s=samples.times_s[rows],
        regions=samples.regions[rows],
    )


def trained(recipe: Recipe, samples: Samples) -> Binder:
    """Train a model set, and load it."""
    quiet = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        return Binder.load(bind(recipe, samples, Path(folder) / 'run'))


def taught(
    samples: Samples, splits: Mapping[str, Folds], recipe: Recipe
) -> dict[str, dict[str, dict[str, float]]]:
    """AUROC of predicates taught by some examples a side, without a word of training.

    Evidence are the statistics of the window, which every series encoder computes. Examples come
    from the training part of the first fold of a split, and the rest of it is tested.
    """
    (config,) = recipe.modalities.values()
    assert is_series(config)
    stored = samples.inputs[MODALITY]
    table: dict[str, dict[str, dict[str, float]]] = {}
    for split, folds in splits.items():
        train, test = folds[0]
        scaled = with_statistics(config, stored[train])
        inputs = from_stored(stored_tensor(stored), scaled)
        planes = window_statistics(inputs, forms=len(config.forms), steps=config.patch)
        found = planes.flatten(1).numpy()
        for column, fact in enumerate(samples.predicates):
            truth = samples.truth[:, column] == 1
            sides = [train[truth[train] == side] for side in (False, True)]
            row = {}
            for count in PRESSES:
                if min(map(len, sides)) < count or len(set(truth[test])) < 2:
                    continue
                areas = [
                    _taught_area(found, truth, sides, test, count=count, draw=draw)
                    for draw in range(DRAWS)
                ]
                row[str(count)] = round(float(np.mean(areas)), 4)
            table.setdefault(split, {})[fact] = row
    return table


def _taught_area(
    statistics: NDArray[np.float32],
    truth: NDArray[np.bool_],
    sides: Sequence[Rows],
    test: Rows,
    *,
    count: int,
    draw: int,
) -> float:
    rng = np.random.default_rng(draw)
    rows = np.concatenate([rng.choice(side, count, replace=False) for side in sides])
    head = fit(_features(statistics[rows]), truth[rows], None)
    assert head is not None
    area = auroc(truth[test], head.log_odds(_features(statistics[test])).astype(np.float32))
    assert area is not None
    return area


def _features(statistics: NDArray[np.float32]) -> Features:
    odds = np.zeros((len(statistics), 1), np.float32)
    return Features(odds, {'statistics': statistics[:, None]})


if __name__ == '__main__':
    raise SystemExit(main())
