"""Fine-tune the shipped encoders on a folder of labelled bags, and measure the improvement.

python examples/fine_tune.py BAGS OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

from encoders.model_sets.sources import load_encoders, parse_source
from encoders.shipped import shipped
from train.bags.find import find_bags
from train.evaluation.evaluate import embed_bags, score_predicates
from train.pairs.data import open_pair_data
from train.phrasings import Phrasings
from train.training.contrast import contrast
from train.training.contrast_recipe import load_contrast_recipe
from train.training.ranks import join_ranks

RECIPE, SENSOR, STEPS = 'config/recipes/lora.yaml', 'depth', 6


def accuracy(model: str, bag: Path) -> dict[str, float]:
    """Return the AUROC of every predicate of a bag for the sensor that is fine-tuned."""
    encoders = load_encoders(parse_source(model))
    vectors, samples, _ = embed_bags({SENSOR: encoders.encoders[SENSOR]}, [bag])
    results = score_predicates(vectors, samples, encoders.text.embed, Phrasings.load('trained'))
    return {result.name: result.auroc for result in results}


def main() -> None:
    """Train on all bags but the last, and compare both model sets on the last."""
    bags, out = find_bags([Path(sys.argv[1])]), Path(sys.argv[2])
    sensor = {'modalities': [SENSOR], 'patch_dropout': {SENSOR: 0.5}}
    small = {'batch': 12, 'micro_batch': 12, 'max_steps': STEPS, 'learning_rate': 1e-3}
    recipe = load_contrast_recipe(shipped(RECIPE), **sensor, **small, warmup_steps=2)
    with join_ranks() as ranks:
        tuned = contrast(recipe, open_pair_data(bags[:-1], recipe.pairs), out, ranks=ranks)
    before, after = accuracy('lb-mini', bags[-1]), accuracy(str(tuned), bags[-1])
    for name, value in before.items():
        print(f'{name}: AUROC {value:.2f}, fine-tuned {after[name]:.2f}')


if __name__ == '__main__':
    main()
