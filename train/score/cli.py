"""`lb-ros score`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)

from encoders import SENSED, Binder, Predicate, load_predicates
from encoders.shipped import shipped
from train.bags.find import find_bags
from train.bags.reader import BagReport
from train.bags.storage import bag_span_ns
from train.cluster import ray_cluster
from train.score.embed import BagSource
from train.score.lerobot_format import LerobotWriter
from train.score.rerun_export import rerun_module
from train.score.score import Outputs, outputs_for, score_bag
from train.score.windows import SensorTopics

ERRORS = (KeyError, ModuleNotFoundError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Job:
    """One bag to score: the predicates, how it is read, and where its results go."""

    predicates: Sequence[Predicate]
    source: BagSource
    out: Outputs


@dataclass(frozen=True, slots=True)
class ScoredBag:
    """What became of one bag; the record of `--json`."""

    bag: str
    scores: str
    rows: int
    windows: int
    seconds: float
    took_s: float
    times_real_time: float
    precision: str
    problems: list[str]


def default_threads() -> int:
    """Threads without a core of their own only wait."""
    return len(os.sched_getaffinity(0))


def load_binder(args: argparse.Namespace) -> Binder:
    """The encoders that a command line asks for.

    Raises:
        ModelSetError, SpaceError, KeyError: See `Binder.load`.
    """
    torch.set_num_threads(args.threads or default_threads())
    wanted = args.modalities or None
    return Binder.load(args.model, modalities=wanted, device=args.device, dtype=args.precision)


def sources_of(args: argparse.Namespace, bags: Sequence[Path], binder: Binder) -> list[BagSource]:
    """The bags of a command line with how to read them."""
    topics = SensorTopics.parse(args.topics)
    sensed = tuple(m for m in SENSED if m in binder.modalities)
    return [BagSource(bag, topics, sensed, args.max_rate_hz) for bag in bags]


def run(args: argparse.Namespace) -> int:
    """Score bags; 0 done, 2 unusable input. What an interrupted run finished is kept."""
    try:
        bags = find_bags(args.bags)
        predicates = load_predicates(args.predicates or shipped('config/predicates.yaml'))
        if args.rerun:
            rerun_module()  # missing, it is told before hours of work
        outputs = outputs_for(
            bags,
            args.out,
            annotated=args.mcap,
            drawn=not args.no_timeline,
            rerun=args.rerun,
        )
        dataset = _new_dataset(args)
        binder = load_binder(args)
        sources = sources_of(args, bags, binder)
        jobs = [Job(predicates, *both) for both in zip(sources, outputs, strict=True)]
        if args.ray:
            scored = _scored_by_ray(args, binder, jobs)
        else:
            scored = _scored_here(binder, jobs, dataset)
        done = []
        for bag in scored:
            for line in bag.problems:
                print(f'lb-ros score: {line}', file=sys.stderr)
            done.append(bag)
        if dataset is not None:
            dataset.finish()
    except ERRORS as error:
        print(f'lb-ros score: {reason_of(error)}', file=sys.stderr)
        return 2
    _tell(done, as_json=args.json)
    return 0


def _new_dataset(args: argparse.Namespace) -> LerobotWriter | None:
    if args.lerobot is None:
        return None
    if args.ray:
        raise ValueError('--lerobot writes all bags into one data set; leave out --ray')
    return LerobotWriter(args.lerobot, fps=args.lerobot_fps)


def reason_of(error: Exception) -> str:
    """The text of an error, of a KeyError without quotes."""
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def progress_bar() -> Progress:
    """Bag time done, times real time, and time left; on the error stream."""
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        TextColumn('{task.completed:.0f}/{task.total:.0f} s'),
        TextColumn('{task.fields[rate]}'),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def follow(bar: Progress, source: BagSource) -> Callable[[int], None]:
    """A function that moves a new line of the bar to a time of recording."""
    span = bag_span_ns(source.path)
    total_s = None if span is None else max((span[1] - span[0]) * 1e-9, 1e-3)
    task = bar.add_task(source.path.name, total=total_s, rate='')
    began_s, first_ns = time.monotonic(), None if span is None else span[0]

    def tell(log_ns: int) -> None:
        nonlocal first_ns
        first_ns = log_ns if first_ns is None else first_ns
        done_s = (log_ns - first_ns) * 1e-9
        rate = done_s / max(time.monotonic() - began_s, 1e-3)
        bar.update(task, completed=done_s, rate=f'{rate:.1f} x real time')

    return tell


def fill(bar: Progress) -> None:
    """Show what is done as whole: the last messages of a bag need not be of a sensor."""
    for task in bar.tasks:
        bar.update(task.id, total=task.total or task.completed)
        bar.update(task.id, completed=task.total or task.completed)


def _score(
    binder: Binder,
    job: Job,
    progress: Callable[[int], None],
    *,
    dataset: LerobotWriter | None = None,
) -> ScoredBag:
    began_s = time.monotonic()
    report = BagReport(job.source.path)
    result = score_bag(
        binder,
        job.predicates,
        job.source,
        out=job.out,
        report=report,
        dataset=dataset,
        progress=progress,
    )
    took_s = time.monotonic() - began_s
    return ScoredBag(
        bag=str(job.source.path),
        scores=str(job.out.scores),
        rows=result.rows,
        windows=result.windows,
        seconds=round(result.seconds, 3),
        took_s=round(took_s, 3),
        times_real_time=round(result.seconds / max(took_s, 1e-3), 2),
        precision=binder.precision,
        problems=report.problems,
    )


def _scored_here(
    binder: Binder, jobs: Sequence[Job], dataset: LerobotWriter | None
) -> Iterator[ScoredBag]:
    with progress_bar() as bar:
        for job in jobs:
            yield _score(binder, job, follow(bar, job.source), dataset=dataset)
            fill(bar)


def _scored_by_ray(
    args: argparse.Namespace, binder: Binder, jobs: Sequence[Job]
) -> Iterator[ScoredBag]:
    """Score bags on a cluster, where every process loads the model once."""
    again = partial(_binder_of, args.model, binder.modalities, args.device, binder.precision)
    with ray_cluster(args.ray, gpus=float(args.device.startswith('cuda'))) as spread:
        scored = spread(partial(_score_there, again), jobs)
        yield from track(scored, 'scoring bags', total=len(jobs), console=Console(stderr=True))


def _score_there(binder: Callable[[], Binder], job: Job) -> ScoredBag:
    return _score(binder(), job, lambda log_ns: None)


@lru_cache(maxsize=1)
def _binder_of(model: str, modalities: tuple[str, ...], device: str, precision: str) -> Binder:
    return Binder.load(model, modalities=modalities, device=device, dtype=precision)


def _tell(done: Sequence[ScoredBag], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(bag) for bag in done], indent=2))
        return
    for bag in done:
        print(
            f'{bag.scores}: {bag.rows} rows, {bag.windows} windows of {bag.seconds:.1f} s '
            f'in {bag.took_s:.1f} s ({bag.times_real_time:.1f} x real time, {bag.precision})'
        )
