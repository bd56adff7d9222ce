"""The options of `lb-ros models`, apart from what runs it: `--help` imports no PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from encoders.languagebind.hub_sets import HUB_SETS
from encoders.modalities import MODALITIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `lb-ros models`."""
    parser.epilog = 'example: lb-ros models convert depth=checkpoints/depth --out models/mine'
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    one = actions.add_parser('list', help='sets that are here, and sets that can be pulled')
    _json(one)
    one = actions.add_parser('pull', help='download a set from the hub and convert it')
    one.add_argument('name', help=f'{", ".join(HUB_SETS)} or openclip:<arch>/<tag>')
    one.add_argument('--modalities', nargs='+', default=[], choices=tuple(MODALITIES))
    one.add_argument('--revision', help='branch, tag or commit; main by default')
    one.add_argument('--out', type=Path, help='folder; by default where names are looked up')
    one.add_argument('--yes', action='store_true', help='do not ask')
    one = actions.add_parser('convert', help='released folders to one set of safetensors')
    one.add_argument('sources', nargs='+', metavar='MODALITY=FOLDER')
    one.add_argument('--out', type=Path, required=True, help='folder of the set')
    one.add_argument('--name', help='of the set; that of the folder by default')
    one.add_argument('--antialias', action='store_true', help='resize with antialiasing')
    one.add_argument(
        '--depth-holes', choices=('near', 'filled'), default='near', help='what a depth of 0 means'
    )
    one = actions.add_parser('join', help='one set of the encoders of several')
    one.add_argument('models', nargs='+', help='names or folders; of two encoders the last counts')
    one.add_argument('--out', type=Path, required=True, help='folder of the set')
    one.add_argument('--name', help='of the set; that of the folder by default')
    one = actions.add_parser('inspect', help='what a set or a released folder holds')
    one.add_argument('model', help='name or folder')
    _json(one)
    one = actions.add_parser('verify', help='recompute hashes and run a golden input')
    one.add_argument('model', help='name or folder')
    _json(one)
    one = actions.add_parser('export', help='towers as ONNX files, compared with PyTorch')
    one.add_argument('model', help='name or folder')
    one.add_argument('--modalities', nargs='+', choices=tuple(MODALITIES), help='all by default')
    one.add_argument('--out', type=Path, required=True, help='folder for MODALITY.onnx')
    _json(one)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--json', action='store_true', help='print as JSON')
