"""`lb-ros train`, `lb-ros calibrate` and `lb-ros eval`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from encoders.model_sets.sources import find_set, load_encoders
from train.bags.find import find_bags, refuse_evaluation_bags
from train.bags.load import load_samples
from train.bags.samples import Samples
from train.calibration import cli as calibration_cli
from train.evaluation import cli as evaluation
from train.pairs import cli as pairs
from train.phrasings import Phrasings
from train.training import cli as contrast
from train.training.recipe import load_recipe


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand of `lb-ros`."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        'example: lb-ros train bind --config config/recipes/lb-mini.yaml '
        '--data bags/ --out runs/mine'
    )
    recipes = parser.add_subparsers(dest='recipe', required=True, metavar='WHAT')
    _add_bind(recipes.add_parser('bind', help='bind sensors to language, trunk and all'))
    help_contrast = 'bind sensors of any model set to language, by low-rank updates or more'
    contrast.add_arguments(
        recipes.add_parser('contrast', help=help_contrast, description=help_contrast)
    )
    help_pairs = 'cut bags into language pairs, as webdataset shards'
    pairs.add_arguments(recipes.add_parser('pairs', help=help_pairs, description=help_pairs))


def _add_bind(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        'example: lb-ros train bind --config config/recipes/lb-mini.yaml '
        '--data bags/ --out runs/mine'
    )
    contrast.add_run_arguments(
        parser, data='bags or folders of bags', val='bags to report AUROC on'
    )
    parser.add_argument('--max-minutes', type=float, help='instead of the one in the recipe')
    evaluation.add_reading_arguments(parser)


def _run_train(args: argparse.Namespace) -> int:
    runs = {'bind': _run_bind, 'contrast': contrast.run, 'pairs': pairs.run}
    return runs[args.recipe](args)


def _run_bind(args: argparse.Namespace) -> int:
    from train.training.bind import bind
    from train.training.checkpoint import CheckpointError, DivergedError

    try:
        recipe = load_recipe(args.config, start=args.start, max_minutes=args.max_minutes)
        bags = find_bags(args.data)
        refuse_evaluation_bags(bags)
        data = _load(bags, recipe.modalities, args)
        val = _load(find_bags(args.val), recipe.modalities, args) if args.val else None
        provenance = {'bags': len(data.bags), 'moments': len(data), 'seed': recipe.seed}
        folder = bind(
            recipe,
            data,
            args.out,
            val=val,
            resume=args.resume,
            tensorboard=args.tensorboard,
            provenance=provenance,
        )
    except (OSError, ValueError) as error:
        return _fail('train', error)
    except (CheckpointError, DivergedError) as error:
        return _fail('train', error, code=1)
    print(f'model set written to {folder}')
    return 0


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        'example: lb-ros calibrate --model runs/mine/lb-mini --data bags/val --out predicates.yaml'
    )
    parser.add_argument(
        '--model', required=True, help='model set; the calibration is written into it'
    )
    parser.add_argument(
        '--data', type=Path, nargs='+', required=True, help='bags with ground truth'
    )
    calibration_cli.add_arguments(parser)
    evaluation.add_reading_arguments(parser)


def _run_calibrate(args: argparse.Namespace) -> int:
    from train.calibration.calibrate import calibrate, scores_to_fit

    try:
        folder = find_set(args.model)
        bags = find_bags(args.data)
        refuse_evaluation_bags(bags)
        encoders = load_encoders(folder)
        vectors, samples = evaluation.embedded(encoders, bags, args)
        phrasings = Phrasings.load('trained')
        embed, space = encoders.text.embed, encoders.text.space
        scores = scores_to_fit(vectors, samples, embed=embed, phrasings=phrasings)
        fitted = calibrate(scores, samples, space=space, embed=embed, phrasings=phrasings)
        fitted.save(folder)
        if args.out or args.report:
            calibration_cli.decide(
                args, scores, samples, fitted, vectors=vectors, model=folder.name
            )
    except (OSError, ValueError) as error:
        return _fail('calibrate', error)
    print(f'{len(fitted.names)} predicates calibrated on {len(samples)} moments, in {folder}')
    return 0


def _load(bags: list[Path], configs: dict[str, Any], args: argparse.Namespace) -> Samples:
    torch.set_num_threads(args.threads)
    samples, report = load_samples(bags, configs, cache=args.cache, workers=args.workers)
    evaluation.print_load_report(report)
    return samples


def _fail(command: str, error: Exception, *, code: int = 2) -> int:
    print(f'lb-ros {command}: {error}', file=sys.stderr)
    return code


COMMANDS: dict[str, Command] = {
    'train': Command('train encoders from bags', _add_train, _run_train),
    'calibrate': Command('fit probabilities from labelled bags', _add_calibrate, _run_calibrate),
    'eval': Command(
        'measure a model set on labelled bags', evaluation.add_arguments, evaluation.run
    ),
}


def main() -> int:
    """Entry of `python -m train.cli`."""
    parser = argparse.ArgumentParser(description=__doc__)
    subparsers = parser.add_subparsers(dest='command', required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(subparsers.add_parser(name, help=command.help))
    args = parser.parse_args()
    return COMMANDS[args.command].run(args)


if __name__ == '__main__':
    raise SystemExit(main())
