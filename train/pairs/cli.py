"""`lb-ros train pairs`: bags to shards of language pairs."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import track

from encoders.modalities import MODALITIES
from train.bags.find import EvaluationDataError, find_bags, refuse_evaluation_bags
from train.bags.truth import TRUTH_TOPIC
from train.cluster import Spread, add_ray_argument, ray_cluster
from train.pairs.make import PairPlan, manifest_of, plan_pairs, spread_pairs, stream_pairs
from train.pairs.options import (
    ANNOTATION_TOPICS,
    NOTE_TOPICS,
    TASK_TOPICS,
    PairOptions,
    PairsReport,
)
from train.pairs.shards import DEFAULT_PAIRS, MANIFEST, write_manifest, write_shards
from train.pairs.sidecar import read_sidecar
from train.pairs.views import Views, load_callable, read_paraphrases, read_templates

STDERR = Console(stderr=True)
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
    add_pair_arguments(parser)


def add_pair_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how bags become pairs."""
    sensors = parser.add_argument_group('sensors')
    sensors.add_argument(
        '--modalities',
        nargs='+',
        choices=tuple(MODALITIES),
        metavar='NAME',
        default=('image', 'depth', 'infrared', 'audio'),
        help=f'some of {", ".join(MODALITIES)}',
    )
    sensors.add_argument(
        '--topics',
        nargs='+',
        default=[],
        metavar='MODALITY=TOPIC[,TOPIC]',
        help='where a modality comes from, if not from the usual topic',
    )
    sensors.add_argument(
        '--types', type=Path, metavar='DIR', help='PACKAGE/msg/*.msg, for bags that embed no types'
    )
    sensors.add_argument(
        '--clock',
        choices=('header', 'log'),
        default='header',
        help='stamps of messages, or times of recording',
    )
    windows = parser.add_argument_group('windows')
    windows.add_argument(
        '--windows-at',
        default='',
        metavar='TOPIC',
        help='end a window at every message of this topic; `texts`: one window '
        'per stretch of time with a text; default: at the ground truth, or every '
        'second',
    )
    windows.add_argument('--every', type=float, metavar='S', help='end a window every S seconds')
    windows.add_argument('--window', type=float, default=2.0, metavar='S', help='length')
    windows.add_argument(
        '--max-offset',
        type=float,
        default=0.1,
        metavar='S',
        help='largest distance of a picture from its window',
    )
    texts = parser.add_argument_group('sentences')
    texts.add_argument('--truth-topic', default=TRUTH_TOPIC, metavar='TOPIC')
    texts.add_argument('--task-topics', nargs='*', default=TASK_TOPICS, metavar='TOPIC')
    texts.add_argument(
        '--annotation-topics', nargs='*', default=ANNOTATION_TOPICS, metavar='TOPIC'
    )
    texts.add_argument('--note-topics', nargs='*', default=NOTE_TOPICS, metavar='TOPIC')
    texts.add_argument(
        '--sidecar',
        type=Path,
        nargs='*',
        default=[],
        metavar='FILE',
        help='.csv, .yaml or .json: start, end, text[, bag, kind]',
    )
    texts.add_argument('--phrasings', default='trained', help='wordings of predicates')
    texts.add_argument('--sentences-per-fact', type=int, default=2, metavar='N')
    texts.add_argument('--max-texts', type=int, default=24, metavar='N', help='per window')
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
    balance = parser.add_argument_group('balance')
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
    parser.add_argument('--seed', type=int, default=0)


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
    except (EvaluationDataError, OSError, ValueError) as error:
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
    plan = plan_from_arguments(args, report=report, spread=spread or map)
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


def plan_from_arguments(
    args: argparse.Namespace, *, report: PairsReport, spread: Spread = map
) -> PairPlan:
    """Read what the options ask for.

    Raises:
        EvaluationDataError: A bag is kept for evaluation and `--evaluation` is not given.
        OSError, ValueError: A file or an option is unusable.
    """
    bags = find_bags(args.data)
    if not getattr(args, 'evaluation', False):
        refuse_evaluation_bags(bags)
    options = PairOptions(
        modalities=tuple(args.modalities),
        topics=_topics(args.topics),
        truth_topic=args.truth_topic.lstrip('/'),
        task_topics=tuple(args.task_topics),
        annotation_topics=tuple(args.annotation_topics),
        note_topics=tuple(args.note_topics),
        windows_at=args.windows_at.lstrip('/'),
        every_s=args.every,
        window_s=args.window,
        max_offset_s=args.max_offset,
        clock=args.clock,
        phrasings=args.phrasings,
        sentences_per_fact=args.sentences_per_fact,
        max_texts=args.max_texts,
        types_folder=args.types,
        seed=args.seed,
    )
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
        found[name] = tuple(topic.lstrip('/') for topic in topics.split(','))
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
    return Views(
        templates=read_templates(args.templates) if args.templates else (),
        paraphrases=read_paraphrases(args.paraphrases) if args.paraphrases else {},
        captioners={name: load_callable(name) for name in args.captioner},
        refiners={name: load_callable(name) for name in args.refiner},
        generators=generators,
    )


def _clear(out: Path) -> None:
    """Remove the set that is replaced; its manifest first, so that no half of it looks whole."""
    (out / MANIFEST).unlink(missing_ok=True)
    for shard in out.glob('pairs-*.tar'):
        shard.unlink()
