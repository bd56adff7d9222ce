"""A progress bar over items of which some may be skipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar('Item')


def counted(
    items: Iterable[Item], description: str, *, total: int, console: Console | None = None
) -> Iterator[Item]:
    """Yield the items and show a progress bar on standard error, which is full at the end.

    Args:
        items: At most `total` items.
        description: Text in front of the bar.
        total: Number of items before any are skipped.
        console: Where to show the bar; None for standard error.
    """
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        for item in items:
            yield item
            bar.advance(task)
        bar.update(task, completed=total)
