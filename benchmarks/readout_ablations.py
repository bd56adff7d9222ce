"""What matters in the training of a readout: short trainings with one thing changed.

Readouts are trained from scratch on the frozen encoders of a model set, seed by seed, and read
other bags: the log-odds of the sensors are added, without a calibration. AUROCs are medians over
the predicates of a group with at least 5 true and 5 false samples, without facts about things out
of view. A finished run is kept in `--work`, so that a second call continues.

python -m benchmarks.readout_ablations --data bags/train --val bags/heldout --work runs/readouts
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.environment import write_result
from benchmarks.readout_ablation_measures import HeldOut, held_out, measured
from encoders.model_sets.encoder import EncoderSet
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.places import find_set
from encoders.model_sets.sources import load_encoders
from encoders.model_sets.towers import TowerEncoder
from encoders.shipped import shipped
from encoders.vision.readout import Queries, Readout
from train.asked import AskedVectors, asked_vectors
from train.bags.find import find_bags, refuse_evaluation_bags
from train.phrasings import Phrasings
from train.training.loop import Plan, new_run, train
from train.training.ranks import Ranks
from train.training.readout import new_asking
from train.training.readout_recipe import ReadoutRecipe, load_readout_recipe
from train.training.readout_set import readout_of
from train.training.readout_tokens import TokenData, load_tokens, trainable_encoders
from train.training.tower import parameter_groups
from train.vector_cache import embedded

RECIPE = shipped('config/recipes/lb-mini-readout.yaml')
SENSORS = ('image', 'depth')
Runs = dict[int, Any]  # what was measured, by seed
ALONE = Ranks(0, 1, torch.device('cpu'))


@dataclass(frozen=True, slots=True)
class Variant:
    """What differs from the recipe.

    Attributes:
        recipe: Changes of the recipe.
        with_denials: Whether the sentences of training hold denials.
        one_sided: Whether the readout is a `OneSided`.
        every: Trains on every so many bags.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    with_denials: bool = True
    one_sided: bool = False
    every: int = 1


BASE, POOLED = 'as in the recipe', 'without readout'
VARIANTS = {
    BASE: Variant(),
    'no attention supervision': Variant(recipe={'attention_weight': {}}),
    'no denials in the training text': Variant(with_denials=False),
    'no exchanged sides': Variant(one_sided=True),
    'half the data': Variant(every=2),
}


class OneSided(Readout):
    """A readout with the same parameters that does not ask for exchanged sides as well.

    `Readout.ask` is even and odd in the contrast by construction, so that exchanging the sides
    negates the log-odds. Here nothing connects the two orders, and training has the positive side
    first.
    """

    def ask(self, positive: Tensor, negative: Tensor) -> Queries:
        """See `Readout.ask`; exchanging the sides does not negate the directions."""
        yes, no = F.normalize(positive, dim=-1), F.normalize(negative, dim=-1)
        contrast, middle = F.normalize(yes - no, dim=-1), F.normalize(yes + no, dim=-1)
        size = self.config.text_width**0.5 / 4
        forth = torch.cat([contrast, middle], dim=-1) * size
        states = self.middle(middle * size) + self.state(forth)
        return Queries(states, F.normalize(contrast + self.turn(forth), dim=-1))


