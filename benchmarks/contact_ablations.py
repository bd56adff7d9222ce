"""What of the input of a wrench matters: short trainings of its encoder with one thing changed.

Bags are read once, at the longest window and the highest rate; the variants are cut from that, so
that all see the same moments. A finished variant is kept in `--work`, so that a second call
continues. Trainings start from the trunk of the cameras: the shipped wrench encoder knows all
facts. Mean AUROC over the predicates of `benchmarks.contact`, where they change.

python -m benchmarks.contact_ablations --data bags/contact --val bags/val --work runs/ablations
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.contact import PREDICATES, places_of
from benchmarks.environment import write_result
from encoders.model_sets.files import ModelSet, load_model_set, save_model_set
from encoders.model_sets.places import MANIFEST, find_set
from encoders.model_sets.sources import load_encoders
from encoders.predicates.metrics import auroc
from encoders.preprocess import is_series
from encoders.preprocess.mini import series
from encoders.preprocess.mini.series import SeriesConfig
from encoders.shipped import shipped
from encoders.text.minilm import text_tower
from train.bags.find import find_bags, refuse_evaluation_bags
from train.bags.load import load_samples
from train.bags.samples import Samples
from train.evaluation.evaluate import contrast_scores, embed_stored
from train.language import fact_vectors
from train.phrasings import Phrasings
from train.training.bind import bind
from train.training.recipe import Recipe, load_recipe

RECIPE = shipped('config/recipes/lb-mini-contact.yaml')
SENSOR = 'wrench'
# Windows of the base; that those of the recipe are shorter is a result of this comparison.
BASE_S = 2.0
LONGEST_S, FASTEST_HZ = 4.0, 100.0
# Those that a wrench alone can answer.
MEASURED = ('contact', 'grasped', 'empty', 'full', 'screwed tight', 'rough', 'inserted')
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Variant:
    """What differs from the recipe.

    Attributes:
        config: Changes of the preprocessing.
        recipe: Changes of the recipe.
        spreads: Whether patches hold the spread of values and differences.
        summary: Whether the summary of the window holds their mean and maximum.
        bias_n: Standard deviation of a bias of an untared sensor, N; 0.02 m times it for torque.
    """

    config: Mapping[str, Any]
    recipe: Mapping[str, Any]
    spreads: bool = True
    summary: bool = True
    bias_n: float = 0.0


def variant(
    *,
    recipe: Mapping[str, Any] | None = None,
    spreads: bool = True,
    summary: bool = True,
    bias_n: float = 0.0,
    **config: Any,
) -> Variant:
    """A variant; keywords are changes of the preprocessing."""
    return Variant(config, recipe or {}, spreads, summary, bias_n)


WORDS = tuple(
    f'{quantity} {axis} at the wrist of the robot, {unit}'
    for quantity, unit in (('force along', 'newtons'), ('torque about', 'newton metres'))
    for axis in ('the x axis', 'the y axis', 'the tool axis')
)
VARIANTS = {
    'as in the recipe': variant(),
    'without spreads': variant(spreads=False, summary=False),
    'spreads of patches only': variant(summary=False),
    'no facts about absent things': variant(recipe={'absent_share': 0.0}),
    'absent things weigh like others': variant(recipe={'absent_share': None}),
    'changes only (tared, since start)': variant(forms=('tared', 'change')),
    'absolute values only': variant(forms=('absolute',)),
    'untared sensor, bias 3 N': variant(bias_n=3.0),
    'window 1 s': variant(window_s=1.0),
    'window 4 s': variant(window_s=4.0, patch_ms=160.0),
    '50 Hz': variant(rate_hz=50.0),
    '25 Hz': variant(rate_hz=25.0),
    'channels in words': variant(words=WORDS),
}


def main() -> None:
    """Train what is missing, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, nargs='+', required=True)
    parser.add_argument('--val', type=Path, nargs='+', required=True)
    parser.add_argument('--work', type=Path, required=True)
    parser.add_argument('--steps', type=int, default=120)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--most-bags', type=int, default=300, help='of each kind')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument('--cache', type=Path, default=Path('runs/cache'))
    parser.add_argument('--name', default='contact_ablations')
    args = parser.parse_args()
    torch.set_num_threads(1)
    changes = {
        'max_steps': args.steps,
        'max_minutes': 1000.0,
        'warmup_steps': max(1, args.steps // 6),
    }
    base = load_recipe(RECIPE, **changes)
    sensor = replace(base.modalities[SENSOR], window_s=BASE_S)
    base = replace(base, modalities={**base.modalities, SENSOR: sensor})
    args.work.mkdir(parents=True, exist_ok=True)
    base = replace(base, start=str(start_without_series(base, args.work)))
    data, val = (
        read(thinned(find_bags(folders), args.most_bags), base, args.cache)
        for folders in (args.data, args.val)
    )
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in args.variants}
    for seed in args.seeds:
        for name in args.variants:
            path = args.work / f'{name}-{args.steps}-{seed}.json'.replace(' ', '_')
            if not path.exists():
                found = run(VARIANTS[name], base, data, val, args.work / 'run', seed=seed)
                path.write_text(json.dumps(found))
            rows[name].append(json.loads(path.read_text()))
            print(f'{name}, seed {seed}: {rows[name][-1]["mean"]:.3f}', flush=True)
        result = {
            'sensor': SENSOR,
            'bags': {'training': len(data.bags), 'validation': len(val.bags)},
            'moments': {'training': len(data), 'validation': len(val)},
            'steps': args.steps,
            'seeds': args.seeds[: len(rows[args.variants[0]])],
            'variants': {name: summary(found) for name, found in rows.items()},
        }
        print(f'written to {write_result(args.name, result)}', flush=True)


