"""`lb-ros eval --predicates`: predicates of a file on labelled bags, by text and as taught."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

import torch

from encoders import Binder, load_predicates
from encoders.model_sets.sources import parse_source
from train.bags.find import find_bags
from train.score.cli import ERRORS, lessons_for, reason_of
from train.teaching.own import evaluate_own, medians, print_own


def run(args: argparse.Namespace) -> int:
    """Evaluate; return 0 on success, 2 for unusable input."""
    try:
        if args.predicates is None:
            raise ValueError('--taught needs --predicates, the file of the predicates')
        predicates = load_predicates(args.predicates)
        binder = Binder.load(parse_source(args.model))
        torch.set_num_threads(args.threads)
        results, problems = evaluate_own(
            binder,
            predicates,
            find_bags(args.data),
            lessons=lessons_for(args, binder, command='eval'),
            cache=args.cache,
            workers=args.workers,
        )
        for line in problems:
            print(line, file=sys.stderr)
        if not results:
            raise ValueError('no bag holds ground truth of these predicates')
    except ERRORS as error:
        print(f'lb-ros eval: {reason_of(error)}', file=sys.stderr)
        return 2
    described = {
        'model': binder.model,
        'space': binder.space,
        'predicates': [asdict(each) for each in results],
        'taught': medians(results),
    }
    text = json.dumps(described, indent=2)
    if args.report:
        args.report.write_text(text + '\n')
    if args.json:
        print(text)
    else:
        print_own(binder.model, results)
    return 0
