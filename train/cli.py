"""`lb-ros train`, `lb-ros calibrate` and `lb-ros eval`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.arguments import Parser, model, there
from train.calibration.arguments import add_arguments as add_decision_arguments
from train.evaluation.arguments import add_arguments as add_eval_arguments
from train.evaluation.arguments import add_reading_arguments
from train.pairs.arguments import add_arguments as add_pairs_arguments
from train.pairs.arguments import options_of
from train.pairs.vocabulary_arguments import add_arguments as add_vocabulary_arguments
from train.training.arguments import (
    BIND_EPILOG,
    add_bind_arguments,
    add_contrast_arguments,
    add_readout_arguments,
)

if TYPE_CHECKING:
    from train.bags.samples import Samples


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand of `lb-ros`."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros train`."""
    parser.epilog = BIND_EPILOG
    recipes = parser.add_subparsers(dest='recipe', required=True, metavar='WHAT')
    for name, about, declare in (
        ('bind', 'bind sensors to language, trunk and all', add_bind_arguments),
        (
            'contrast',
            'bind sensors of any model set to language, by low-rank updates or more',
            add_contrast_arguments,
        ),
        (
            'readout',
            "train readouts of any model set: the text asks each sensor's tokens",
            add_readout_arguments,
        ),
        ('pairs', 'cut bags into language pairs, as webdataset shards', add_pairs_arguments),
        ('vocabulary', 'words and phrases of captions, balanced', add_vocabulary_arguments),
    ):
        declare(recipes.add_parser(name, help=about, description=about))


def run_train(args: argparse.Namespace) -> int:
    """Train a model set, or make pairs."""
    if args.recipe == 'bind':
        return _run_bind(args)
    if args.recipe == 'readout':
        from train.training import readout_cli

        return readout_cli.run(args)
    if args.recipe == 'vocabulary':
        from train.pairs import vocabulary_cli

        return vocabulary_cli.run(args)
    if args.recipe == 'pairs':
        try:  # checked before imports that take seconds
            options_of(args)
        except ValueError as error:
            return _fail('train pairs', error)
        from train.pairs import cli as pairs

        return pairs.run(args)
    from train.training import cli as contrast

    return contrast.run(args)


def _run_bind(args: argparse.Namespace) -> int:
    from train.bags.find import find_bags, refuse_evaluation_bags
    from train.bags.recorded import wording_of
    from train.training.bind import bind
    from train.training.checkpoint import CheckpointError, DivergedError, refuse_other_run
    from train.training.hub import inputs_to_read
    from train.training.recipe import load_recipe

    try:
        refuse_other_run(args.out, resume=args.resume, overwrite=args.overwrite)
        bags = find_bags(args.data)
        refuse_evaluation_bags(bags)
        recipe = load_recipe(
            args.config,
            start=args.start,
            max_minutes=args.max_minutes,
            hub=args.hub,
            phrasings=wording_of(bags),
        )
        data = _load(bags, inputs_to_read(recipe), args)
        val = _load(find_bags(args.val), recipe.modalities, args) if args.val else None
        provenance = {'bags': len(data.bags), 'moments': len(data), 'seed': recipe.seed}
        folder = bind(
            recipe,
            data,
            args.out,
            val=val,
            resume=args.resume,
            overwrite=args.overwrite,
            tensorboard=args.tensorboard,
            cache=args.cache,
            provenance=provenance,
        )
    except (OSError, ValueError) as error:
        return _fail('train', error)
    except (CheckpointError, DivergedError) as error:
        return _fail('train', error, code=1)
    print(f'model set written to {folder}')
    return 0


def add_calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros calibrate`."""
    parser.epilog = (
        'example: lb-ros calibrate --model runs/mine/lb-mini --data bags/val --out predicates.yaml'
    )
    parser.add_argument(
        '--model',
        type=model,
        required=True,
        help='model set; the calibration is written into it, or into a copy (see --overwrite)',
    )
    parser.add_argument(
        '--data', type=there, nargs='+', required=True, help='bags with ground truth'
    )
    add_decision_arguments(parser)
    add_reading_arguments(parser)


def run_calibrate(args: argparse.Namespace) -> int:
    """Fit probabilities; return 0 on success, 2 for unusable input."""
    from train.calibration import cli as calibration

    return calibration.run(args)


def _load(bags: list[Path], configs: dict[str, Any], args: argparse.Namespace) -> Samples:
    import torch

    from train.bags.load import load_samples
    from train.evaluation.cli import print_load_report

    torch.set_num_threads(args.threads)
    samples, report = load_samples(bags, configs, cache=args.cache, workers=args.workers)
    print_load_report(report)
    return samples


def _fail(command: str, error: Exception, *, code: int = 2) -> int:
    print(f'lb-ros {command}: {error}', file=sys.stderr)
    return code


def run_eval(args: argparse.Namespace) -> int:
    """Evaluate a model set; return 0 on success, 2 for unusable input."""
    if args.predicates or args.taught:
        from train.teaching import eval_cli

        return eval_cli.run(args)
    from train.evaluation import cli as evaluation

    return evaluation.run(args)


COMMANDS: dict[str, Command] = {
    'train': Command('train encoders from bags', add_train_arguments, run_train),
    'calibrate': Command(
        'fit probabilities from labelled bags', add_calibrate_arguments, run_calibrate
    ),
    'eval': Command('measure a model set on labelled bags', add_eval_arguments, run_eval),
}


def main() -> int:
    """Entry point of `python -m train.cli`."""
    parser = Parser(description=__doc__)
    subparsers = parser.add_subparsers(dest='command', required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(subparsers.add_parser(name, help=command.help))
    try:
        args = parser.parse_args()
    except SystemExit as end:  # help, or a wrong argument
        return int(end.code or 0)
    return COMMANDS[args.command].run(args)


if __name__ == '__main__':
    raise SystemExit(main())
