"""`lb-ros train pairs`: bags to shards of language pairs."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import track

from encoders.modalities import MODALITIES
from train.bags.find import find_bags, refuse_evaluation_bags
from train.cluster import Spread, add_ray_argument, ray_cluster
from train.pairs.make import PairPlan, manifest_of, plan_pairs, spread_pairs, stream_pairs
from train.pairs.options import PairOptions, PairsReport
from train.pairs.shards import DEFAULT_PAIRS, MANIFEST, write_manifest, write_shards
from train.pairs.sidecar import read_sidecar
from train.pairs.views import Views, load_callable
from train.validated import Template, read_record, record

STDERR = Console(stderr=True)
# Fields of `PairOptions` by the group of their options.
GROUPS = {
    'sensors': ('modalities', 'topics', 'types_folder', 'clock'),
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
    'modalities': 'NAME',
    'topics': 'MODALITY=TOPIC[,TOPIC]',
    'types_folder': 'DIR',
    'clock': '{header,log}',
    'windows_at': 'TOPIC',
    'phrasings': 'NAME',
}
ENDINGS = {'_s': 'S', '_topic': 'TOPIC', '_topics': 'TOPIC', '': 'N'}
EPILOG = """example: lb-ros train pairs --data bags/ --out pairs/ --modalities depth audio

Sentences come from the ground truth, task text, annotation and note topics, and sidecar files with
the columns start, end, text (and bag, kind). Bags that are damaged, lack a topic or jump in time
cost only what is missing; the report says what was used and dropped. The result are webdataset
shards with a manifest; `lb-ros train contrast` reads them, or bags without this step."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        '--data', type=Path, nargs='+', required=True, help='bags or folders of bags'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the shards')
    parser.add_argument('--overwrite', action='store_true', help='replace the set in --out')
    parser.add_argument(
        '--evaluation',
        action='store_true',
        help='take bags that are kept for evaluation; the set is marked and never trained on',
    )
    parser.add_argument('--pairs-per-shard', type=int, default=DEFAULT_PAIRS, metavar='N')
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    add_ray_argument(parser)
    groups = {name: parser.add_argument_group(name) for name in (*GROUPS, 'balance')}
    for name, options in GROUPS.items():
        for option in options:
            _add_option(groups[name], option)
    _add_views(groups['sentences'])
    balance = groups['balance']
    balance.add_argument(
        '--max-per-entry',
        type=int,
        metavar='N',
        help='keep about N windows per entry of the vocabulary',
    )
    balance.add_argument(
        '--vocabulary',
        type=Path,
        metavar='FILE',
        help='words or phrases, one a line; every sentence where not given',
    )
    _add_option(parser, 'seed')


def _flag(field: str) -> str:
    """The option of a field of `PairOptions`: without its unit, `--window` of `window_s`."""
    return '--' + field.removesuffix('_s').removesuffix('_folder').replace('_', '-')


def _add_option(group: argparse._ActionsContainer, field: str) -> None:
    """Declare a field of `PairOptions`, which has its default and checks the text."""
    about = PairOptions.__pydantic_fields__[field]  # type: ignore[attr-defined]
    default = about.get_default(call_default_factory=True)
    is_list = isinstance(default, (tuple, dict))
    shown = ' '.join(default) if is_list else default
    group.add_argument(
        _flag(field),
        dest=field,
        default=argparse.SUPPRESS,
        nargs='*' if is_list else None,
        metavar=METAVARS.get(field) or next(v for k, v in ENDINGS.items() if field.endswith(k)),
        help=about.description + (f' (default: {shown})' if shown not in (None, '') else ''),
    )


def _add_views(texts: argparse._ArgumentGroup) -> None:
    texts.add_argument(
        '--sidecar',
        type=Path,
        nargs='*',
        default=[],
        metavar='FILE',
        help='.csv, .yaml or .json: start, end, text[, bag, kind]',
    )
    texts.add_argument('--templates', type=Path, help='YAML list of sentences with a {}')
    texts.add_argument('--paraphrases', type=Path, help='YAML: sentence to other sentences')
    texts.add_argument(
        '--captioner',
        nargs='*',
        default=[],
        metavar='MODULE:NAME',
        help='callable: samples of a window to sentences',
    )
    texts.add_argument(
        '--refiner',
        nargs='*',
        default=[],
        metavar='MODULE:NAME',
        help='callable: sentences to better ones',
    )
    texts.add_argument(
        '--generator',
        nargs='*',
        default=[],
        metavar='MODALITY=MODULE:NAME',
        help='predict a modality that no sensor measured; marked as generated',
    )


