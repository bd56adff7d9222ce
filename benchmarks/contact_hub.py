"""Language or images as hub for a sensor that is no picture: a wrench, bound either way.

LanguageBind binds sensors to sentences, ImageBind to images of the same moments. Both publications
bind sensors that look like pictures. Here the wrench of contact tasks is bound to the sentences of
its facts, or to the vectors of the camera, from the same bags with the same number of steps. Both
are asked by text, on shapes that were never used for training, and find the image of a moment.

    python -m benchmarks.contact_hub --data bags/contact_pictures --eval bags/contact_eval \
        --pictures bags/contact_seen --work runs/contact_hub
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.contact_ablations import RECIPE, SENSOR, areas, of_sensors, start_without_series
from benchmarks.environment import write_result
from benchmarks.open_question_measures import across, candidates
from encoders.model_sets.places import find_set
from encoders.model_sets.sources import load_encoders
from encoders.preprocess import Config
from train.bags.find import find_bags, refuse_evaluation_bags
from train.bags.load import load_samples
from train.bags.samples import Samples
from train.evaluation.evaluate import embed_stored
from train.training.bind import bind
from train.training.hub import IMAGE, image_encoder
from train.training.recipe import Recipe, load_recipe

HUBS = ('language', IMAGE)
WORDINGS = ('trained', 'unseen')
Vectors = NDArray[np.float32]


def main() -> None:
    """Train both ways with every seed, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, nargs='+', required=True, help='with pictures')
    parser.add_argument('--eval', type=Path, nargs='+', required=True)
    parser.add_argument('--pictures', type=Path, nargs='+', required=True, help='evaluation too')
    parser.add_argument('--work', type=Path, required=True)
    parser.add_argument('--steps', type=int, default=300)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    base = load_recipe(RECIPE, max_steps=args.steps, max_minutes=1000.0)
    start = str(start_without_series(base, args.work))
    recipe = replace(of_sensors(base, [SENSOR]), start=start)
    images = load_encoders(find_set('lb-mini'), modalities=(IMAGE,)).encoders[IMAGE].config
    own = {SENSOR: recipe.modalities[SENSOR]}
    refuse_evaluation_bags(find_bags(args.data))
    data = samples_of(args.data, {**own, IMAGE: images}, args.work)
    felt = samples_of(args.eval, own, args.work)
    seen = samples_of(args.pictures, {**own, IMAGE: images}, args.work)
    found: dict[str, Any] = {}
    for hub in HUBS:
        vectors = []
        for seed in args.seeds:
            one = replace(recipe, hub=hub, seed=seed)
            folder = bind(one, data, args.work / f'{hub}_{seed}', overwrite=True, cache=args.work)
            encoder = load_encoders(folder).encoders[SENSOR]
            vectors.append([embed_stored(encoder, each.inputs[SENSOR]) for each in (felt, seen)])
        of_felt, of_seen = zip(*vectors, strict=True)
        found[hub] = by_text(of_felt, felt, recipe) | by_images(of_seen, seen)
        print(hub, json.dumps(found[hub]), flush=True)
    result = {
        'sensor': SENSOR,
        'bags': {'training': len(data.bags), 'evaluation': len(felt.bags), 'seen': len(seen.bags)},
        'moments': {'training': len(data), 'evaluation': len(felt), 'seen': len(seen)},
        'steps': args.steps,
        'seeds': args.seeds,
        'hubs': found,
    }
    print(f'written to {write_result("contact_hub", result)}')


def samples_of(folders: Sequence[Path], configs: dict[str, Config], cache: Path) -> Samples:
    """Labelled samples of bags."""
    samples, report = load_samples(find_bags(folders), configs, cache=cache)
    for line in report.problems:
        print(line)
    return samples


def by_text(vectors: Sequence[Vectors], samples: Samples, recipe: Recipe) -> dict[str, Any]:
    """AUROC by predicate and wording, means over seeds; and the mean of each seed."""
    found: dict[str, Any] = {}
    for wording in WORDINGS:
        rows = [areas(each, samples, recipe, wording=wording) for each in vectors]
        found[wording] = {key: round(mean(row[key] for row in rows), 3) for key in rows[0]}
        found[wording]['mean by seed'] = [round(row['mean'], 3) for row in rows]
    return found


def by_images(vectors: Sequence[Vectors], samples: Samples) -> dict[str, Any]:
    """Retrieval of the image of a moment by its wrench."""
    sensed = samples.inputs[SENSOR].reshape(len(samples), -1).any(axis=1)
    rows = np.flatnonzero(sensed)[candidates(int(sensed.sum()))]
    encoder = image_encoder(find_set('lb-mini'))
    images = embed_stored(encoder, samples.inputs[IMAGE][rows])
    queries = [each[rows] for each in vectors]
    return {'wrench -> image': across(queries, [images] * len(queries), samples.bag[rows])}


if __name__ == '__main__':
    main()
