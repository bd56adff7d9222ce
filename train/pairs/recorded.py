"""Pairs of recordings that are no bags (`train.recordings`)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from train.pairs.options import PairOptions, PairsReport
from train.pairs.plan import Window, fact_texts, limited
from train.pairs.record import Pair, Text, encode, key_of
from train.phrasings import Phrasings
from train.recordings.mapping import Recordings, phrasings_of, read_mapping
from train.recordings.runs import read_runs
from train.recordings.series import Moment, moments
from train.recordings.table import Run

TASK = 'task'


def plan_recordings(path: Path, options: PairOptions, *, report: PairsReport) -> list[Window]:
    """Find the windows of a mapping that have sentences; each run is a segment.

    Sentences are those of the facts, in the wordings of the mapping, and the task of an episode.

    Raises:
        OSError, ValueError: The mapping is invalid, or a file lacks what it names.
    """
    recordings = read_mapping(path)
    name = options.phrasings if options.phrasings != 'trained' else phrasings_of(recordings, path)
    phrasings = Phrasings.load(name)
    windows = []
    for number, run, moment in _moments(path, recordings, options, report):
        draw = random.Random(f'{options.seed}:{path.name}:{number}:{moment.time_s}')
        told = fact_texts(moment.facts, phrasings, options, draw, report)
        texts = limited(_task(run), told, options)
        report.windows += 1
        if texts:
            end_ns = round(moment.time_s * 1e9)
            start_ns = end_ns - round(options.window_s * 1e9)
            windows.append(Window(number, start_ns, end_ns, end_ns, texts, moment.facts))
        else:
            report.dropped['windows without a sentence'] += 1
    return windows


def cut_recordings(
    path: Path, windows: Sequence[Window], options: PairOptions, *, report: PairsReport
) -> Iterator[tuple[int, Pair]]:
    """Yield the pairs of a mapping with the numbers of their windows."""
    recordings = read_mapping(path)
    wanted = {(window.segment, window.end_ns): index for index, window in enumerate(windows)}
    for number, _, moment in _moments(path, recordings, options, PairsReport()):
        index = wanted.get((number, round(moment.time_s * 1e9)))
        if index is None:
            continue
        window = windows[index]
        files: dict[str, bytes] = {}
        for name, series in moment.series.items():
            files |= encode(name, series)
        if not files:
            report.dropped['windows no sensor saw'] += 1
            continue
        yield (
            index,
            Pair(
                key=f'{key_of(path.stem, window.end_ns)}_{index}',
                bag=path.name,
                start_ns=window.start_ns,
                end_ns=window.end_ns,
                files=files,
                texts=window.texts,
                facts=window.facts,
            ),
        )


def _moments(
    path: Path, recordings: Recordings, options: PairOptions, report: PairsReport
) -> Iterator[tuple[int, Run, Moment]]:
    lengths_s = dict.fromkeys(recordings.sensors, options.window_s)
    runs = read_runs(recordings, path.parent, problem=report.problem)
    for number, (_, run) in enumerate(runs):
        for moment in moments(run, recordings, lengths_s):
            yield number, run, moment


def _task(run: Run) -> list[Text]:
    task = str(run.values.get(TASK, '')).strip()
    return [Text(task, 'task')] if task else []
