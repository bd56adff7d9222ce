"""`lb-ros models`: list, pull, convert, join, inspect, verify and export model sets."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from encoders import Binder, ModelSetError, SpaceError
from encoders.languagebind.hub_sets import HUB_SETS
from encoders.languagebind.released import read_released
from encoders.model_sets.calibration import Calibration
from encoders.model_sets.convert import convert
from encoders.model_sets.files import verify
from encoders.model_sets.golden import TOLERANCE, golden_input
from encoders.model_sets.hub import pull
from encoders.model_sets.join import join, lost_readouts
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.openclip import PREFIX, find_weights, split_name
from encoders.model_sets.places import MANIFEST, SHIPPED, find_set, refuse_other_set, store
from encoders.model_sets.readouts import CALIBRATION, describe_readouts
from encoders.model_sets.sources import is_released, load_encoders, parse_source
from encoders.model_sets.towers import TowerEncoder
from encoders.preprocess import config_to_dict
from encoders.vision.config import VisionConfig
from encoders.vision.export import INPUT, deviation, export_tower

FAILURES = (ModelSetError, SpaceError, KeyError, OSError, ValueError, ModuleNotFoundError)


def run(args: argparse.Namespace) -> int:
    """Run an action; return 0 if done, 1 if damaged or not pulled, 2 for unusable input."""
    actions = {
        'list': _list,
        'pull': _pull,
        'convert': _convert,
        'join': _join,
        'inspect': _inspect,
        'verify': _verify,
        'export': _export,
    }
    try:
        return actions[args.action](args)
    except FAILURES as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        print(f'lb-ros models {args.action}: {text}', file=sys.stderr)
        return 1 if args.action in ('verify', 'pull') else 2


def _list(args: argparse.Namespace) -> int:
    here: list[dict[str, Any]] = [
        {
            'name': path.parent.name,
            'folder': str(path.parent),
            'readouts': list(_readouts(path.parent)['modalities']),
        }
        for root in (SHIPPED, store())
        for path in sorted(root.glob(f'*/{MANIFEST}'))
    ]
    known = [
        {
            'name': name,
            'gigabytes': s.gigabytes,
            'modalities': list(s.repositories),
            'about': s.about,
        }
        for name, s in HUB_SETS.items()
    ]
    if args.json:
        print(json.dumps({'here': here, 'can_be_pulled': known}, indent=2))
        return 0
    for one in here:
        readouts = f'  readouts: {", ".join(one["readouts"])}' if one['readouts'] else ''
        print(f'{one["name"]}  {one["folder"]}{readouts}')
    for name, s in HUB_SETS.items():
        names = ', '.join(s.repositories)
        print(f'{name}  to pull, {s.gigabytes} GB: {names}. {s.about}')
    print(f'{PREFIX}<arch>/<tag>  to pull: OpenCLIP, image only')
    return 0


def _pull(args: argparse.Namespace) -> int:
    if args.name.startswith(PREFIX):
        print(find_weights(*split_name(args.name), download=True))
        return 0
    out = args.out or store() / args.name
    refuse_other_set(out, overwrite=args.overwrite)
    if args.name in HUB_SETS and not args.yes and sys.stdin.isatty():
        answer = input(f'download {HUB_SETS[args.name].gigabytes} GB from the hub? [y/N] ')
        if answer.strip().lower() not in ('y', 'yes'):
            return 2
    folder = pull(
        args.name,
        out,
        modalities=args.modalities,
        revision=args.revision,
        overwrite=args.overwrite,
    )
    print(f'model set written to {folder}')
    return 0


def _convert(args: argparse.Namespace) -> int:
    folders: dict[str, str | Path] = {}
    for source in args.sources:
        modality, _, folder = source.partition('=')
        folders[modality] = folder
    options: dict[str, dict[str, Any]] = {}
    for modality in folders:
        options[modality] = {} if modality == 'audio' else {'antialias': args.antialias}
    if 'depth' in options:
        options['depth']['holes'] = args.depth_holes
    name = args.name or args.out.name
    out = convert(folders, args.out, name=name, options=options, overwrite=args.overwrite)
    binder = Binder.load(out)
    print(f'model set written to {out}: {binder.space}, {_memory(binder)}')
    return 0


def _join(args: argparse.Namespace) -> int:
    folders = [find_set(model) for model in args.models]
    name = args.name or args.out.name
    joined = join(folders, args.out, name=name, overwrite=args.overwrite)
    print(f'model set written to {args.out}: {", ".join(joined.modalities)} in {joined.space}')
    for modality in lost_readouts(folders, args.out):
        print(
            f'the readout of {modality} was of another encoder and is left out: '
            f'lb-ros train readout --modalities {modality}'
        )
    if Calibration.load_if_present(args.out) is None:
        print('it is not calibrated yet: lb-ros calibrate')
    return 0


def _inspect(args: argparse.Namespace) -> int:
    described = _described(args.model)
    if args.json:
        print(json.dumps(described, indent=2))
        return 0
    for key, value in described.items():
        if key != 'modalities':
            print(f'{key}: {value}')
    for name, entry in described['modalities'].items():
        print(f'{name}: ' + ', '.join(f'{k} {v}' for k, v in entry.items()))
    return 0


def _described(model: str) -> dict[str, Any]:
    if is_released(model):
        found = read_released(Path(model))
        name = found.config.modality or 'unknown'
        entry = {
            **_shape(found.config.vision),
            'values': sum(t.numel() for t in found.vision.values()),
        }
        return {'file': str(found.path), 'space': found.space, 'modalities': {name: entry}}
    stored = read_manifest(find_set(model))
    manifest = stored.manifest
    return {
        'name': manifest.name,
        'space': manifest.space,
        'licence': manifest.licence,
        'sha256': stored.sha256,
        'provenance': manifest.provenance,
        'memory': _memory(Binder.load(stored.folder)),
        'readouts': _readouts(stored.folder),
        'modalities': {
            name: {**config_to_dict(spec.preprocess), **_shape(spec.vision)}
            for name, spec in manifest.modalities.items()
        },
    }


def _readouts(folder: Path) -> dict[str, Any]:
    """Shapes and origin of the readouts of a set."""
    found = describe_readouts(folder)
    if found is None:
        return {'modalities': {}}
    shapes = {
        name: {'tokens': shape.tokens, 'width': shape.width, 'layers': shape.layers}
        for name, shape in found.modalities.items()
    }
    is_calibrated = (folder / CALIBRATION).is_file()
    return {
        'modalities': shapes,
        'calibrated': is_calibrated,
        'provenance': found.provenance,
    }


def _shape(vision: VisionConfig) -> dict[str, Any]:
    return {'width': vision.width, 'layers': vision.layers, 'lora_rank': vision.lora_rank}


def _verify(args: argparse.Namespace) -> int:
    if is_released(args.model):
        found = read_released(Path(args.model))  # checks every name and shape
        print(f'{found.path} holds every tensor; convert it to get a hash and golden vectors')
        return 0
    folder = find_set(args.model)
    deviations, readouts = verify(folder), list(_readouts(folder)['modalities'])
    if args.json:
        checked = {'folder': str(folder), 'deviations': deviations, 'readouts': readouts}
        print(json.dumps(checked))
        return 0
    golden = ', '.join(f'{name} {value:.0e}' for name, value in deviations.items())
    also = f'; readouts of {", ".join(readouts)}' if readouts else ''
    print(f'{folder} is intact; golden vectors within {golden}{also}')
    return 0


def _export(args: argparse.Namespace) -> int:
    encoders = load_encoders(parse_source(args.model), modalities=args.modalities or None).encoders
    args.out.mkdir(parents=True, exist_ok=True)
    entries = []
    for name, encoder in encoders.items():
        if not isinstance(encoder, TowerEncoder):
            raise ValueError(f'{name} of {args.model} is no tower of encoders/vit.py')
        path = args.out / f'{name}.onnx'
        export_tower(encoder.tower, path)
        inputs = encoder.preprocess(golden_input(name, encoder.config))[0].unsqueeze(0)
        found = deviation(encoder.tower, path, inputs)
        if not found <= TOLERANCE:
            raise ModelSetError(f'{path}: its vector of the golden input is off by {found:.1e}')
        shape = [-1, *inputs.shape[1:]]
        entries.append({'modality': name, 'file': str(path), 'input': shape, 'deviation': found})
        if not args.json:
            print(f'{path}  {INPUT} {shape}, within {found:.0e} of PyTorch')
    if args.json:
        print(json.dumps(entries, indent=2))
    return 0


def _memory(binder: Binder) -> str:
    held, saved = binder.held_bytes / 2**20, binder.saved_bytes / 2**20
    return f'{held:.0f} MiB held, {saved:.0f} MiB saved by sharing'
