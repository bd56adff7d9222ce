"""Answers as a page with pictures, and how to play each of them again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from encoders import SENSED
from train.score.timeline import PAGE
from train.search.find import Moment
from train.search.store import MomentStore
from train.template import render

LEAD_S = 2.0  # a moment is understood from what went before
TEMPLATE = Path(__file__).with_name('results.html.j2')


def replay_command(moment: Moment) -> str:
    """Opens the moment on the dashboard, with all sensors around it."""
    return f'lb-ros dashboard {shlex.quote(f"{moment.bag}@{moment.time_s:.1f}s")}'


def play_command(moment: Moment) -> str:
    """Publishes the bag from shortly before the moment, where ROS 2's tools are installed."""
    offset_s = max(0.0, moment.time_s - LEAD_S)
    return f'ros2 bag play {shlex.quote(moment.bag)} --start-offset {offset_s:.1f}'


def write_thumbnails(
    store: MomentStore, moments: Sequence[Moment], folder: Path
) -> list[dict[str, str]]:
    """The pictures of every answer as JPEG files: modality to file name, one mapping each."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for rank, moment in enumerate(moments, start=1):
        files = {}
        for modality in SENSED:
            jpeg = store.thumbnail(moment.bag, modality, moment.stamp_ns)
            if jpeg is not None:
                path = folder / f'{rank:03d}-{modality}.jpg'
                path.write_bytes(jpeg)
                files[modality] = str(path)
        found.append(files)
    return found


def write_results_page(
    title: str, moments: Sequence[Moment], thumbnails: Sequence[dict[str, str]], path: Path
) -> None:
    """One HTML file beside the pictures it shows."""
    pictures = [{m: Path(file).name for m, file in files.items()} for files in thumbnails]
    path.write_text(results_page(title, moments, pictures, command=replay_command))


def results_page(
    title: str,
    moments: Sequence[Moment] | None,
    pictures: Sequence[Mapping[str, str]] = (),
    *,
    sentence: str | None = None,
    error: str = '',
    command: Callable[[Moment], str] = lambda moment: '',
    href: Callable[[Moment], str] = lambda moment: '',
) -> str:
    """The page of the answers: those that speak for the question, and apart those that do not.

    Args:
        title: Heading.
        moments: Best first; None where nothing was asked yet.
        pictures: Modality to address of a picture, one mapping for each moment.
        sentence: What was asked, in a form that asks again; None for a page without a form.
        error: Why there are no answers.
        command: What to type to see a moment.
        href: Where a click on a moment leads.
    """
    answers: list[dict[str, Any]] = [
        {
            'rank': rank,
            'moment': moment,
            'name': Path(moment.bag).name,
            'pictures': {m: shown.get(m, '') for m in SENSED},
            'command': command(moment),
            'href': href(moment),
        }
        for rank, (moment, shown) in enumerate(zip(moments or (), pictures, strict=True), start=1)
    ]
    return render(
        TEMPLATE,
        css=(PAGE / 'timeline.css').read_text(),
        title=title,
        sentence=sentence,
        form=sentence is not None,
        error=error,
        searched=moments is not None,
        about_sentence=any(m.probability is not None for m in moments or ()),
        columns=[m for m in SENSED if any(m in shown for shown in pictures)],
        found=[answer for answer in answers if answer['moment'].supported],
        weak=[answer for answer in answers if not answer['moment'].supported],
    )