def run(args: argparse.Namespace) -> int:
    """Write the shards."""
    report = PairsReport()
    try:
        if (args.out / MANIFEST).exists() and not args.overwrite:
            raise ValueError(f'{args.out}: already holds pairs; give --overwrite to replace them')
        if args.pairs_per_shard < 1:
            raise ValueError('--pairs-per-shard must be at least 1')
        with contextlib.ExitStack() as stack:
            spread = stack.enter_context(ray_cluster(args.ray)) if args.ray else None
            _make(args, report, spread)
    except (OSError, ValueError) as error:
        print(f'lb-ros train pairs: {error}', file=sys.stderr)
        return 2
    for line in report.problems:
        print(line, file=sys.stderr)
    if args.json:
        print(json.dumps(report.described(), indent=2))
    else:
        print('\n'.join(report.lines()))
    if not report.pairs:
        print('lb-ros train pairs: no pair could be made', file=sys.stderr)
        return 1
    return 0


def _make(args: argparse.Namespace, report: PairsReport, spread: Spread | None) -> None:
    plan = _plan(args, report=report, spread=spread or map)
    split = 'evaluation' if args.evaluation else 'train'
    if spread is None:
        pairs = stream_pairs(plan, report=report)
    else:
        pairs = spread_pairs(plan, spread, report=report)
    total = sum(len(windows) for windows in plan.windows)
    counted = iter(track(pairs, 'cutting windows', total=total, console=STDERR))
    first = next(counted, None)
    if first is None:  # a set without a pair would look like a finished one
        return
    _clear(args.out)
    shards = write_shards(args.out, chain([first], counted), pairs_per_shard=args.pairs_per_shard)
    write_manifest(args.out, shards, manifest_of(plan, report, split=split))


def _plan(args: argparse.Namespace, *, report: PairsReport, spread: Spread) -> PairPlan:
    """Read what the options ask for.

    Raises:
        EvaluationDataError: A bag is kept for evaluation and `--evaluation` is not given.
        OSError, ValueError: A file or an option is unusable.
    """
    given = {f.name: getattr(args, f.name) for f in fields(PairOptions) if f.name in args}
    if 'topics' in given:
        given['topics'] = _topics(given['topics'])
    options = record(PairOptions, given, named=lambda where: _flag(str(where[0])))
    bags = find_bags(args.data)
    if not args.evaluation:
        refuse_evaluation_bags(bags)
    return plan_pairs(
        bags,
        options,
        report=report,
        sidecar=[row for path in args.sidecar for row in read_sidecar(path)],
        views=_views(args),
        vocabulary=_vocabulary(args.vocabulary),
        max_per_entry=args.max_per_entry,
        spread=spread,
        progress=lambda plans: iter(
            track(plans, 'reading texts', total=len(bags), console=STDERR)
        ),
    )


def _topics(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for word in words:
        name, equals, topics = word.partition('=')
        if not equals or not topics:
            raise ValueError(f'--topics {word!r}: expected MODALITY=TOPIC')
        found[name] = tuple(topics.split(','))
    return found


def _vocabulary(path: Path | None) -> list[str]:
    lines = path.read_text().splitlines() if path else []
    return [line.strip() for line in lines if line.strip()]


def _views(args: argparse.Namespace) -> Views:
    generators = {}
    for word in args.generator:
        modality, equals, name = word.partition('=')
        if not equals or modality not in MODALITIES:
            raise ValueError(f'--generator {word!r}: expected MODALITY=MODULE:NAME')
        made = load_callable(name)
        if getattr(made, 'source', None) not in MODALITIES:
            raise ValueError(f'--generator {name}: its attribute `source` must be a modality')
        generators[modality] = (name, made)
    paraphrases: dict[str, tuple[str, ...]] = {}
    if args.paraphrases:
        paraphrases = read_record(args.paraphrases, dict[str, tuple[str, ...]])
    return Views(
        templates=read_record(args.templates, tuple[Template, ...]) if args.templates else (),
        paraphrases={said.lower(): others for said, others in paraphrases.items()},
        captioners={name: load_callable(name) for name in args.captioner},
        refiners={name: load_callable(name) for name in args.refiner},
        generators=generators,
    )


def _clear(out: Path) -> None:
    """Remove the set that is replaced; its manifest first, so that no half of it looks whole."""
    (out / MANIFEST).unlink(missing_ok=True)
    for shard in out.glob('pairs-*.tar'):
        shard.unlink()
