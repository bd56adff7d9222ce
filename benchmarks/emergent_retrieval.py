"""Retrieval between sensors that were trained only against language, compared with chance.

A sample of one sensor is the query for the same sample of another: depth by infrared, audio by
image. Intervals are over bags. docs/training.md records the bags.

    python -m benchmarks.emergent_retrieval --data bags/heldout bags/eval bags/eval_live
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from benchmarks.environment import write_result
from encoders.model_sets.places import find_set
from encoders.model_sets.sources import load_encoders
from train.bags.find import find_bags
from train.evaluation.evaluate import embed_bags
from train.evaluation.report import emergent_retrieval


def main() -> None:
    """Measure each folder of bags separately and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--data', type=Path, nargs='+', required=True, help='folders of bags')
    parser.add_argument('--cache', type=Path)
    parser.add_argument('--name', default='emergent_retrieval', help='of the result file')
    args = parser.parse_args()
    encoders = load_encoders(find_set(args.model))
    measured = {}
    for folder in args.data:
        vectors, samples, report = embed_bags(
            encoders.encoders, find_bags([folder]), cache=args.cache
        )
        tables = emergent_retrieval(vectors, samples.bag)
        measured[folder.name] = {
            'bags': len(samples.bags),
            'moments': len(samples),
            'problems': report.problems,
            'retrieval': {
                direction: {
                    'times_chance': {k: round(found.times_chance(k), 2) for k in found.recall},
                    **asdict(found),
                }
                for direction, found in tables.items()
            },
        }
        for direction, found in tables.items():
            print(f'{folder.name}, {direction}: R@1 {found.recall[1]}, '
                  f'{found.times_chance(1):.1f} x chance')  # fmt: skip
    path = write_result(args.name, {'model': args.model, 'data': measured})
    print(f'written to {path}')


if __name__ == '__main__':
    main()