@dataclass(frozen=True)
class Bench:
    """The frozen encoders, and the bags of training.

    Attributes:
        start: Folder of the model set.
        encoders: Its encoders.
        bags: Training bags.
        cache: Folder of tokens and sentence vectors.
    """

    start: Path
    encoders: EncoderSet
    bags: Sequence[Path]
    cache: Path

    def load(self, bags: Sequence[Path]) -> TokenData:
        """The tokens of some bags."""
        refuse_evaluation_bags(bags)
        data, report = load_tokens(
            self.towers,
            bags,
            weights_sha256=read_manifest(self.start).sha256,
            cache=self.cache,
        )
        for line in report.problems:
            print(line)
        return data

    @property
    def towers(self) -> dict[str, TowerEncoder]:
        """The encoders of the sensors."""
        return trainable_encoders(self.encoders, SENSORS)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Sentence vectors float32 `[N, D]`."""
        text = self.encoders.text
        return embedded(texts, text.embed, space=text.space, folder=self.cache).float()


def main() -> None:
    """Train what is missing, and write the result file."""
    args = arguments()
    torch.set_num_threads(1)
    start = find_set(args.model)
    encoders = load_encoders(start, modalities=SENSORS, device='cpu')
    bench = Bench(start, encoders, find_bags(args.data), args.cache)
    val = held_out(bench.load(find_bags(args.val)), bench.embed)
    args.work.mkdir(parents=True, exist_ok=True)
    rows = {POOLED: {0: measured(val, val.pooled(bench.towers))}, **runs(args, bench, val)}
    result = {
        'sensors': list(SENSORS),
        'encoders': args.model,
        'bags': {'training': len(bench.bags), 'held out': len(val.data.samples.bags)},
        'moments': {'held out': len(val.data.samples)},
        'steps': args.steps,
        'seeds': {name: list(found) for name, found in rows.items() if name != POOLED},
        'predicates': val.counts(),
        'variants': {name: summary(list(found.values())) for name, found in rows.items()},
        'differences': differences(rows),
    }
    print(f'written to {write_result(args.name, result)}')


def arguments() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini', help='whose encoders are used')
    parser.add_argument('--data', type=Path, nargs='+', required=True)
    parser.add_argument('--val', type=Path, nargs='+', required=True)
    parser.add_argument('--work', type=Path, required=True)
    parser.add_argument('--steps', type=int, default=1000)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument('--finished', action='store_true', help='only read finished runs')
    parser.add_argument('--cache', type=Path, default=Path('runs/cache'))
    parser.add_argument('--name', default='readout_ablations')
    return parser.parse_args()


def runs(args: argparse.Namespace, bench: Bench, val: HeldOut) -> dict[str, Runs]:
    """What every variant reads, seed by seed; what is missing is trained."""
    recipe = replace(
        load_readout_recipe(RECIPE, max_steps=args.steps, modalities=SENSORS),
        continued=False,
        device='cpu',
        save_every_steps=args.steps,
    )
    loaded = cache(lambda every: bench.load(bench.bags[::every]))
    rows: dict[str, Runs] = {}
    for seed, name in product(args.seeds, args.variants):
        path = args.work / f'{name}-{seed}.json'.replace(' ', '_')
        if not path.exists() and args.finished:
            continue
        if not path.exists():
            variant = VARIANTS[name]
            own, data = replace(recipe, seed=seed, **variant.recipe), loaded(variant.every)
            readouts = trained(variant, own, bench, data, args.work / 'run')
            path.write_text(json.dumps(measured(val, val.read(readouts))))
        rows.setdefault(name, {})[seed] = json.loads(path.read_text())
        print(f'{name}, seed {seed}: {rows[name][seed]["sides"]}', flush=True)
    return rows


def trained(
    variant: Variant, recipe: ReadoutRecipe, bench: Bench, data: TokenData, out: Path
) -> dict[str, Readout]:
    """Train one variant; the average of its readouts, by sensor."""
    text = bench.encoders.text
    wordings: AskedVectors = asked_vectors(
        data.samples.predicates,
        Phrasings.load(recipe.phrasings),
        text.embed,
        space=text.space,
        cache=bench.cache,
        sentences=recipe.sentences,
        with_denials=variant.with_denials,
    )
    asking = new_asking(recipe, bench.start, data, wordings, ranks=ALONE)
    if variant.one_sided:
        asking.model, asking.average = one_sided(asking.model), one_sided(asking.average)
        asking.average.requires_grad_(False)
    groups = parameter_groups(asking.learning(), weight_decay=recipe.weight_decay)
    plan = Plan(max_steps=recipe.max_steps, clip_norm=recipe.clip_norm)
    run = new_run(asking, plan, groups)
    out.mkdir(parents=True, exist_ok=True)
    train(run, out, ranks=ALONE, resume=False, tensorboard=False, overwrite=True)
    print(f'{run.step} steps in {run.elapsed_s / 60:.1f} min', flush=True)
    return {name: readout_of(asking.average, name) for name in asking.average}


def one_sided(readouts: nn.ModuleDict) -> nn.ModuleDict:
    """The same readouts as `OneSided`."""
    found: dict[str, nn.Module] = {}
    for name in readouts:
        found[name] = OneSided(readout_of(readouts, name).config)
        found[name].load_state_dict(readouts[name].state_dict())
    return nn.ModuleDict(found)


def summary(rows: Sequence[Any]) -> Any:
    """Mean over seeds of everything measured, the values, and their standard deviation.

    What was measured in some runs only is summarised over these.
    """
    if isinstance(rows[0], dict):
        keys = dict.fromkeys(key for row in rows for key in row)
        return {key: summary([row[key] for row in rows if key in row]) for key in keys}
    found: dict[str, Any] = {'mean': round(mean(rows), 3), 'values': [round(v, 3) for v in rows]}
    if len(rows) > 1:
        found['deviation'] = round(stdev(rows), 3)
    return found


def differences(rows: Mapping[str, Runs]) -> dict[str, Any]:
    """The same of every variant less the recipe's of the same seed."""
    base = rows.get(BASE, {})
    found = {}
    for name, runs in rows.items():
        own = dict.fromkeys(base, runs[0]) if name == POOLED else runs
        pairs = [(row, base[seed]) for seed, row in own.items() if seed in base]
        if name != BASE and pairs:
            found[name] = summary([less(row, other) for row, other in pairs])
    return found


def less(row: Any, other: Any) -> Any:
    """All values of a row, reduced by those of another."""
    if isinstance(row, dict):
        return {key: less(row[key], other[key]) for key in row if key in other}
    return row - other


if __name__ == '__main__':
    main()
