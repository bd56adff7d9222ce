"""What presses buy for a felt fact that a model set was never trained on.

For each felt predicate, encoders of wrench and joints are trained and calibrated by the recipe of
the shipped ones, in fewer steps, and without any fact that shows this predicate. They start from
the trunk of the cameras, because the shipped encoders of wrench and joints know all facts. Then
the predicate is taught from presses in half of the evaluation bags, and tested on the others, as
in `benchmarks.teaching`, in the scenes in which it is both true and false. A calibrated set may
take an unknown text for a similar fact that it knows; without its calibration, teaching starts
from the presses alone.

These facts are left out together, because one follows from another or their sentences name it:

    contact         contact of the tool, of the gripper
    grasped         held, lifted, slipping, dropped (any thing); contact of the gripper
    empty, full     empty, half full, full
    screwed tight   screwed tight, cross-threaded, stripped: all that is about screws
    rough           rough
    inserted        inserted, jammed

Sentences of other facts may still name a predicate in passing ("the robot holds a full cup" is
about the cup). A trained set is kept in `--work`, so that a second call continues.

python -m benchmarks.teaching_contact --data bags/train --val bags/val --tested bags/contact_eval \
    --work runs/teaching_contact
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.contact import PREDICATES, places_of
from benchmarks.contact_ablations import RECIPE, of_sensors, start_without_series, thinned
from benchmarks.environment import write_result
from benchmarks.teaching import ALL, Asked, Draw, Scene, draws_of, table_of
from encoders import Binder, PredicateBank
from encoders.model_sets.calibration import FILE as CALIBRATION
from encoders.model_sets.places import find_set
from encoders.model_sets.sources import load_encoders
from train.arguments import there, whole
from train.bags.find import find_bags, refuse_evaluation_bags
from train.bags.load import load_samples
from train.bags.samples import Samples
from train.calibration.calibrate import calibrate, scores_to_fit
from train.evaluation.evaluate import embed_samples
from train.phrasings import Phrasings, relation_of
from train.training.bind import bind
from train.training.recipe import Recipe, load_recipe

SENSORS = ('wrench', 'joints')
GRIPPER = 'contact(gripper, something)'


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Facts that a training leaves out together.

    Attributes:
        asked: Short names of the predicates that are then taught (`benchmarks.contact`).
        relations: Relations of the facts that are left out.
        facts: Single facts that are left out, too.
    """

    asked: tuple[str, ...]
    relations: tuple[str, ...]
    facts: tuple[str, ...] = ()


GRASP = ('holding', 'holding something', 'lifted', 'lifted something', 'slipping', 'dropped')
TRAININGS = {
    'screws': LeftOut(('screwed tight',), ('screwed tight', 'cross threaded', 'stripped')),
    'pegs': LeftOut(('inserted',), ('inserted', 'jammed')),
    'cups': LeftOut(('full', 'empty'), ('full', 'half full', 'empty')),
    'surfaces': LeftOut(('rough',), ('rough',)),
    'grasps': LeftOut(('grasped',), GRASP, (GRIPPER,)),
    'contact': LeftOut(('contact',), ('contact', 'contact something')),
}
# AUROC that ten presses a side should reach.
AIMS = {'median': 0.85, 'screwed tight': 0.93}
Table = dict[str, dict[str, dict[str, float]]]


