"""`lb-ros score`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
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
from encoders.predicates.lessons import Lessons
from encoders.predicates.taught_file import load_lessons, taught_path, usable_lessons
from encoders.regions import distinct
from encoders.shipped import shipped
from train.bags.clocks import DAY_NS
from train.bags.find import find_bags
from train.bags.folder import BagError, bag_span_ns
from train.bags.reader import BagReport
from train.channel_file import read_channels
from train.cluster import ray_cluster
from train.score.embed import BagSource
from train.score.lerobot_format import LerobotWriter
from train.score.rerun_export import rerun_module
from train.score.score import Outputs, Result, outputs_for, score_bag
from train.score.windows import SensorTopics

MAX_SPAN_NS = 30 * DAY_NS  # longer than any recording
ERRORS = (KeyError, ModuleNotFoundError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Job:
    """One bag to score: predicates and what they were taught, settings and outputs."""

    predicates: Sequence[Predicate]
    source: BagSource
    out: Outputs
    lessons: Lessons | None = None


@dataclass(frozen=True, slots=True)
class ScoredBag:
    """Result for one bag, the record of `--json`; if it failed, `problems` gives the reason."""

    bag: str
    scores: str
    rows: int
    windows: int
    seconds: float
    took_s: float
    times_real_time: float
    precision: str
    problems: list[str]
    failed: bool = False


def default_threads() -> int:
    """Number of available cores; more threads would only wait."""
    return len(os.sched_getaffinity(0))


def load_binder(args: argparse.Namespace) -> Binder:
    """Load the encoders that a command line requests.

    Raises:
        ModelSetError, SpaceError, KeyError, ValueError: See `Binder.load`.
        OSError, InvalidRecordError: The file of channels is not usable.
    """
    torch.set_num_threads(args.threads or default_threads())
    return _binder_of(
        args.model, tuple(args.modalities), args.device, args.precision, args.channels
    )


def sources_of(args: argparse.Namespace, bags: Sequence[Path], binder: Binder) -> list[BagSource]:
    """Return the bags of a command line with their source settings."""
    topics = SensorTopics.parse(args.topics)
    sources = [
        BagSource.of(bag, binder, topics=topics, max_rate_hz=args.max_rate_hz) for bag in bags
    ]
    if not set(SENSED) & set(binder.modalities):
        raise ValueError(
            f'model set {binder.model} has only {", ".join(binder.modalities)}, which is not read '
            f'here yet; measure it with `lb-ros eval`'
        )
    regions = distinct(getattr(args, 'regions', ()))
    for region in regions:
        if region.modality not in binder.modalities:
            raise ValueError(f'--region {region}: {region.modality} is not read; see --modalities')
    return [replace(source, regions=regions) for source in sources]


def run(args: argparse.Namespace) -> int:
    """Score bags; return 0 on success, 2 if any input is unusable; the other bags are scored.

    Results that an interrupted run finished are kept.
    """
    try:
        bags = find_bags(args.bags)
        predicates = load_predicates(args.predicates or shipped('config/predicates.yaml'))
        if args.rerun:
            rerun_module()  # reported before hours of work if missing
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
        lessons = lessons_for(args, binder, command='score')
        jobs = [Job(predicates, *both, lessons) for both in zip(sources, outputs, strict=True)]
        if args.ray:
            scored = _scored_by_ray(args, binder, jobs)
        else:
            scored = _scored_here(binder, jobs, dataset)
        done = []
        for bag in scored:
            for line in bag.problems:
                print(f'lb-ros score: {line}', file=sys.stderr)
            if not bag.failed:
                done.append(bag)
        if dataset is not None and done:
            dataset.finish()
    except ERRORS as error:
        print(f'lb-ros score: {reason_of(error)}', file=sys.stderr)
        return 2
    _tell(done, as_json=args.json)
    return 0 if len(done) == len(jobs) else 2


def lessons_for(args: argparse.Namespace, binder: Binder, *, command: str) -> Lessons | None:
    """What was taught, from the named file or the one next to the predicates file.

    Raises:
        SpaceError, ModelSetError: The named file is damaged, or of another model set.
    """
    if args.taught is not None:
        lessons = load_lessons(args.taught)
        if lessons is not None:
            lessons.check(binder, where=str(args.taught))
        return lessons
    if args.predicates is None:
        return None
    path = taught_path(args.predicates)
    return usable_lessons(
        path, binder, warn=lambda line: print(f'lb-ros {command}: {line}', file=sys.stderr)
    )


def _new_dataset(args: argparse.Namespace) -> LerobotWriter | None:
    if args.lerobot is None:
        return None
    if args.ray:
        raise ValueError('--lerobot writes all bags into one data set; leave out --ray')
    return LerobotWriter(args.lerobot, fps=args.lerobot_fps)


def reason_of(error: Exception) -> str:
    """The text of an error, without the quotes of a KeyError."""
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def progress_bar() -> Progress:
    """Progress bar on standard error: bag time done, speed over real time, and time left."""
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        TextColumn('{task.fields[done]}'),
        TextColumn('{task.fields[rate]}'),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def follow(bar: Progress, source: BagSource) -> Callable[[int], None]:
    """Add a line to the bar and return a function that moves it to a recording time.

    The length is unknown for a bag without an index, and for one whose clock was set while it was
    recorded; then the bar shows only what is done.
    """
    span = bag_span_ns(source.path)
    if span is not None and span[1] - span[0] > MAX_SPAN_NS:
        span = None
    total_s = None if span is None else max((span[1] - span[0]) * 1e-9, 1e-3)
    task = bar.add_task(source.path.name, total=total_s, rate='', done='')
    began_s, last_ns = time.monotonic(), None if span is None else span[0]
    done_s = 0.0

    def tell(log_ns: int) -> None:
        nonlocal last_ns, done_s
        step_ns = 0 if last_ns is None else log_ns - last_ns
        done_s += step_ns * 1e-9 if abs(step_ns) <= MAX_SPAN_NS else 0.0
        last_ns = log_ns
        rate = done_s / max(time.monotonic() - began_s, 1e-3)
        done = f'{done_s:.0f} s' if total_s is None else f'{done_s:.0f}/{total_s:.0f} s'
        bar.update(task, completed=done_s, rate=f'{rate:.1f} x real time', done=done)

    return tell


def fill(bar: Progress) -> None:
    """Set all lines to complete, because the last messages of a bag may not be sensor data."""
    for task in bar.tasks:
        total_s = task.total or task.completed
        bar.update(task.id, total=total_s, completed=total_s, done=f'{total_s:.0f} s')


def _score(
    binder: Binder,
    job: Job,
    progress: Callable[[int], None],
    *,
    dataset: LerobotWriter | None = None,
) -> ScoredBag:
    began_s = time.monotonic()
    report = BagReport(job.source.path)
    try:
        result = score_bag(
            binder,
            job.predicates,
            job.source,
            out=job.out,
            report=report,
            dataset=dataset,
            progress=progress,
            lessons=job.lessons,
        )
    except BagError as error:
        nothing = Result(0, 0, 0.0)
        return _scored(job, nothing, [str(error)], took_s=0.0, binder=binder, failed=True)
    took_s = time.monotonic() - began_s
    return _scored(job, result, report.problems, took_s=took_s, binder=binder)


def _scored(
    job: Job,
    result: Result,
    problems: list[str],
    *,
    took_s: float,
    binder: Binder,
    failed: bool = False,
) -> ScoredBag:
    return ScoredBag(
        bag=str(job.source.path),
        scores=str(job.out.scores),
        rows=result.rows,
        windows=result.windows,
        seconds=round(result.seconds, 3),
        took_s=round(took_s, 3),
        times_real_time=round(result.seconds / max(took_s, 1e-3), 2),
        precision=binder.precision,
        problems=problems,
        failed=failed,
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
    again = partial(
        _binder_of, args.model, binder.modalities, args.device, binder.precision, args.channels
    )
    with ray_cluster(args.ray, gpus=float(args.device.startswith('cuda'))) as spread:
        scored = spread(partial(_score_there, again), jobs)
        yield from track(scored, 'scoring bags', total=len(jobs), console=Console(stderr=True))


def _score_there(binder: Callable[[], Binder], job: Job) -> ScoredBag:
    return _score(binder(), job, lambda log_ns: None)


@lru_cache(maxsize=1)
def _binder_of(
    model: str, modalities: tuple[str, ...], device: str, precision: str, channels: Path | None
) -> Binder:
    return Binder.load(
        model,
        modalities=modalities or None,
        channels=None if channels is None else read_channels(channels, of_topics=True),
        device=device,
        dtype=precision,
    )


def _tell(done: Sequence[ScoredBag], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(bag) for bag in done], indent=2))
        return
    for bag in done:
        print(
            f'{bag.scores}: {bag.rows} rows, {bag.windows} windows of {bag.seconds:.1f} s '
            f'in {bag.took_s:.1f} s ({bag.times_real_time:.1f} x real time, {bag.precision})'
        )
