"""The picture shows a moment at which states are known, and fits its table."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from encoders import State
from lb_ros.demo.picture import ROWS, Picture
from lb_ros.demo.recording import Answer, Recording
from lb_ros.demo.table import live_table


def recording(*, state: State, is_open: bool) -> Recording:
    found = Recording()
    for index in range(2 * ROWS):
        found.truths[f'hidden({index})'].append((1.0, False))
    found.truths['open(top drawer)'].append((1.0, is_open))
    found.answers['open(top drawer)'].append(Answer(1.0, {'depth': 0.91, 'fused': 0.93}))
    found.states['open(top drawer)'].append((1.0, state))
    return found


def words(svg: str) -> str:
    return svg.replace('&#160;', ' ')


def test_the_picture_shows_the_time_at_which_most_predicates_hold(tmp_path: Path) -> None:
    picture, path = Picture(['depth']), tmp_path / 'table.svg'
    picture.look(recording(state=State.FALSE, is_open=False))
    picture.look(recording(state=State.TRUE, is_open=True))
    picture.look(recording(state=State.FALSE, is_open=False))
    picture.look(recording(state=State.UNKNOWN, is_open=True))  # the sensors fell silent
    assert picture.save(path)
    svg = words(path.read_text())
    assert 'open(top drawer)' in svg
    assert 'TRUE' in svg
    assert '0.93' in svg
    assert f'and {2 * ROWS + 1 - ROWS} more' in svg
    assert '│' not in svg


def test_without_a_known_state_there_is_no_picture(tmp_path: Path) -> None:
    picture, path = Picture(['depth']), tmp_path / 'table.svg'
    picture.look(recording(state=State.UNKNOWN, is_open=True))
    assert not picture.save(path)
    assert not path.exists()


@pytest.mark.parametrize(('width', 'all_fit'), [(80, True), (60, False)])
def test_the_live_table_fits_into_a_terminal(width: int, all_fit: bool) -> None:
    modalities = ('image', 'depth', 'infrared', 'audio')
    console = Console(file=io.StringIO(), width=width)
    found = recording(state=State.TRUE, is_open=True)
    console.print(live_table(found, modalities, limit=5, width=width))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert '…' not in text and 'TRUE' in text
    assert ('not shown in 60 columns: image, depth' in text) is not all_fit
