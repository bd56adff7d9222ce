"""Questions about binding that publications leave open, at the small scale of simulated bags.

`hubs`: language or images as hub. `throughput`: time of the recipe. `depths`: generated or
measured depth. `texts`: one wording or many. Every arm is trained with every seed, one after the
other; finished ones are kept in `--work`, so that a second call resumes. `--eval-bags` are scenes
that were never trained on; nothing is chosen on them.
docs/open_questions.md discusses the results.

python -m benchmarks.open_questions --train-bags bags/train --generator-bags bags/furniture
    --eval-bags bags/eval --work runs/open
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.environment import write_result
from benchmarks.generated_depth import errors, trained_network, write_generated
from benchmarks.open_question_measures import (
    Asked,
    across,
    asked_of,
    by_text,
    candidates,
    difference,
)
from benchmarks.open_question_runs import (
    IMAGE,
    RECIPE,
    SENSORS,
    Arm,
    embedded_by,
    recipe_of,
    sensor_configs,
    timed_steps,
    train_arm,
    write_pairs,
    write_start,
)
from encoders.model_sets.places import find_set
from train.bags.find import find_bags, refuse_evaluation_bags
from train.bags.load import load_samples
from train.bags.samples import Samples
from train.evaluation.evaluate import embed_stored
from train.pairs.shards import open_pair_set
from train.training.hub import image_encoder

HUBS = ('language', 'image')
DEPTHS = {'measured': 'one', 'generated': 'generated', 'half of each': 'mixed'}
TEXTS = {'one wording': 'one', 'all wordings': 'all'}
TIMED_STEPS = 5
NOT_RUN = {
    'hubs': 'wrench: see contact_hub.json',
    'texts': 'captions by machine: no pretrained captioner was at hand',
    'all': 'the size of LanguageBind, and real sensors',
}
By = dict[str, Any]
Vectors = dict[str, NDArray[np.float32]]


class Bench:
    """Options, prepared data and the samples that all arms are evaluated on."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.work: Path = args.work
        self.steps: int = args.steps
        self.batch: int = args.batch
        self.seeds: list[int] = args.seeds
        self.tuning: str = args.tuning
        self.train_bags = find_bags(args.train_bags)
        self.generator_bags = find_bags(args.generator_bags)
        refuse_evaluation_bags([*self.train_bags, *self.generator_bags])
        write_start(self.work / 'start')
        self.pairs = self.work / 'pairs_one'
        self.cutting_s = write_pairs(self.train_bags, self.pairs, wordings=1)
        self.samples, _ = load_samples(
            find_bags(args.eval_bags),
            sensor_configs(self.work / 'start'),
            cache=self.work / 'cache',
        )
        self.rows = candidates(len(self.samples))
        path = self.work / f'images_{len(self.samples)}.npy'
        if not path.is_file():
            encoder = image_encoder(find_set('lb-mini'))
            np.save(path, embed_stored(encoder, self.samples.inputs[IMAGE][self.rows]))
        self.images: NDArray[np.float32] = np.load(path)

    def arm(self, sensor: str, hub: str = 'language', *, pairs: str = 'one') -> Arm:
        """An arm with the tuning of this call."""
        return Arm(sensor, hub, pairs, self.tuning)

    def vectors(self, arm: Arm) -> Vectors:
        """Train an arm where that is not done; the vectors of the evaluation samples by seed."""
        found = {}
        for seed in self.seeds:
            folder = train_arm(arm, self.work, steps=self.steps, batch=self.batch, seed=seed)
            stored = self.samples.inputs[arm.sensor]
            found[str(seed)] = embedded_by(folder, arm, stored, work=self.work)
            print(f'{arm.key}, seed {seed}: {(folder / "run.json").read_text()}', flush=True)
        return found

    def asked(self, arm: Arm) -> Asked:
        """The predicates of an arm's sensor, asked by text."""
        return asked_of(arm.sensor, self.vectors(arm), self.samples)


