"""The options of `lb-ros train bind`, `lb-ros train contrast` and `lb-ros train readout`."""

from __future__ import annotations

import argparse

from encoders.modalities import MODALITIES
from train.arguments import add_list, file, model, number, place, there, whole
from train.evaluation.arguments import DEFAULT_CACHE, add_reading_arguments

BIND_EPILOG = (
    'example: lb-ros train bind --config config/recipes/lb-mini.yaml --data bags/ --out runs/mine'
)
CONTRAST_EPILOG = """example: lb-ros train contrast --config config/recipes/lora.yaml \\
             --data pairs/ --out runs/depth
on several GPUs: torchrun --nproc-per-node 8 -m train.cli train contrast --config ... (the same)"""

READOUT_EPILOG = """example: lb-ros train readout --config config/recipes/lb-mini-readout.yaml \\
             --data bags/ --out runs/readout
on several GPUs: torchrun --nproc-per-node 8 -m train.cli train readout --config ... (the same)"""


def add_bind_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros train bind`."""
    parser.epilog = BIND_EPILOG
    parser.add_argument('--config', type=file, required=True, help='recipe file')
    parser.add_argument(
        '--data', type=there, nargs='+', required=True, help='bags, folders of bags, or mappings'
    )
    parser.add_argument('--val', type=there, nargs='*', default=[], help='bags to report AUROC on')
    parser.add_argument(
        '--max-minutes',
        type=number(0, exclusive=True),
        help='instead of the one in the recipe',
    )
    _add_hub_argument(parser)
    _add_run_arguments(parser)
    add_reading_arguments(parser)


def add_contrast_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros train contrast`."""
    parser.epilog = CONTRAST_EPILOG
    parser.add_argument('--config', type=file, required=True, help='recipe file')
    parser.add_argument(
        '--data', type=there, nargs='+', required=True, help='a folder of shards, or bags'
    )
    parser.add_argument(
        '--val', type=there, nargs='*', default=[], help='pairs or bags for the report page'
    )
    parser.add_argument('--max-steps', type=whole(1), help='instead of the one in the recipe')
    _add_hub_argument(parser)
    _add_run_arguments(parser)
    parser.add_argument('--threads', type=whole(1), help='threads that compute')
    parser.add_argument(
        '--cache', type=place, default=DEFAULT_CACHE, help='image vectors, for --hub image'
    )


def add_readout_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros train readout`."""
    parser.epilog = READOUT_EPILOG
    parser.add_argument('--config', type=file, required=True, help='recipe file')
    parser.add_argument(
        '--data', type=there, nargs='+', required=True, help='bags or folders of bags'
    )
    add_list(
        parser,
        '--modalities',
        alias='--modality',
        known=tuple(MODALITIES),
        about='train the readouts of these, instead of those in the recipe',
    )
    parser.add_argument('--max-steps', type=whole(1), help='instead of the one in the recipe')
    _add_run_arguments(parser)
    add_reading_arguments(parser)


def _add_hub_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--hub',
        choices=('language', 'image'),
        help='bind to the frozen vectors of the sentences, or of the images of the same moments, '
        'instead of what the recipe says',
    )


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', type=place, required=True, help='folder of checkpoint and result')
    parser.add_argument(
        '--start', type=model, help='model set to start from, instead of the one in the recipe'
    )
    going_on = parser.add_mutually_exclusive_group()
    going_on.add_argument(
        '--resume',
        action='store_true',
        help='go on from the checkpoint in --out; with more --max-steps or --max-minutes also '
        'where the run was finished',
    )
    going_on.add_argument(
        '--overwrite', action='store_true', help='begin again where --out holds a run already'
    )
    parser.add_argument('--tensorboard', action='store_true', help='write event files into --out')
