"""Options of `lb-ros models`, in a separate module so that `--help` does not import PyTorch."""

from __future__ import annotations

import argparse

from encoders.languagebind.hub_sets import HUB_SETS
from encoders.modalities import MODALITIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `lb-ros models`."""
    from train.arguments import add_list, model, place

    parser.epilog = 'example: lb-ros models convert depth=checkpoints/depth --out models/mine'
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    which = f'some of {", ".join(MODALITIES)}; all by default'

    def action(name: str, about: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=about, description=about)

    def add_modalities(one: argparse.ArgumentParser) -> None:
        add_list(one, '--modalities', alias='--modality', known=tuple(MODALITIES), about=which)

    def add_out(one: argparse.ArgumentParser) -> None:
        one.add_argument('--out', type=place, required=True, help='folder of the set')
        one.add_argument('--name', help='of the set; that of the folder by default')
        one.add_argument('--overwrite', action='store_true', help='replace the set in --out')

    _json(action('list', 'sets that are here, and sets that can be pulled'))
    one = action('pull', 'download a set from the hub and convert it')
    one.add_argument('name', help=f'{", ".join(HUB_SETS)} or openclip:<arch>/<tag>')
    add_modalities(one)
    one.add_argument('--revision', help='branch, tag or commit; main by default')
    one.add_argument('--out', type=place, help='folder; by default where names are looked up')
    one.add_argument('--overwrite', action='store_true', help='replace the set that is there')
    one.add_argument('--yes', action='store_true', help='do not ask')
    one = action('convert', 'released folders to one set of safetensors')
    one.add_argument(
        'sources', nargs='+', type=_source, metavar='MODALITY=FOLDER', help='released checkpoint'
    )
    add_out(one)
    one.add_argument('--antialias', action='store_true', help='resize with antialiasing')
    one.add_argument(
        '--depth-holes', choices=('near', 'filled'), default='near', help='what a depth of 0 means'
    )
    one = action('join', 'one set of the encoders of several')
    one.add_argument(
        'models', nargs='+', type=model, help='names or folders; of two encoders the last counts'
    )
    add_out(one)
    one = action('inspect', 'what a set or a released folder holds')
    one.add_argument('model', type=model, help='name or folder')
    _json(one)
    one = action('verify', 'recompute hashes and run a golden input')
    one.add_argument('model', type=model, help='name or folder')
    _json(one)
    one = action('export', 'towers as ONNX files, compared with PyTorch')
    one.add_argument('model', type=model, help='name or folder')
    add_modalities(one)
    one.add_argument('--out', type=place, required=True, help='folder for MODALITY.onnx')
    _json(one)


def _source(text: str) -> str:
    from train.arguments import exists

    modality, equals, folder = text.partition('=')
    if not equals or modality not in MODALITIES:
        expected = f'MODALITY=FOLDER with one of {", ".join(MODALITIES)}'
        raise argparse.ArgumentTypeError(f'{text!r} must be {expected}')
    if not folder or not exists(folder):
        raise argparse.ArgumentTypeError(f'{folder!r}: there is no such file or folder')
    return text


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--json', action='store_true', help='print as JSON')