def of_sensors(recipe: Recipe, sensors: Sequence[str]) -> Recipe:
    """The recipe with some of its sensors."""
    return replace(
        recipe,
        modalities={name: recipe.modalities[name] for name in sensors},
        batch={name: recipe.batch[name] for name in sensors},
        relations={name: recipe.relations[name] for name in sensors},
    )


def start_without_series(recipe: Recipe, work: Path) -> Path:
    """The start of a recipe without its encoders of series, in a folder of `work`."""
    folder = work / 'start'
    if not (folder / MANIFEST).exists():
        assert recipe.start is not None
        found = load_model_set(find_set(recipe.start))
        specs = found.manifest.modalities
        kept = {name: spec for name, spec in specs.items() if not is_series(spec.preprocess)}
        towers = {name: found.towers[name] for name in kept}
        save_model_set(folder, ModelSet(replace(found.manifest, modalities=kept), towers))
    return folder


def thinned(bags: list[Path], most: int) -> list[Path]:
    """About so many bags, evenly of all scenes."""
    return bags[:: max(1, round(len(bags) / most))]


def read(bags: list[Path], recipe: Recipe, cache: Path) -> Samples:
    """Samples with the longest window at the highest rate."""
    refuse_evaluation_bags(bags)
    config = recipe.modalities[SENSOR]
    assert isinstance(config, SeriesConfig)
    long = replace(config, window_s=LONGEST_S, rate_hz=FASTEST_HZ)
    samples, report = load_samples(bags, {SENSOR: long}, cache=cache)
    for line in report.problems:
        print(line)
    return samples


def run(
    one: Variant, base: Recipe, data: Samples, val: Samples, out: Path, *, seed: int
) -> dict[str, float]:
    """Train one variant; AUROC by predicate on the validation bags, and their mean."""
    config = base.modalities[SENSOR]
    assert isinstance(config, SeriesConfig)
    config = replace(config, **one.config)
    recipe = replace(
        of_sensors(base, [SENSOR]),
        modalities={SENSOR: config},
        vit=replace(base.vit, spreads=one.summary),
        seed=seed,
        **one.recipe,
    )
    rng = np.random.default_rng(seed)
    train_data, val_data = (cut(each, config, one.bias_n, rng) for each in (data, val))
    with patched(spreads=one.spreads):
        folder = bind(recipe, train_data, out, overwrite=True)
        vectors = embed_stored(load_encoders(folder).encoders[SENSOR], val_data.inputs[SENSOR])
    return areas(vectors, val_data, recipe)


def cut(
    samples: Samples, config: SeriesConfig, bias_n: float, rng: np.random.Generator
) -> Samples:
    """The same moments with a shorter window or a lower rate."""
    stored = samples.inputs[SENSOR]
    every = round(FASTEST_HZ / config.rate_hz)
    steps = stored[:, stored.shape[1] - config.steps * every :]
    grouped = steps.reshape(len(steps), config.steps, every, -1)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # all of a group may be masked
        values = np.nanmean(grouped, axis=2)
    sensed = stored.reshape(len(stored), -1).any(axis=1)
    bias = np.array([1, 1, 1, 0.02, 0.02, 0.02]) * bias_n
    found = np.concatenate([stored[:, :1], values], axis=1)
    found = (found + rng.normal(size=(len(samples.bags), 1, 6))[samples.bag] * bias).astype('f4')
    found[~sensed] = 0
    return replace(samples, inputs={SENSOR: found})


@contextmanager
def patched(*, spreads: bool) -> Iterator[None]:
    """Blank the spreads of patches, unless they are wanted."""
    if spreads:
        yield
        return
    known = series._spreads

    def blank(*given: Any) -> list[torch.Tensor]:
        return [torch.zeros_like(each) for each in known(*given)]

    with mock.patch.object(series, '_spreads', blank):
        yield


def areas(
    vectors: Floats, samples: Samples, recipe: Recipe, *, wording: str = 'trained'
) -> dict[str, float]:
    """AUROC by predicate in one wording, and against absent things; with the means."""
    embed = text_tower(recipe.text_tower).embed
    names = [PREDICATES[short] for short in MEASURED]
    asked = fact_vectors(names, Phrasings.load(wording), embed)
    scores = contrast_scores({SENSOR: vectors}, asked)[SENSOR]
    sensed = samples.inputs[SENSOR].reshape(len(samples), -1).any(axis=1)
    own: dict[str, float] = {}
    absent: dict[str, float] = {}
    for place, short in enumerate(MEASURED):
        column = samples.predicates.index(PREDICATES[short])
        truth, places = samples.truth[:, column] == 1, places_of(samples, column)
        for found, rows in ((own, places.own & sensed), (absent, places.absent & sensed)):
            area = auroc(truth[rows], scores[rows, place])
            if area is not None:
                found[short] = round(area, 4)
    return {**own, 'mean': mean(own.values()), 'mean against absent things': mean(absent.values())}


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Mean over seeds of every value, and the standard deviation of the mean's."""
    found: dict[str, Any] = {key: round(mean(row[key] for row in rows), 3) for key in rows[0]}
    if len(rows) > 1:
        found['deviation'] = round(stdev(row['mean'] for row in rows), 3)
    return found


if __name__ == '__main__':
    main()