def hubs(bench: Bench) -> By:
    """Every sensor bound to language, and to images: by text, and by another sensor."""
    bound: dict[str, dict[str, Vectors]] = {
        hub: {sensor: bench.vectors(bench.arm(sensor, hub)) for sensor in SENSORS} for hub in HUBS
    }
    found: By = {}
    for sensor in SENSORS:
        asked = {hub: asked_of(sensor, bound[hub][sensor], bench.samples) for hub in HUBS}
        found[sensor] = {hub: by_text(own) for hub, own in asked.items()}
        found[sensor]['image minus language'] = difference(asked['image'], asked['language'])
    seeds = len(bench.seeds)
    for hub in HUBS:
        sensors = {
            name: [vectors[bench.rows] for vectors in by_seed.values()]
            for name, by_seed in bound[hub].items()
        }
        sensors[IMAGE] = [bench.images] * seeds
        found[f'across sensors, {hub}'] = {
            f'{one} -> {other}': across(
                sensors[one], sensors[other], bench.samples.bag[bench.rows]
            )
            for one in sensors
            for other in sensors
            if one != other
        }
    return found


def throughput(bench: Bench) -> By:
    """Where the processor time of the recipe goes, on one core."""
    pairs = len(open_pair_set(bench.pairs))
    found: By = {
        'cutting pairs of four sensors': {
            'ms_per_pair': round(1e3 * bench.cutting_s / pairs, 2),
            'pairs_per_core_hour': round(3600 * pairs / bench.cutting_s),
        }
    }
    for sensor in SENSORS:
        recipe = recipe_of(Arm(sensor), bench.work, steps=TIMED_STEPS, batch=bench.batch, seed=0)
        found[sensor] = timed_steps(recipe, bench.pairs, bench.work / 'cache', steps=TIMED_STEPS)
    return found


def depths(bench: Bench) -> By:
    """Depth bound from measured, generated and mixed pairs; always asked of measured depth."""
    generator = bench.work / 'pairs_generator'
    write_pairs(bench.generator_bags, generator)
    if not (bench.work / 'generator.json').is_file():
        network = trained_network(open_pair_set(generator), steps=300, seed=0)
        found = errors(network, open_pair_set(bench.pairs))
        for name, share in (('generated', 1.0), ('mixed', 0.5)):
            write_generated(bench.pairs, bench.work / f'pairs_{name}', network, share=share)
        (bench.work / 'generator.json').write_text(json.dumps(found))
    asked = {name: bench.asked(bench.arm('depth', pairs=pairs)) for name, pairs in DEPTHS.items()}
    return {
        'generator on the binding bags': json.loads((bench.work / 'generator.json').read_text()),
        **{name: by_text(own) for name, own in asked.items()},
        **{
            f'{name} minus measured': difference(own, asked['measured'])
            for name, own in asked.items()
            if name != 'measured'
        },
    }


def texts(bench: Bench) -> By:
    """Depth bound with one wording of each fact, and with all of them, from the same images."""
    write_pairs(bench.train_bags, bench.work / 'pairs_all')
    asked = {name: bench.asked(bench.arm('depth', pairs=pairs)) for name, pairs in TEXTS.items()}
    return {
        **{name: by_text(own) for name, own in asked.items()},
        'all minus one': difference(asked['all wordings'], asked['one wording']),
    }


PARTS: dict[str, Callable[[Bench], By]] = {
    'hubs': hubs,
    'throughput': throughput,
    'depths': depths,
    'texts': texts,
}


def described(samples: Samples) -> By:
    """What the arms are evaluated on."""
    return {'bags': len(samples.bags), 'samples': len(samples)}


def main() -> None:
    """Answer the questions one by one; the result file is written after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--train-bags', type=Path, nargs='+', required=True)
    parser.add_argument('--generator-bags', type=Path, nargs='+', required=True)
    parser.add_argument('--eval-bags', type=Path, nargs='+', required=True)
    parser.add_argument('--work', type=Path, required=True, help='pairs, model sets, vectors')
    parser.add_argument('--tuning', choices=('probe', 'full'), default='probe')
    parser.add_argument('--steps', type=int, default=600)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--name', default='open_questions', help='of the result file')
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    found: By = {}
    for part in args.parts:
        found[part] = PARTS[part](bench)
        result = {
            'train_bags': len(bench.train_bags),
            'generator_bags': len(bench.generator_bags),
            'evaluation': described(bench.samples),
            'recipe': {
                'file': RECIPE.name,
                'tuning': args.tuning,
                'steps': args.steps,
                'batch': args.batch,
                'seeds': args.seeds,
            },
            'not_run': NOT_RUN,
            **found,
        }
        print(f'{part}: written to {write_result(args.name, result)}', flush=True)


if __name__ == '__main__':
    main()