def main() -> None:
    """Train what is missing, teach, and write the result file."""
    args = _arguments()
    torch.set_num_threads(1)
    base = load_recipe(RECIPE, max_steps=args.steps, warmup_steps=max(1, args.steps // 6))
    recipe = replace(of_sensors(base, SENSORS), start=str(start_without_series(base, args.work)))
    bags = thinned(find_bags(args.data), args.most_bags)
    refuse_evaluation_bags([*bags, *(val_bags := find_bags(args.val))])
    data, val, tested = (
        _read(each, recipe, args.cache) for each in (bags, val_bags, find_bags(args.tested))
    )
    wording = Phrasings.load(args.wording)
    tables: dict[str, Table] = {'calibrated': {}, 'uncalibrated': {}}
    for name in args.trainings:
        folder = args.work / f'{name}_{args.steps}'
        model = trained(recipe, data, val, folder, left_out=TRAININGS[name])
        encoders = load_encoders(model)
        sets = {'calibrated': encoders, 'uncalibrated': replace(encoders, calibration=None)}
        for short in TRAININGS[name].asked:
            asked = where_it_changes(tested, PREDICATES[short])
            for kind, each in sets.items():
                draws = _drawn(
                    Binder(each), asked, wording, presses=args.presses, draws=args.draws
                )
                tables[kind][short] = rows_of(list(draws))
                print(f'{short}, {kind}: {_line(tables[kind][short])}', flush=True)
    result = {
        'sensors': list(SENSORS),
        'left_out': {short: _names(data, TRAININGS[name]) for name in args.trainings
                     for short in TRAININGS[name].asked},
        'bags': {'training': len(data.bags), 'calibration': len(val.bags),
                 'tested': len(tested.bags)},
        'moments': {'training': len(data), 'calibration': len(val), 'tested': len(tested)},
        'steps': args.steps,
        'wording': args.wording,
        'draws': args.draws,
        'targets': {'presses': 10, 'auroc': AIMS},
        **{kind: {'table': table, 'median': medians(table)} for kind, table in tables.items()},
    }  # fmt: skip
    print(f'written to {write_result(args.name, result)}', flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', type=there, nargs='+', required=True, help='bags to train on')
    parser.add_argument('--val', type=there, nargs='+', required=True, help='to calibrate on')
    parser.add_argument('--tested', type=there, nargs='+', required=True, help='to teach in')
    parser.add_argument('--work', type=Path, required=True, help='where trained sets are kept')
    parser.add_argument('--steps', type=whole(1), default=120)
    parser.add_argument('--most-bags', type=whole(1), default=150, help='to train on')
    parser.add_argument('--trainings', nargs='+', choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument('--wording', default='unseen', help='phrasings: trained or unseen')
    parser.add_argument('--presses', type=whole(1), nargs='+', default=[1, 2, 5, 10, 20])
    parser.add_argument('--draws', type=whole(1), default=20, help='for each predicate')
    parser.add_argument('--cache', type=Path, default=Path('runs/cache'))
    parser.add_argument('--name', default='teaching_contact', help='of the result file')
    return parser.parse_args()


def _read(bags: Sequence[Path], recipe: Recipe, cache: Path) -> Samples:
    samples, report = load_samples(bags, recipe.modalities, cache=cache)
    for line in report.problems:
        print(line, file=sys.stderr)
    return samples


def _names(samples: Samples, left_out: LeftOut) -> list[str]:
    """The facts of these samples that are left out."""
    return [
        name
        for name in samples.predicates
        if name in left_out.facts or relation_of(name) in left_out.relations
    ]


def without(samples: Samples, left_out: LeftOut) -> Samples:
    """The samples without any truth about the facts that are left out."""
    gone = _names(samples, left_out)
    kept = [column for column, name in enumerate(samples.predicates) if name not in gone]
    names = tuple(samples.predicates[column] for column in kept)
    return replace(samples, predicates=names, truth=samples.truth[:, kept])


def trained(
    recipe: Recipe, data: Samples, val: Samples, folder: Path, *, left_out: LeftOut
) -> Path:
    """Train and calibrate a set without some facts, unless `folder` holds it; return its path."""
    model = folder / recipe.name
    if (model / CALIBRATION).exists():
        return model
    bind(recipe, without(data, left_out), folder, overwrite=True)
    known = without(val, left_out)
    encoders = load_encoders(find_set(model))
    embed, phrasings = encoders.text.embed, Phrasings.load(recipe.phrasings)
    scores = scores_to_fit(
        embed_samples(encoders.encoders, known), known, embed=embed, phrasings=phrasings
    )
    fitted = calibrate(scores, known, space=encoders.text.space, embed=embed, phrasings=phrasings)
    fitted.save(model)
    return model


def where_it_changes(samples: Samples, predicate: str) -> Samples:
    """The samples with evidence of the scenes in which a predicate is both true and false.

    They hold only its truth, and the bags of these scenes.
    """
    column = samples.predicates.index(predicate)
    felt = [stored.reshape(len(samples), -1).any(axis=1) for stored in samples.inputs.values()]
    rows = np.flatnonzero(places_of(samples, column).own & np.any(felt, axis=0))
    bags, bag = np.unique(samples.bag[rows], return_inverse=True)
    return replace(
        samples,
        inputs={name: stored[rows] for name, stored in samples.inputs.items()},
        truth=samples.truth[rows][:, [column]],
        predicates=(predicate,),
        bag=bag,
        times_s=samples.times_s[rows],
        bags=tuple(samples.bags[number] for number in bags),
        regions=samples.regions[rows],
        scenes=tuple(samples.scenes[number] for number in bags),
    )


def _drawn(
    binder: Binder,
    samples: Samples,
    wording: Phrasings,
    *,
    presses: Sequence[int],
    draws: int,
) -> Iterator[Draw]:
    """All draws of the only predicate of some samples."""
    scene = Scene(binder, samples, wording)
    asked = Asked(scene, 0, PredicateBank(scene.bank.predicates, binder))
    rng = np.random.default_rng(0)
    for _ in range(draws):
        yield from draws_of(asked, presses, rng)


def rows_of(draws: Sequence[Draw]) -> dict[str, dict[str, float]]:
    """As `table_of`, with the medians of the draws, by number of presses."""
    rows = table_of(draws)[ALL]
    for count, row in rows.items():
        both = [draw.auroc for draw in draws if draw.presses == int(count)]
        row['auroc_text_median'] = round(median(text for text, _ in both), 4)
        row['auroc_median'] = round(median(taught for _, taught in both), 4)
    return rows


def medians(table: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Median of the predicates' means, by number of presses."""
    counts = dict.fromkeys(count for rows in table.values() for count in rows)
    return {
        count: {
            key: round(median(rows[count][key] for rows in table.values() if count in rows), 4)
            for key in ('auroc_text', 'auroc', 'accuracy_text', 'accuracy')
        }
        for count in counts
    }


def _line(rows: Mapping[str, Mapping[str, float]]) -> str:
    text = next(iter(rows.values()))['auroc_text']
    taught = ', '.join(f'{count}: {row["auroc"]:.3f}' for count, row in rows.items())
    return f'text {text:.3f}; presses a side {taught}'


if __name__ == '__main__':
    main()
