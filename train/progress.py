"""A progress bar over items of which some may be left out."""

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
    """The items, with a bar on the error stream that is whole at their end.

    Args:
        items: At most `total` items.
        description: Text in front of the bar.
        total: Number of items that are looked at.
        console: Where the bar is shown; None for the error stream.
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
