"""Tables are readable in terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from train.fitted_table import fitted, print_table

HEADINGS = ('predicate', 'by', 'method', 'on', 'false +', 'AUROC', 'probe')
ROW = ('drawer_open', 'depth, infrared', 'logistic', '0.61', '3', '0.981', '')


def decisions() -> Table:
    table = Table(title='held-out decisions')
    for heading in HEADINGS:
        table.add_column(heading)
    table.add_row(Text(ROW[0], 'bold'), *ROW[1:])
    return table


def drawn(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(fitted(decisions(), width))
    return console.file.getvalue()


def test_a_table_that_fits_is_a_table() -> None:
    assert '┃ predicate   ┃ by ' in drawn(100)


def test_a_table_that_does_not_fit_is_a_block_per_row() -> None:
    assert drawn(60).splitlines() == [
        'held-out decisions',
        'drawer_open',
        '  by depth, infrared  method logistic  on 0.61  false + 3',
        '  AUROC 0.981',
    ]


@pytest.mark.parametrize('width', [30, 60, 80])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(width: int) -> None:
    text = drawn(width)
    assert max(map(len, text.splitlines())) <= width
    assert all(value in text for value in ROW)


def test_a_file_gets_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('COLUMNS', raising=False)
    console = Console(file=io.StringIO(), width=40)
    print_table(decisions(), console)
    assert '┃ probe ┃' in console.file.getvalue()
    monkeypatch.setenv('COLUMNS', '40')
    console = Console(file=io.StringIO(), width=40)
    print_table(decisions(), console)
    assert '┃' not in console.file.getvalue()
