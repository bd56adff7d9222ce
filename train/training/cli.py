"""`lb-ros train contrast`: bind sensors to language from pairs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from train.pairs.data import PairData, open_pair_data
from train.training.checkpoint import LOG, CheckpointError, DivergedError
from train.training.contrast_recipe import ContrastRecipe, load_contrast_recipe
from train.training.ranks import join_ranks

EPILOG = """example: lb-ros train contrast --config config/recipes/languagebind-depth.yaml \\
             --data pairs/ --out runs/depth
on several GPUs: torchrun --nproc-per-node 8 -m train.cli train contrast --config ... (the same)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_run_arguments(
        parser, data='a folder of shards, or bags', val='pairs or bags for the report page'
    )
    parser.add_argument('--max-steps', type=int, help='instead of the one in the recipe')
    parser.add_argument('--threads', type=int, help='threads that compute')


def add_run_arguments(parser: argparse.ArgumentParser, *, data: str, val: str) -> None:
    """Declare the options of every training; `data` and `val` describe what it reads."""
    parser.add_argument('--config', type=Path, required=True, help='recipe file')
    parser.add_argument('--data', type=Path, nargs='+', required=True, help=data)
    parser.add_argument('--val', type=Path, nargs='*', default=[], help=val)
    parser.add_argument('--out', type=Path, required=True, help='folder of checkpoint and result')
    parser.add_argument(
        '--start', help='model set to start from, instead of the one in the recipe'
    )
    parser.add_argument('--resume', action='store_true', help='go on from the checkpoint in --out')
    parser.add_argument('--tensorboard', action='store_true', help='write event files into --out')


def run(args: argparse.Namespace) -> int:
    """Train, then write the report page."""
    from train.training.contrast import contrast

    try:
        recipe = load_contrast_recipe(args.config, start=args.start, max_steps=args.max_steps)
        if args.threads:
            torch.set_num_threads(args.threads)
        with join_ranks(recipe.device) as ranks:
            data = open_pair_data(args.data, recipe.pairs, text_sources=recipe.text_sources)
            if ranks.first:
                for line in data.report.problems:
                    print(line, file=sys.stderr)
            folder = contrast(
                recipe,
                data,
                args.out,
                ranks=ranks,
                resume=args.resume,
                tensorboard=args.tensorboard,
            )
            if ranks.first:
                print(f'model set written to {folder}')
                print(f'report: {_report(recipe, data, folder, args)}')
    except (CheckpointError, DivergedError) as error:
        print(f'lb-ros train contrast: {error}', file=sys.stderr)
        return 1
    except (KeyError, OSError, ValueError) as error:
        said = error.args[0] if isinstance(error, KeyError) else error
        print(f'lb-ros train contrast: {said}', file=sys.stderr)
        return 2
    return 0


def _report(
    recipe: ContrastRecipe, data: PairData, folder: Path, args: argparse.Namespace
) -> Path:
    from train.evaluation.page import write_training_page

    held_out = (
        open_pair_data(args.val, recipe.pairs, text_sources=recipe.text_sources, evaluation=True)
        if args.val
        else None
    )
    return write_training_page(
        args.out / 'report.html',
        name=recipe.name,
        log=args.out / LOG,
        model=folder,
        data=held_out or data,
        held_out=held_out is not None,
    )
