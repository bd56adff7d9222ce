"""Tables for narrow terminals: if the columns do not fit, each row becomes a block of lines."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

GAP = '  '
UNBOUNDED = 10_000


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table to standard output or to a console.

    In a file or a pipe it is as wide as its content, unless `COLUMNS` is set; a terminal gets the
    `fitted` form.
    """
    console = console or Console()
    if not console.is_terminal and not os.environ.get('COLUMNS'):
        console = Console(width=max(console.width, natural_width(table)), file=console.file)
    console.print(fitted(table, console.width))


def fitted(table: Table, width: int) -> RenderableType:
    """The table if all cells fit without wrapping, otherwise a block of lines per row."""
    return table if natural_width(table) <= width else Group(*_blocks(table, width))


def natural_width(table: Table) -> int:
    """Terminal columns that the table needs without wrapping."""
    console = Console(width=UNBOUNDED)
    return Measurement.get(console, console.options, table).maximum


def _blocks(table: Table, width: int) -> Iterator[Text]:
    if table.title:
        yield _text(table.title).copy()
    headings = [_text(column.header).plain for column in table.columns]
    cells = [[_text(cell) for cell in column.cells] for column in table.columns]
    for row in zip(*cells, strict=True):
        yield Text(row[0].plain, 'bold')
        yield from _lines(list(zip(headings[1:], row[1:], strict=True)), width)
    if table.caption:
        yield _text(table.caption).copy()


def _lines(pairs: list[tuple[str, Text]], width: int) -> Iterator[Text]:
    """Lines of heading-value pairs, as many pairs as fit; a pair is broken only if too wide."""
    line = Text(GAP)
    for heading, value in pairs:
        if not value.plain:
            continue
        pair = Text.assemble((heading, 'dim'), ' ', value)
        if line.plain.strip() and cell_len(line.plain) + len(GAP) + cell_len(pair.plain) > width:
            yield line
            line = Text(GAP)
        line = Text.assemble(line, GAP if line.plain.strip() else '', pair)
    if line.plain.strip():
        yield line


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))
