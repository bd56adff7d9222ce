"""Answers as a page with pictures, and how to play each of them again."""

from __future__ import annotations

import html
import shlex
from collections.abc import Sequence
from pathlib import Path

from train.score.timeline import PAGE
from train.search.find import Moment
from train.search.store import MomentStore

LEAD_S = 2.0  # a moment is understood from what went before


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
        for modality in dict.fromkeys((moment.modality, 'image', 'depth', 'infrared', 'audio')):
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
    cards = [
        _card(rank, moment, files)
        for rank, (moment, files) in enumerate(zip(moments, thumbnails, strict=True), start=1)
    ]
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title><style>{(PAGE / "timeline.css").read_text()}</style>'
        f'</head><body><main class="lb-page"><h1>{html.escape(title)}</h1>'
        f'{"".join(cards) or "<p>nothing found</p>"}</main></body></html>\n'
    )


def _card(rank: int, moment: Moment, files: dict[str, str]) -> str:
    figures = ''.join(
        f'<figure><img src="{html.escape(Path(file).name)}" alt="{modality}">'
        f'<figcaption>{modality} {_cosine(moment, modality)}</figcaption></figure>'
        for modality, file in files.items()
    )
    name = html.escape(Path(moment.bag).name)
    return (
        f'<section class="lb-row"><header><span>{rank}. {name} at {moment.time_s:.1f} s</span>'
        f'<span>{moment.modality} · {moment.score:.2f}</span></header>'
        f'<div class="lb-sensors">{figures}</div>'
        f'<p class="lb-time"><code>{html.escape(replay_command(moment))}</code></p></section>'
    )


def _cosine(moment: Moment, modality: str) -> str:
    value = moment.cosines.get(modality)
    return '' if value is None else f'{value:.2f}'
