"""Roughness of textures that training lacks: an encoder with and without spreads in its summary.

Of the textures of the rubbing task, each is left out of training once, rough and smooth surfaces
alike. AUROC of "the surface is rough" on the bags with that texture, by the wrench alone. The
evaluation suite, with textures of its own, is not used.

    python -m benchmarks.contact_textures --data bags/contact_train bags/contact_rub \
        --work runs/textures
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.contact import PREDICATES
from benchmarks.contact_ablations import RECIPE, SENSOR, of_sensors, start_without_series
from benchmarks.environment import write_result
from encoders.model_sets.sources import load_encoders
from encoders.predicates.metrics import auroc
from encoders.text.minilm import text_tower
from train.bags.find import find_bags, refuse_evaluation_bags
from train.bags.folder import read_marks
from train.bags.load import load_samples
from train.bags.samples import Samples
from train.evaluation.evaluate import contrast_scores, embed_stored
from train.language import fact_vectors
from train.phrasings import Phrasings
from train.training.bind import bind
from train.training.recipe import Recipe, load_recipe

ROUGH = PREDICATES['rough']
VARIANTS = {'without': False, 'with': True}  # spreads in the summary


def main() -> None:
    """Train what is needed and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, nargs='+', required=True)
    parser.add_argument('--work', type=Path, required=True)
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    base = load_recipe(RECIPE, max_steps=args.steps, max_minutes=1000.0, warmup_steps=20)
    start = str(start_without_series(base, args.work))
    recipe = replace(of_sensors(base, [SENSOR]), start=start)
    bags = find_bags(args.data)
    refuse_evaluation_bags(bags)
    by_texture: dict[str, list[Path]] = {}
    for bag in bags:
        by_texture.setdefault(texture_of(bag), []).append(bag)
    found: dict[str, Any] = {}
    for name, held in sorted(by_texture.items()):
        if not name:  # of other tasks
            continue
        data, tested = (
            load_samples(each, recipe.modalities, cache=args.work / 'cache')[0]
            for each in ([bag for bag in bags if bag not in held], held)
        )
        areas = {
            variant: [
                rough_area(
                    replace(recipe, seed=seed, vit=replace(recipe.vit, spreads=spreads)),
                    data,
                    tested,
                    args.work / 'run',
                )
                for seed in args.seeds
            ]
            for variant, spreads in VARIANTS.items()
        }
        found[name] = {'bags': len(held), **areas}
        print(name, found[name], flush=True)
    result = {
        'bags': len(bags),
        'steps': args.steps,
        'seeds': args.seeds,
        'left_out': found,
        'mean': {v: round(mean(a for row in found.values() for a in row[v]), 3) for v in VARIANTS},
    }
    print(f'written to {write_result("contact_textures", result)}')


def texture_of(bag: Path) -> str:
    """The texture that a bag of the rubbing task has; empty for a bag of another task."""
    marks = read_marks(bag)
    return str(marks['shape']) if 'rubbing' in marks['scene'] else ''


def rough_area(recipe: Recipe, data: Samples, tested: Samples, out: Path) -> float:
    """Train, and return the AUROC of roughness."""
    folder = bind(recipe, data, out, overwrite=True)
    encoder = load_encoders(folder).encoders[SENSOR]
    asked = fact_vectors([ROUGH], Phrasings.load('trained'), text_tower(recipe.text_tower).embed)
    vectors = {SENSOR: embed_stored(encoder, tested.inputs[SENSOR])}
    scores = contrast_scores(vectors, asked)[SENSOR][:, 0]
    column = tested.predicates.index(ROUGH)
    sensed = tested.inputs[SENSOR].reshape(len(tested), -1).any(axis=1)
    known = (tested.truth[:, column] >= 0) & sensed
    area = auroc(tested.truth[known, column] == 1, scores[known])
    assert area is not None
    return round(area, 3)


if __name__ == '__main__':
    main()
