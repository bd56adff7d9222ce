"""`lb-ros sim`: write simulator bags, many episodes in parallel processes."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from train.arguments import Parser
from train.simulate.arguments import add_arguments
from train.simulate.contact.tasks import ContactTask, list_contact_tasks
from train.simulate.metaworld.tasks import ExpertTask, list_tasks
from train.simulate.scene import (
    SceneTask,
    list_scenes,
    with_other_furniture,
    with_other_objects,
)
from train.simulate.suites import CONTACT_SUITES, METAWORLD, TRAINING_SUITES

if TYPE_CHECKING:
    from train.simulate.episode import EpisodePlan

SCENES_PER_PROCESS = 6
Task = SceneTask | ExpertTask | ContactTask
Job = tuple[Task, list[dict[str, object]]]
Outcome = tuple[str, int, str]


def run(args: argparse.Namespace) -> int:
    """Write the bags; 0 if all episodes succeeded, 1 if some failed, 2 for unusable input."""
    try:
        jobs = plan_jobs(args)
    except (ValueError, ModuleNotFoundError) as error:
        print(f'lb-ros sim: {error}', file=sys.stderr)
        return 2
    began_s = time.monotonic()
    outcomes = list(_record_all(jobs, workers=args.workers, quiet=args.json))
    elapsed_s = time.monotonic() - began_s
    failed = [(name, reason) for name, _, reason in outcomes if reason]
    frames = sum(count for _, count, _ in outcomes)
    for name, reason in failed:
        print(f'lb-ros sim: episode {name} failed: {reason}', file=sys.stderr)
    summary = {
        'bags': len(outcomes) - len(failed),
        'failed': len(failed),
        'frames': frames,
        'out': str(args.out),
    }
    if args.json:
        print(json.dumps(summary))
    else:
        rate = ''
        if args.profile == 'live' and frames:
            rate = f', {frames / args.rate / elapsed_s:.1f} times real time'
        print(f'{summary["bags"]} bags with {frames} frames in {args.out}{rate}')
    return 1 if failed else 0


def plan_jobs(args: argparse.Namespace) -> list[Job]:
    """Plan jobs of up to four episodes of one scene each; existing bags are skipped.

    Raises:
        ValueError: An option is out of range, or no scene fits.
    """
    for option, is_given in (
        ('--exchange-objects', args.exchange_objects),
        ('--exchange-furniture', args.exchange_furniture),
    ):
        if is_given and not set(args.suite) <= set(TRAINING_SUITES):
            raise ValueError(f'{option} is for {", ".join(TRAINING_SUITES)} only')
    if args.touch and METAWORLD in args.suite:
        raise ValueError(f'--touch: {METAWORLD} has no finger pads that feel')
    if args.no_pictures and not set(args.suite) <= set(CONTACT_SUITES):
        raise ValueError(f'--no-pictures is for {", ".join(CONTACT_SUITES)} only')
    jobs: list[Job] = []
    for suite in args.suite:
        scenes = [
            s for s in _list_scenes(suite, args.profile) if not args.scene or args.scene in s.scene
        ]
        if not scenes:
            raise ValueError(f'no scene of {suite} has {args.scene!r} in its name')
        for index, task in enumerate(scenes):
            seeds = range(args.seed + index, args.seed + args.episodes, len(scenes))
            episodes: list[tuple[int, dict[str, object]]] = []
            for seed in seeds:
                path = args.out / f'{task.scene}_{args.profile}_{seed:05d}'
                if not (path / 'metadata.yaml').exists():
                    episodes.append((seed, _episode(args, seed, path)))
            exchange = _exchange(args)
            if exchange is not None and isinstance(task, SceneTask):
                jobs += [(exchange(task, seed), [e]) for seed, e in episodes]
                continue
            # Small jobs keep all workers busy until the end.
            chunks = [episodes[k : k + 4] for k in range(0, len(episodes), 4)]
            jobs += [(task, [episode for _, episode in chunk]) for chunk in chunks]
    return jobs


def _exchange(args: argparse.Namespace) -> Callable[[SceneTask, int], SceneTask] | None:
    """What makes another scene of every episode, if anything; new furniture brings new objects."""
    if args.exchange_furniture:
        return with_other_furniture
    return with_other_objects if args.exchange_objects else None


def _list_scenes(suite: str, profile: str) -> Sequence[Task]:
    if suite not in (METAWORLD, *CONTACT_SUITES):
        return list_scenes(suite)
    if profile != 'live':
        raise ValueError(f'{suite} has live logs only, no --profile {profile}')
    return list_tasks() if suite == METAWORLD else list_contact_tasks(suite)


def _episode(args: argparse.Namespace, seed: int, path: Path) -> dict[str, object]:
    return {
        'seed': seed,
        'profile': args.profile,
        'duration_s': args.duration,
        'frame_every_s': 1.0 / args.rate,
        'randomise': args.randomize,
        'path': path,
        'touch': args.touch,
        'pictures': not args.no_pictures,
    }


def _record_all(jobs: Sequence[Job], *, workers: int, quiet: bool) -> Iterator[Outcome]:
    total = sum(len(episodes) for _, episodes in jobs)
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('{task.fields[rate]}'),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    context = multiprocessing.get_context('spawn')
    # The simulator frees little memory of a scene: after a hundred, a process would hold 25 GB.
    pool_of_fresh = context.Pool(workers, maxtasksperchild=SCENES_PER_PROCESS)
    with Progress(*columns, disable=quiet) as progress, pool_of_fresh as pool:
        bar = progress.add_task('episodes', total=total, rate='')
        frames = 0
        for outcomes in pool.imap_unordered(record_job, jobs):
            for outcome in outcomes:
                frames += outcome[1]
                elapsed_s = progress.tasks[0].elapsed or 1e-9
                rate = f'{frames / elapsed_s:.1f} frames/s'
                progress.update(bar, advance=1, rate=rate)
                yield outcome


def record_job(job: Job) -> list[Outcome]:
    """Record the episodes of a job in this process; a failure affects only its own episode."""
    from train.simulate.episode import EpisodePlan

    task, episodes = job
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as stack:
        try:
            record = stack.enter_context(_recorder(task))
        except Exception as error:
            return [(f'{task.scene} seed {e["seed"]}', 0, _line(error)) for e in episodes]
        for episode in episodes:
            plan = EpisodePlan(task=task, **episode)  # type: ignore[arg-type]
            name = f'{task.scene} seed {plan.seed}'
            try:
                plan.path.parent.mkdir(parents=True, exist_ok=True)
                outcomes.append((name, record(plan), ''))
            except Exception as error:
                outcomes.append((name, 0, _line(error)))
    return outcomes


@contextlib.contextmanager
def _recorder(task: Task) -> Iterator[Callable[[EpisodePlan], int]]:
    """Context with the recorder of a task; each process imports only the simulator it uses."""
    if isinstance(task, ExpertTask):
        from train.simulate.metaworld.episode import record

        yield record
        return
    if isinstance(task, ContactTask):
        from train.simulate.contact.episode import record as record_contact

        yield record_contact
        return
    from train.simulate.episode import Studio

    with contextlib.closing(Studio(task)) as studio:
        yield studio.record


def _line(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'.splitlines()[0]


def main() -> int:
    """Entry point of `python -m train.simulate.cli`."""
    parser = Parser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == '__main__':
    raise SystemExit(main())
