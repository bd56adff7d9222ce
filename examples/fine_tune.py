"""Fine-tune the shipped encoders on a folder of labelled bags, and measure what that brings.

python examples/fine_tune.py BAGS OUT
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from encoders.model_sets.sources import load_encoders, parse_source
from encoders.shipped import shipped
from train.bags.samples import find_bags
from train.evaluation.evaluate import embed_bags, score_predicates
from train.pairs.data import open_pair_data
from train.phrasings import Phrasings
from train.training.contrast import contrast
from train.training.contrast_recipe import load_contrast_recipe
from train.training.ranks import join_ranks

RECIPE = 'config/recipes/lora.yaml'


def accuracy(model: str, bag: Path) -> float:
    """Median AUROC of the predicates of a bag in all of its sensors."""
    encoders = load_encoders(parse_source(model))
    vectors, samples, _ = embed_bags(encoders.encoders, [bag])
    results = score_predicates(vectors, samples, encoders.text.embed, Phrasings.load('trained'))
    return median(result.auroc for result in results)


def main() -> None:
    """Learn from all bags but the last, and compare both model sets on that one."""
    bags, out = find_bags([Path(sys.argv[1])]), Path(sys.argv[2])
    recipe = load_contrast_recipe(
        shipped(RECIPE), batch=16, micro_batch=16, max_steps=20, warmup_steps=2
    )
    with join_ranks() as ranks:
        tuned = contrast(recipe, open_pair_data(bags[:-1], recipe.pairs), out, ranks=ranks)
    for model in ('lb-mini', str(tuned)):
        print(f'{model}: median AUROC {accuracy(model, bags[-1]):.2f} on {bags[-1].name}')


if __name__ == '__main__':
    main()
