"""Answers as a page with images, and commands to replay each of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from encoders import SENSED
from train.score.timeline import PAGE
from train.search.moment import Moment
from train.search.store import MomentStore
from train.template import render

LEAD_S = 2.0  # shows what led to the moment
TEMPLATE = Path(__file__).with_name('results.html.j2')


def replay_command(moment: Moment) -> str:
    """The command that opens a moment on the dashboard, with all sensors around it."""
    return f'lb-ros dashboard {shlex.quote(f"{moment.bag}@{moment.time_s:.1f}s")}'


def play_command(moment: Moment) -> str:
    """The command that publishes a bag from shortly before a moment; needs the tools of ROS 2."""
    offset_s = max(0.0, moment.time_s - LEAD_S)
    return f'ros2 bag play {shlex.quote(moment.bag)} --start-offset {offset_s:.1f}'


def write_thumbnails(
    store: MomentStore, moments: Sequence[Moment], folder: Path
) -> list[dict[str, str]]:
    """Write the images of every answer as JPEG files; return modality to file name for each."""
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
    """Write one HTML file in the folder of its images."""
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
    """Render the answers in two groups: those supported by the sensors, and the others.

    Args:
        title: Heading.
        moments: Best first; None if there was no query yet.
        pictures: Modality to address of an image, one mapping for each moment.
        sentence: Query, shown in a form for the next one; None for a page without a form.
        error: Why there are no answers.
        command: Returns the command that shows a moment.
        href: Returns the link of a moment.
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
        by_tokens=any(m.read_from == 'tokens' for m in moments or ()),
        about_sentence=any(m.probability is not None for m in moments or ()),
        columns=[m for m in SENSED if any(m in shown for shown in pictures)],
        found=[answer for answer in answers if answer['moment'].supported],
        weak=[answer for answer in answers if not answer['moment'].supported],
    )
