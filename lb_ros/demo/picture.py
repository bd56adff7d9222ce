"""The image of the demonstration: its table at the time when most predicates hold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement

from encoders import State
from lb_ros.demo.recording import Recording
from lb_ros.demo.table import live_table

ROWS = 16


class Picture:
    """Keeps the table of one time of a run.

    The time is selected by ground truth, never by accuracy: the last one at which most predicates
    held while any state was known. At the end of a bag the sensors are silent, and all states are
    unknown.
    """

    def __init__(self, modalities: Sequence[str]) -> None:
        self._modalities = modalities
        self._holding = -1
        self._svg = ''

    def look(self, recording: Recording) -> None:
        """Keep the current table if at least as many predicates hold as in the kept one."""
        holding = sum(truths[-1][1] for truths in recording.truths.values() if truths)
        states = [states[-1][1] for states in recording.states.values() if states]
        if holding < self._holding or all(state is State.UNKNOWN for state in states):
            return
        self._holding = holding
        self._svg = _draw(recording, self._modalities)

    def save(self, path: Path) -> bool:
        """Write the image as SVG; return False if no table was kept."""
        if self._svg:
            path.write_text(self._svg)
        return bool(self._svg)


def _draw(recording: Recording, modalities: Sequence[str]) -> str:
    table = live_table(recording, modalities, limit=ROWS, holding_first=True)
    with open(os.devnull, 'w') as nowhere:
        console = Console(record=True, file=nowhere)
        width = Measurement.get(console, console.options.update_width(200), table).maximum
        console = Console(record=True, width=width, file=nowhere)
        console.print(table)
        return console.export_svg(title='lb-ros demo')
