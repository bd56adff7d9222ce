"""`lb-ros train contrast`: bind sensors to language from pairs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from train.pairs.data import PairData, open_pair_data
from train.training.checkpoint import LOG
from train.training.contrast_recipe import ContrastRecipe, load_contrast_recipe
from train.training.ranks import join_ranks, run_training


def run(args: argparse.Namespace) -> int:
    """Train; return the status of `run_training`."""
    return run_training('lb-ros train contrast', args, _train)


def _train(args: argparse.Namespace) -> None:
    from train.training.contrast import contrast

    recipe = load_contrast_recipe(
        args.config, start=args.start, max_steps=args.max_steps, hub=args.hub
    )
    if args.threads:
        torch.set_num_threads(args.threads)
    with join_ranks(recipe.device) as ranks:
        data = open_pair_data(args.data, recipe.cut, text_sources=recipe.text_sources)
        if ranks.first:
            for line in data.report.problems:
                print(line, file=sys.stderr)
        folder = contrast(
            recipe,
            data,
            args.out,
            ranks=ranks,
            resume=args.resume,
            overwrite=args.overwrite,
            tensorboard=args.tensorboard,
            cache=args.cache,
        )
        if ranks.first:
            print(f'model set written to {folder}')
            print(f'report: {_report(recipe, data, folder, args)}')


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
