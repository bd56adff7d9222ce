"""`lb-ros train pairs`: convert bags to shards of language pairs."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import track

from encoders.modalities import MODALITIES
from encoders.predicates.file import load_predicates
from encoders.shipped import shipped
from train.bags.find import find_bags, refuse_evaluation_bags
from train.bags.folder import BagError, bag_topics
from train.bags.labelled import LabelSet, read_labels
from train.cluster import Spread, ray_cluster
from train.pairs.arguments import options_of
from train.pairs.make import PairPlan, manifest_of, plan_pairs, spread_pairs, stream_pairs
from train.pairs.options import PairOptions, PairsReport
from train.pairs.shards import MANIFEST, write_manifest, write_shards
from train.pairs.sidecar import read_sidecar
from train.pairs.views import Generator, Views
from train.phrasings import Phrasings
from train.progress import counted
from train.recordings.mapping import is_mapping, read_mapping
from train.validated import Template, read_record
from train.views.kept import Kept
from train.views.named import ViewOptions, captioner_of, generator_of, refiner_of
from train.views.refine import Estimate, OpenAIRefiner, read_prompt

STDERR = Console(stderr=True)


def run(args: argparse.Namespace) -> int:
    """Write the shards."""
    report = PairsReport()
    try:
        if (args.out / MANIFEST).exists() and not args.overwrite:
            raise ValueError(f'{args.out}: already holds pairs; give --overwrite to replace them')
        with contextlib.ExitStack() as stack:
            spread = stack.enter_context(ray_cluster(args.ray)) if args.ray else None
            if args.dry_run:
                plan = _plan(args, report=PairsReport(), spread=spread or map)
                print('\n'.join(_estimate(plan, args)))
                return 0
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
    shown = counted(pairs, 'cutting windows', total=total)
    first = next(shown, None)
    if first is None:  # an empty set would look like a finished one
        return
    _clear(args.out)
    shards = write_shards(args.out, chain([first], shown), pairs_per_shard=args.pairs_per_shard)
    write_manifest(args.out, shards, manifest_of(plan, report, split=split))


def _plan(args: argparse.Namespace, *, report: PairsReport, spread: Spread) -> PairPlan:
    """Plan the pairs that the options request.

    Raises:
        EvaluationDataError: A bag is reserved for evaluation and `--evaluation` is not given.
        OSError, ValueError: A file or an option is unusable.
    """
    options = options_of(args)
    bags = find_bags(args.data)
    if not args.evaluation:
        refuse_evaluation_bags(bags)
    return plan_pairs(
        bags,
        options,
        report=report,
        sidecar=[row for path in args.sidecar for row in read_sidecar(path)],
        labels=_labels(args, options),
        views=_views(args, bags, report),
        vocabulary=_vocabulary(args.vocabulary),
        max_per_entry=args.max_per_entry,
        spread=spread,
        progress=lambda plans: iter(
            track(plans, 'reading texts', total=len(bags), console=STDERR)
        ),
    )


def _labels(args: argparse.Namespace, options: PairOptions) -> LabelSet | None:
    if not args.labels:
        return None
    known = load_predicates(args.predicates or shipped('config/predicates.yaml'))
    return read_labels(args.labels, known=known, phrasings=Phrasings.load(options.phrasings))


def _vocabulary(path: Path | None) -> list[str]:
    lines = path.read_text().splitlines() if path else []
    return [line.strip() for line in lines if line.strip()]


def _views(args: argparse.Namespace, bags: Sequence[Path], report: PairsReport) -> Views:
    """Return the additions that the options request.

    Raises:
        OSError, ValueError: A file or a model cannot be used.
    """
    options = ViewOptions(
        device=args.device,
        download=args.download,
        batch=args.batch,
        prompt=read_prompt(args.prompt or shipped('config/prompts/refine.txt')),
        most_requests=args.max_requests,
        kept=Kept(args.view_cache or args.out / 'views.sqlite'),
    )
    paraphrases: dict[str, tuple[str, ...]] = {}
    if args.paraphrases:
        paraphrases = read_record(args.paraphrases, dict[str, tuple[str, ...]])
    return Views(
        templates=read_record(args.templates, tuple[Template, ...]) if args.templates else (),
        paraphrases={said.lower(): others for said, others in paraphrases.items()},
        captioners={name: captioner_of(name, options) for name in args.captioner},
        refiners={name: refiner_of(name, options) for name in args.refiner},
        generators=_generators(args, options, bags, report),
    )


def _generators(
    args: argparse.Namespace, options: ViewOptions, bags: Sequence[Path], report: PairsReport
) -> dict[str, Generator]:
    """Return the generators by modality, without those of modalities that all bags measure.

    Raises:
        ValueError: A generator cannot be used, or only some bags measure its modality.
    """
    generators: dict[str, Generator] = {}
    for word in args.generator:
        modality, equals, name = word.partition('=')
        if not equals or modality not in MODALITIES:
            raise ValueError(f'--generator {word!r}: expected MODALITY=NAME')
        generator = generator_of(modality, name, options)
        topics = options_of(args).sensor_topics(modality)
        measured = sum(_measures(bag, modality, topics) for bag in bags)
        if measured and not args.mix_generated:
            if measured < len(bags):
                raise ValueError(
                    f'--generator {word}: {measured} of {len(bags)} bags measure {modality}, the '
                    f'others would have it generated; make two sets, or give --mix-generated'
                )
            report.problem(f'{modality}: all bags measure it, so none is generated')
            continue
        generators[modality] = generator
    return generators


def _measures(bag: Path, modality: str, topics: Sequence[str]) -> bool:
    """Whether a bag, or a mapping of other recordings, has a modality."""
    if is_mapping(bag):
        return modality in read_mapping(bag).sensors
    try:
        return not bag_topics(bag).keys().isdisjoint(topics)
    except (BagError, OSError):  # reported when the bag is read
        return False


def _estimate(plan: PairPlan, args: argparse.Namespace) -> list[str]:
    """What the refiners of a plan would be asked, without asking."""
    refiners = {
        name: refiner
        for name, refiner in plan.views.refiners.items()
        if isinstance(refiner, OpenAIRefiner)
    }
    estimates = {name: Estimate() for name in refiners}
    bare = replace(plan.views, captioners={}, refiners={}, generators={})
    for pair in stream_pairs(replace(plan, views=bare), report=PairsReport()):
        for name, refiner in refiners.items():
            estimates[name].add(refiner, [text.text for text in pair.texts])
    lines = [line for name, estimate in estimates.items() for line in estimate.lines(name)]
    if args.captioner:
        lines.append('captions are not made in a dry run; they would be asked for in addition')
    return lines or ['no refiner of the OpenAI protocol is named; nothing would be asked']


def _clear(out: Path) -> None:
    """Remove the old set, its manifest first, so that a partial set never looks complete."""
    (out / MANIFEST).unlink(missing_ok=True)
    for shard in out.glob('pairs-*.tar'):
        shard.unlink()
