"""AUROC of all predicates of a model set on simulator bags, for trained and unseen wording.

docs/training.md records the bags.

python -m benchmarks.accuracy --model lb-mini --data bags/eval bags/eval_live \
        --name accuracy_unseen_scenes
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from benchmarks.environment import write_result
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.places import find_set
from encoders.model_sets.sources import load_encoders
from train.bags.find import find_bags
from train.evaluation.evaluate import embed_bags
from train.evaluation.report import evaluate_model_set, print_evaluation


def main() -> None:
    """Evaluate and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--data', type=Path, nargs='+', required=True)
    parser.add_argument('--name', required=True, help='of the result file')
    parser.add_argument('--cache', type=Path)
    args = parser.parse_args()
    folder = find_set(args.model)
    encoders = load_encoders(folder)
    bags = find_bags(args.data)
    vectors, samples, report = embed_bags(encoders.encoders, bags, cache=args.cache)
    evaluation = evaluate_model_set(encoders, vectors, samples)
    print_evaluation(evaluation)
    plain = evaluate_model_set(encoders, vectors, samples, anchor=False)
    provenance = read_manifest(folder).manifest.provenance
    seeds = {'bags': list(samples.bags), 'training': provenance.get('seed')}
    problems = list(report.problems)
    result = {'seeds': seeds, 'problems': problems, **asdict(evaluation)}
    result['medians_not_anchored'] = plain.medians
    path = write_result(args.name, result)
    print(f'written to {path}')


if __name__ == '__main__':
    main()
