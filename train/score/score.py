"""Scoring of one bag: scores, timeline and annotated copy."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders import Binder, Predicate
from encoders.predicates.lessons import Lessons
from train.bags.clocks import without_pauses_s
from train.bags.folder import BagError, nothing_in
from train.bags.reader import BagReport
from train.phrasings import Phrasings
from train.score.annotate import write_annotated
from train.score.channel_lines import ChannelRecorder
from train.score.embed import BagSource, embed_bag
from train.score.lerobot_export import add_episode
from train.score.lerobot_format import LerobotWriter
from train.score.parts import Embeddings
from train.score.picture import write_picture
from train.score.rerun_export import write_rerun
from train.score.table import write_scores
from train.score.timeline import make_timeline, thumbnails_of, write_page
from train.score.track import read_truth, track, truth_for


@dataclass(frozen=True, slots=True)
class Outputs:
    """Output paths for one bag; None for outputs that are not requested.

    Attributes:
        scores: Parquet.
        store: Folder of embeddings, reused after an interruption and for other predicates.
        annotated: MCAP with the scores.
        rerun: Recording for Rerun's viewer.
        picture: PNG.
        page: HTML.
    """

    scores: Path
    store: Path
    annotated: Path | None = None
    rerun: Path | None = None
    picture: Path | None = None
    page: Path | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """Number of score rows and embedded windows, and seconds from the first to the last window."""

    rows: int
    windows: int
    seconds: float


def outputs_for(
    bags: Sequence[Path], out: Path, *, annotated: bool, drawn: bool, rerun: bool = False
) -> list[Outputs]:
    """Return the outputs of each bag: one folder each, or next to a single `.parquet` file.

    Raises:
        ValueError: Several bags for one file, or two bags of the same name.
    """
    if out.suffix == '.parquet':
        if len(bags) != 1:
            raise ValueError(f'{out}: one file takes one bag, not {len(bags)}; name a folder')
        scores = [out]
    else:
        names = [bag.stem if bag.is_file() else bag.name for bag in bags]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f'two bags are named {twice[0]!r}; score them into two folders')
        scores = [out / name / 'scores.parquet' for name in names]
    return [
        Outputs(
            scores=path,
            store=path.with_suffix('.embeddings'),
            annotated=path.with_suffix('.mcap') if annotated else None,
            rerun=path.with_suffix('.rrd') if rerun else None,
            picture=path.with_suffix('.png') if drawn else None,
            page=path.with_suffix('.html') if drawn else None,
        )
        for path in scores
    ]


def score_bag(
    binder: Binder,
    predicates: Sequence[Predicate],
    source: BagSource,
    *,
    out: Outputs,
    report: BagReport,
    dataset: LerobotWriter | None = None,
    progress: Callable[[int], None] = lambda log_ns: None,
    lessons: Lessons | None = None,
) -> Result:
    """Score a bag with the code of the live nodes.

    Args:
        binder: The encoders.
        predicates: Predicates to score.
        source: The bag.
        out: Output paths.
        report: Filled with what could not be used.
        dataset: Gets the bag as an episode, unless its sensors differ from those of the others.
        progress: Called with the recording time that was reached.
        lessons: What some predicates were taught.

    Raises:
        FileNotFoundError: There is no such bag.
        BagError: It has no data to encode; nothing is written.
    """
    embeddings = _embedded(
        binder,
        source,
        out,
        predicates=predicates,
        report=report,
        progress=progress,
        lessons=lessons,
    )
    named = read_truth(source.path)
    truths = truth_for(predicates, list(named), Phrasings.load('trained'))
    truth = {name: named[other] for name, other in truths.items()}
    regions = source.sensors
    moments = list(track(binder, predicates, embeddings, lessons=lessons, regions=regions))
    about: dict[str, object] = {
        'model': binder.model,
        'language_space': binder.space,
        'precision': binder.precision,
        'predicates': [p.name for p in predicates],
        'truth': truths,
    }
    title = source.path.name
    rows = write_scores(out.scores, moments, bag=str(source.path), truth=truth, about=about)
    seconds = without_pauses_s(moment.time_ns for moment in moments)
    if out.annotated is not None:
        write_annotated(source.path, moments, space=binder.space, to=out.annotated)
    if out.rerun is not None:
        write_rerun(source, moments, truth=truth, about=about, to=out.rerun)
    if dataset is not None:
        try:
            add_episode(dataset, source, embeddings, moments, truth=truth)
        except ValueError as error:
            report.problem(f'{source.path}: not in the LeRobot data set: {error}')
    if out.picture is not None and out.page is not None:
        start_ns = moments[0].time_ns
        channels = ChannelRecorder(source, start_ns=start_ns, duration_s=seconds)
        pictures = thumbnails_of(source, seconds, channels=channels)
        timeline = make_timeline(
            f'{title} · {binder.model}', moments, truth, pictures, channels.lines()
        )
        write_picture(timeline, out.picture)
        write_page(timeline, out.page)
    return Result(rows, len(embeddings), seconds)


def _embedded(
    binder: Binder,
    source: BagSource,
    out: Outputs,
    *,
    predicates: Sequence[Predicate],
    report: BagReport,
    progress: Callable[[int], None],
    lessons: Lessons | None,
) -> Embeddings:
    """The embeddings of a bag, at least one; if there are none, created folders are removed."""
    new = [each for each in (out.scores.parent, *out.scores.parent.parents) if not each.exists()]
    out.scores.parent.mkdir(parents=True, exist_ok=True)
    try:
        embeddings = embed_bag(
            binder,
            source,
            store=out.store,
            report=report,
            progress=progress,
            predicates=predicates,
            lessons=lessons,
        )
        if not len(embeddings):
            raise nothing_in(source.path, 'nothing to score', report.problems)
    except BagError:
        shutil.rmtree(out.store, ignore_errors=True)
        with contextlib.suppress(OSError):  # results of other bags may have been written meanwhile
            for folder in new:
                folder.rmdir()
        raise
    return embeddings
