"""The options of `lb-ros train pairs`: the fields of `PairOptions`, and inputs and outputs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from train.arguments import add_list, file, model_device, place, there, whole
from train.cluster import add_ray_argument
from train.pairs.options import DEFAULT_PAIRS, PairOptions
from train.validated import record

# Fields of `PairOptions` by option group.
GROUPS = {
    'sensors': ('modalities', 'topics', 'channels', 'types_folder', 'clock'),
    'windows': ('windows_at', 'every_s', 'window_s', 'max_offset_s', 'clip_frames'),
    'sentences': (
        'truth_topic',
        'task_topics',
        'annotation_topics',
        'note_topics',
        'phrasings',
        'sentences_per_fact',
        'max_texts',
    ),
}
METAVARS = {
    'modalities': 'NAME[,NAME]',
    'topics': 'MODALITY=/TOPIC[,/TOPIC]',
    'types_folder': 'DIR',
    'channels': 'FILE',
    'clock': '{header,log}',
    'windows_at': 'TOPIC',
    'phrasings': 'NAME',
}
ENDINGS = {'_s': 'S', '_topic': 'TOPIC', '_topics': 'TOPIC', '': 'N'}
ALIASES = {'modalities': '--modality', 'topics': '--topic'}
EPILOG = """example: lb-ros train pairs --data bags/ --out pairs/ --modalities depth audio

A mapping is a YAML file that describes NumPy, CSV, HDF5 or LeRobot recordings:

         lb-ros train pairs --data recordings.yaml --out pairs/

Sentences come from the ground truth, labels (`lb-ros label`), task text, annotation and note
topics, and sidecar files with the columns start, end, text (and bag, kind). Bags that are damaged,
lack a topic or jump in time cost only what is missing; the report says what was used and dropped.
The result are webdataset shards with a manifest; `lb-ros train contrast` reads them, or bags
without this step."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument(
        '--data', type=there, nargs='+', required=True, help='bags, folders of bags, or mappings'
    )
    parser.add_argument('--out', type=place, required=True, help='folder of the shards')
    parser.add_argument('--overwrite', action='store_true', help='replace the set in --out')
    parser.add_argument(
        '--evaluation',
        action='store_true',
        help='take bags that are kept for evaluation; the set is marked and never trained on',
    )
    parser.add_argument(
        '--pairs-per-shard',
        type=whole(1),
        default=DEFAULT_PAIRS,
        metavar='N',
        help='of pairs in one file',
    )
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    add_ray_argument(parser)
    groups = {name: parser.add_argument_group(name) for name in (*GROUPS, 'balance')}
    for name, options in GROUPS.items():
        for option in options:
            _add_option(groups[name], option)
    _add_views(groups['sentences'])
    _add_models(parser.add_argument_group('models that describe, rewrite or generate'))
    balance = groups['balance']
    balance.add_argument(
        '--max-per-entry',
        type=whole(1),
        metavar='N',
        help='keep about N windows per entry of the vocabulary',
    )
    balance.add_argument(
        '--vocabulary',
        type=file,
        metavar='FILE',
        help='words or phrases, one a line; every sentence where not given',
    )
    _add_option(parser, 'seed')


def flag_of(field: str) -> str:
    """The option for a field of `PairOptions`, without its unit: `--window` for `window_s`."""
    return '--' + field.removesuffix('_s').removesuffix('_folder').replace('_', '-')


def _add_option(group: argparse._ActionsContainer, field: str) -> None:
    """Declare an option for a field of `PairOptions`, which sets the default and validates."""
    about = PairOptions.__pydantic_fields__[field]  # type: ignore[attr-defined]
    default = about.get_default(call_default_factory=True)
    settings: dict[str, Any] = {'dest': field, 'default': argparse.SUPPRESS}
    settings['metavar'] = METAVARS.get(field) or next(
        v for k, v in ENDINGS.items() if field.endswith(k)
    )
    if isinstance(default, (tuple, dict)):
        shown = ', '.join(default)
        help_text = about.description + (f' (default: {shown})' if shown else '')
        add_list(
            group,
            flag_of(field),
            about=help_text,
            keyed=field == 'topics',
            alias=ALIASES.get(field, ''),
            **settings,
        )
        return
    shown = '' if default in (None, '') else f' (default: {default})'
    group.add_argument(flag_of(field), help=about.description + shown, **settings)


def _add_views(texts: argparse._ArgumentGroup) -> None:
    texts.add_argument(
        '--sidecar',
        type=file,
        nargs='*',
        default=[],
        metavar='FILE',
        help='.csv, .yaml or .json: start, end, text[, bag, kind]',
    )
    texts.add_argument(
        '--labels',
        type=file,
        nargs='*',
        default=[],
        metavar='FILE',
        help='.csv of `lb-ros label`: what is true and false, in addition to the ground truth',
    )
    texts.add_argument(
        '--predicates',
        type=file,
        metavar='FILE',
        help='YAML file with the sentences of labelled predicates; the shipped one by default',
    )
    texts.add_argument('--templates', type=file, help='YAML list of sentences with a {}')
    texts.add_argument('--paraphrases', type=file, help='YAML: sentence to other sentences')


def _add_models(models: argparse._ArgumentGroup) -> None:
    models.add_argument(
        '--captioner',
        nargs='*',
        default=[],
        metavar='NAME',
        help='describe windows: hf:MODEL (image to text), hf-audio:MODEL, or MODULE:NAME',
    )
    models.add_argument(
        '--refiner',
        nargs='*',
        default=[],
        metavar='NAME',
        help='rewrite sentences: openai:URL#MODEL (any server of that protocol), or MODULE:NAME',
    )
    models.add_argument(
        '--generator',
        nargs='*',
        default=[],
        metavar='MODALITY=NAME',
        help='predict a modality that no sensor measured: depth=hf:MODEL, infrared=onnx:FILE, or '
        'MODALITY=MODULE:NAME; marked as generated',
    )
    models.add_argument(
        '--mix-generated',
        action='store_true',
        help='generate a modality also if some windows measured it',
    )
    models.add_argument(
        '--download', action='store_true', help='fetch models that are not on this machine'
    )
    models.add_argument('--device', type=model_device, default='auto', help='auto, cpu or cuda')
    models.add_argument(
        '--batch', type=whole(1), default=8, metavar='N', help='images or sounds at a time'
    )
    models.add_argument(
        '--prompt', type=file, metavar='FILE', help='request of a refiner, with {sentences}'
    )
    models.add_argument(
        '--max-requests', type=whole(0), metavar='N', help='requests that refiners may make'
    )
    models.add_argument(
        '--view-cache',
        type=place,
        metavar='FILE',
        help='answers of models, which are not asked for again (default: OUT/views.sqlite)',
    )
    models.add_argument(
        '--dry-run',
        action='store_true',
        help='print what refiners would be asked, and how much; asks and writes nothing',
    )


def options_of(args: argparse.Namespace) -> PairOptions:
    """Validate the fields of `PairOptions` that a command line sets.

    Raises:
        ValueError: Values are invalid; one line for each.
    """
    given = {f.name: getattr(args, f.name) for f in fields(PairOptions) if f.name in args}
    if 'topics' in given:
        given['topics'] = _topics(given['topics'])
    return record(PairOptions, given, named=lambda where: flag_of(str(where[0])))


def _topics(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for word in words:
        name, equals, topics = word.partition('=')
        if not equals or not topics:
            raise ValueError(f'--topics {word!r}: expected MODALITY=TOPIC')
        found[name] = tuple(topics.split(','))
    return found
