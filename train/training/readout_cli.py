"""`lb-ros train readout`: train readouts of a model set from labelled bags."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.places import find_set
from encoders.model_sets.sources import load_encoders
from train.asked import AskedVectors, asked_vectors
from train.bags.find import find_bags, refuse_evaluation_bags
from train.evaluation.cli import print_load_report
from train.phrasings import Phrasings
from train.training.ranks import Ranks, join_ranks, run_training
from train.training.readout import train_readouts
from train.training.readout_recipe import ReadoutRecipe, load_readout_recipe
from train.training.readout_tokens import TokenData, load_tokens, trainable_encoders


def run(args: argparse.Namespace) -> int:
    """Train; return the status of `run_training`."""
    return run_training('lb-ros train readout', args, _train)


def _train(args: argparse.Namespace) -> None:
    recipe = load_readout_recipe(
        args.config,
        start=args.start,
        max_steps=args.max_steps,
        modalities=tuple(args.modalities) or None,
    )
    bags = find_bags(args.data)
    refuse_evaluation_bags(bags)
    torch.set_num_threads(args.threads)
    start = find_set(recipe.start)
    with join_ranks(recipe.device) as ranks:
        data, wordings = _loaded(recipe, start, bags, args, ranks)
        folder = train_readouts(
            recipe,
            start,
            data,
            wordings,
            args.out,
            ranks=ranks,
            resume=args.resume,
            overwrite=args.overwrite,
            tensorboard=args.tensorboard,
        )
        if ranks.first:
            print(f'model set written to {folder}')


def _loaded(
    recipe: ReadoutRecipe, start: Path, bags: list[Path], args: argparse.Namespace, ranks: Ranks
) -> tuple[TokenData, AskedVectors]:
    """The tokens of the bags, and the training text of their predicates."""
    encoders = load_encoders(start, modalities=recipe.modalities, device=ranks.device)
    data, report = load_tokens(
        trainable_encoders(encoders, recipe.modalities, unfreeze_blocks=recipe.unfreeze_blocks),
        bags,
        weights_sha256=read_manifest(start).sha256,
        augmentations=recipe.augmentations,
        unfreeze_blocks=recipe.unfreeze_blocks,
        cache=args.cache,
        workers=args.workers,
        first=ranks.rank * len(bags) // ranks.count,
    )
    if ranks.first:
        print_load_report(report)
    wordings = asked_vectors(
        data.samples.predicates,
        Phrasings.load(recipe.phrasings),
        encoders.text.embed,
        space=encoders.text.space,
        cache=args.cache,
        sentences=recipe.sentences,
    )
    return data, wordings
