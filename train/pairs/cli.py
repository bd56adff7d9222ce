"""`lb-ros train pairs`: convert bags to shards of language pairs."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import track

from encoders.modalities import MODALITIES
from train.bags.find import find_bags, refuse_evaluation_bags
from train.cluster import Spread, ray_cluster
from train.pairs.arguments import options_of
from train.pairs.make import PairPlan, manifest_of, plan_pairs, spread_pairs, stream_pairs
from train.pairs.options import PairsReport
from train.pairs.shards import MANIFEST, write_manifest, write_shards
from train.pairs.sidecar import read_sidecar
from train.pairs.views import Views, load_callable
from train.progress import counted
from train.validated import Template, read_record

STDERR = Console(stderr=True)


def run(args: argparse.Namespace) -> int:
    """Write the shards."""
    report = PairsReport()
    try:
        if (args.out / MANIFEST).exists() and not args.overwrite:
            raise ValueError(f'{args.out}: already holds pairs; give --overwrite to replace them')
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
        views=_views(args),
        vocabulary=_vocabulary(args.vocabulary),
        max_per_entry=args.max_per_entry,
        spread=spread,
        progress=lambda plans: iter(
            track(plans, 'reading texts', total=len(bags), console=STDERR)
        ),
    )


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
    """Remove the old set, its manifest first, so that a partial set never looks complete."""
    (out / MANIFEST).unlink(missing_ok=True)
    for shard in out.glob('pairs-*.tar'):
        shard.unlink()
