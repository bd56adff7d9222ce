"""`lb-ros demo`: shows a table here, runs the nodes and plays the bag in two other processes."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live

from encoders import MODALITIES, SENSED, Binder, ModelSetError, Predicate, PredicateError
from lb_ros.dds_profile import has_own_transports
from lb_ros.demo.picture import Picture
from lb_ros.demo.recording import Recording, medians, percentile
from lb_ros.demo.table import live_table, sentences_table, summary_table
from lb_ros.stopping import END_WITH_READER, interrupt_on_stop

GRACE_S = 1.5
STOP_S = 15.0
# Nodes that end by themselves end the demonstration, so this is only for busy machines.
ACTIVE_S = 600.0
WIDTH = 120
SENTENCES = 12  # per side of a predicate: enough for an ensemble, quick to embed


class DemoError(ValueError):
    """The demonstration cannot run; the message gives the reason."""


def run(args: argparse.Namespace) -> int:
    """Run the demonstration.

    Returns:
        0 success, 1 a process failed, 2 unusable input, 130 stopped by Ctrl-C, SIGTERM or SIGHUP.
    """
    interrupt_on_stop()
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    if not has_own_transports(os.environ):  # LOCALHOST would set other transports
        os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    # The default of 80 columns for a file or a pipe is too narrow for the table.
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        for path in (args.report, args.picture):
            if path is not None and not path.absolute().parent.is_dir():
                raise DemoError(f'{path}: there is no such folder to write to')
        bag = args.bag
        predicates, problems = predicates_of(bag, args.text)
        binder = Binder.load(args.model)
        modalities, silent = modalities_of(bag, binder)
        problems += silent
    except (OSError, ValueError, ModelSetError, PredicateError) as error:
        print(f'lb-ros demo: {error}', file=sys.stderr)
        return 2
    for line in problems:
        print(f'lb-ros demo: {line}', file=sys.stderr)
    try:
        return _show(args, predicates, binder, console, modalities=modalities, told=problems)
    except KeyboardInterrupt:
        console.print('interrupted')
        return 130


def predicates_of(bag: Path, texts: Sequence[str]) -> tuple[list[Predicate], list[str]]:
    """Return the predicates of a bag's ground truth, then those of the user's sentences.

    Returns:
        Predicates, and one line per problem with the bag.

    Raises:
        DemoError: The bag has nothing to score and there are no sentences.
        FileNotFoundError: The bag does not exist.
        BagError: No message of the bag can be read.
    """
    from train.bags.folder import topics_to_read
    from train.bags.reader import BagReport, read_bag
    from train.bags.truth import facts_of
    from train.phrasings import Phrasings, Sentences

    report = BagReport(bag)
    topics_to_read(bag, report.problem)
    names: dict[str, None] = {}
    for message in read_bag(bag, topics=['ground_truth/predicates'], report=report):
        names |= dict.fromkeys(facts_of(message, report) or {})
    phrasings = Phrasings.load('trained')
    known: dict[str, Sentences] = {}
    for name in names:
        with contextlib.suppress(ValueError):  # reported below
            known[name] = phrasings.sentences(name)
    problems = [*report.problems]
    problems += [
        f'{bag}: no wording for {name}; not scored' for name in names if name not in known
    ]
    found = [Predicate(name, _some(s.positive), _some(s.negative)) for name, s in known.items()]
    found += [Predicate.from_sentence(text) for text in dict.fromkeys(texts)]
    if not found:
        raise DemoError(f'{bag}: no ground truth to compare with; give sentences with --text')
    return found, problems


def modalities_of(bag: Path, binder: Binder) -> tuple[tuple[str, ...], list[str]]:
    """The modalities to run on a bag, and one line for each that the model set cannot encode.

    Raises:
        DemoError: None of the sensors of the bag can be encoded.
    """
    from train.bags.folder import topics_to_read

    present = topics_to_read(bag, lambda line: None)
    sensed = [m for m in SENSED if any(topic in present for topic in MODALITIES[m].topics)]
    found = tuple(m for m in sensed if m in binder.modalities)
    if not found:
        raise DemoError(
            f'{bag}: model set {binder.model} encodes none of its sensors ({", ".join(sensed)}), '
            f'only {", ".join(binder.modalities)}'
        )
    missing = [m for m in sensed if m not in binder.modalities]
    lines = [f'{bag}: model set {binder.model} has no encoder of {m}; not shown' for m in missing]
    return found, lines


def _some(sentences: Sequence[str]) -> tuple[str, ...]:
    # Take evenly spaced sentences, because the list is ordered by kind of wording.
    step = max(1, -(-len(sentences) // SENTENCES))
    return tuple(sentences[::step])


def _show(
    args: argparse.Namespace,
    predicates: list[Predicate],
    binder: Binder,
    console: Console,
    *,
    modalities: Sequence[str],
    told: Sequence[str],
) -> int:
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / 'predicates.yaml'
        listed.write_text(
            yaml.safe_dump(
                {
                    'predicates': {
                        p.name: {'positive': list(p.positive), 'negative': list(p.negative)}
                        for p in predicates
                    }
                }
            )
        )
        picture = Picture(modalities) if args.picture else None
        processes = _start(args.model, listed, args.bag, modalities=modalities)
        try:
            recording = _watch(args, processes, modalities, console, picture)
        finally:
            outputs = {name: _stop(process) for name, process in processes.items()}
    played = _last_json(outputs['player'])
    for line in played.get('problems', []):
        if line not in told:
            print(f'lb-ros demo: {line}', file=sys.stderr)
    if processes['player'].returncode or not recording.answers:
        print('lb-ros demo: no scores arrived', file=sys.stderr)
        return 1
    if picture is not None and not picture.save(args.picture):
        print('lb-ros demo: no picture: every state stayed unknown', file=sys.stderr)
    nodes = _last_json(outputs['nodes'])
    report = make_report(recording, binder, args.bag, played, nodes, modalities=modalities)
    if args.report:
        args.report.write_text(json.dumps(report, indent=2) + '\n')
    from train.fitted_table import print_table

    print_table(summary_table(recording.summarise()), console)
    if args.text:
        print_table(sentences_table(recording, [t.strip() for t in args.text]), console)
    keys = ('medians', 'latency_ms', 'delivered_fraction')
    console.print({key: report[key] for key in keys})
    return 0


def _start(
    model: str, predicates: Path, bag: Path, *, modalities: Sequence[str]
) -> dict[str, subprocess.Popen[str]]:
    parameters = ['-p', f'model:={model}', '-p', f'predicates:={predicates}']
    parameters += ['-p', f'modalities:=[{", ".join(modalities)}]']
    unused = [t for m in SENSED if m not in modalities for t in MODALITIES[m].topics]
    player = ['-m', 'lb_ros.demo.bag_player', str(bag)]
    player += ['--after', 'bringup', '--wait', f'{ACTIVE_S:g}']
    commands = {
        'nodes': ['-m', 'lb_ros.start', 'bringup', END_WITH_READER, '--ros-args', *parameters],
        'player': [*player, '--optional', *unused] if unused else player,
    }
    return {
        name: subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C reaches only this process, which stops the others. If it is killed, they
            # notice that the pipe of their output is closed.
            start_new_session=True,
        )
        for name, command in commands.items()
    }


def _stop(process: subprocess.Popen[str]) -> str:
    if process.poll() is None:
        process.terminate()  # quiet even while it still imports, unlike an interrupt
    try:
        return process.communicate(timeout=STOP_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def _watch(
    args: argparse.Namespace,
    processes: dict[str, subprocess.Popen[str]],
    modalities: Sequence[str],
    console: Console,
    picture: Picture | None,
) -> Recording:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from lb_ros.dds_profile import use_dds_profile
    from lb_ros.demo.listener import Listener

    use_dds_profile()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    recording = Recording()
    listener = Listener(recording)
    executor = SingleThreadedExecutor()
    executor.add_node(listener)
    limit = max(5, console.height - 8)
    end_s, redraw_s = math.inf, 0.0
    console.print('starting the nodes and the player ...')
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while time.monotonic() < end_s and processes['nodes'].poll() is None:
                executor.spin_once(timeout_sec=0.05)
                now_s = time.monotonic()
                if processes['player'].poll() is not None and end_s == math.inf:
                    end_s = now_s + GRACE_S
                if now_s < redraw_s:
                    continue
                redraw_s = now_s + 0.25
                if picture is not None:
                    picture.look(recording)
                if not args.headless:
                    shown = live_table(recording, modalities, limit=limit, width=console.width)
                    live.update(shown, refresh=True)
    finally:
        executor.shutdown()
        listener.destroy_node()
        rclpy.try_shutdown()
    return recording


def make_report(
    recording: Recording,
    binder: Binder,
    bag: Path,
    played: dict[str, Any],
    nodes: dict[str, Any],
    *,
    modalities: Sequence[str],
) -> dict[str, Any]:
    """Return the summary as plain values; see docs/demo.md for the keys."""
    summaries = recording.summarise()
    sensed = {topic for modality in modalities for topic in MODALITIES[modality].topics}
    published = sum(
        count for topic, count in played.get('published', {}).items() if topic in sensed
    )
    received = sum(c['received'] for c in nodes.get('counters', {}).values())
    return {
        'model': binder.model,
        'space': binder.space,
        'bag': bag.name,
        'predicates': [asdict(line) for line in summaries],
        'medians': medians(summaries),
        'latency_ms': {
            'p50': percentile(recording.latencies_ms, 0.5),
            'p95': percentile(recording.latencies_ms, 0.95),
        },
        'delivered_fraction': received / published if published else None,
    }


def _last_json(output: str) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        if line.startswith('{'):
            found: dict[str, Any] = json.loads(line)
            return found
    return {}
