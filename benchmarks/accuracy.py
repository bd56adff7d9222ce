"""AUROC of all predicates of a model set on simulator bags, for trained and unseen wording.

docs/training.md records the bags.

python -m benchmarks.accuracy --model lb-mini --data bags/eval bags/eval_live \
        --name accuracy_unseen_scenes
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.environment import write_result
from encoders import Binder
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.places import find_set
from encoders.model_sets.readouts import describe_readouts
from train.bags.find import find_bags
from train.evaluation.cli import wordings_of
from train.evaluation.evaluate import contrast_scores, group_medians, results_of
from train.evaluation.printing import print_evaluation
from train.evaluation.reading import ReadBags, read_bags
from train.evaluation.report import evaluate_model_set
from train.language import fact_vectors
from train.phrasings import Phrasings


def main() -> None:
    """Evaluate and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--data', type=Path, nargs='+', required=True)
    parser.add_argument('--name', required=True, help='of the result file')
    parser.add_argument('--cache', type=Path)
    parser.add_argument('--phrasings', nargs='+', default=[], help='further wordings')
    args = parser.parse_args()
    folder = find_set(args.model)
    binder = Binder.load(folder)
    wordings = wordings_of(args.phrasings)
    read = read_bags(binder, find_bags(args.data), wordings=wordings, cache=args.cache)
    evaluation = evaluate_model_set(binder, read)
    print_evaluation(evaluation)
    provenance = read_manifest(folder).manifest.provenance
    seeds = {'bags': list(read.samples.bags), 'training': provenance.get('seed')}
    readouts = describe_readouts(folder)
    if readouts is not None:
        seeds['readout'] = readouts.provenance.get('seed')
    result = {'seeds': seeds, 'problems': list(read.report.problems), **asdict(evaluation)}
    result['medians_not_anchored'] = {
        name: _not_anchored(binder, read, phrasings, best=evaluation.best)
        for name, phrasings in wordings.items()
    }
    path = write_result(args.name, result)
    print(f'written to {path}')


def _not_anchored(
    binder: Binder, read: ReadBags, phrasings: Phrasings, *, best: dict[str, str]
) -> dict[str, Any]:
    """Medians of the vectors' cosines with the contrasts of the texts themselves."""
    known = [name for name in read.samples.predicates if phrasings.knows(name)]
    columns = [read.samples.predicates.index(name) for name in known]
    samples = replace(read.samples, truth=read.samples.truth[:, columns], predicates=tuple(known))
    asked = fact_vectors(known, phrasings, binder.embed_text)
    return group_medians(results_of(contrast_scores(samples.inputs, asked), samples), best=best)


if __name__ == '__main__':
    main()
