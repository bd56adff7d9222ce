"""Drawing of a sensor's image with the predicates next to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders import State

MIN_HEIGHT, MAX_HEIGHT, MAX_WIDTH = 360, 720, 1280  # pixels
PANEL_WIDTH, ROW_HEIGHT, BAR_WIDTH, EDGE = 340, 22, 70, 8
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45
MAX_NAME = 26  # letters that fit next to bar and number
MAX_CAPTION = 42  # letters that fit into a line
# BGR, on black; Okabe and Ito's blue. Colour is never the only cue: the box shows the state too.
INK, FAINT = (235, 235, 235), (120, 120, 120)
COLOURS = {State.TRUE: (233, 180, 86), State.FALSE: (170, 170, 170), State.UNKNOWN: FAINT}


@dataclass(frozen=True, slots=True)
class Row:
    """One predicate in the panel; `probability` is NaN if no sensor is informative for it."""

    name: str
    probability: float
    state: State


def draw_overlay(
    picture: NDArray[np.uint8], rows: Sequence[Row], *, caption: str = ''
) -> NDArray[np.uint8]:
    """Draw an image with one line per predicate on its right, uint8 BGR `[H, W + 340, 3]`.

    The image, BGR `[h, w, 3]`, is scaled to a height of 360 to 720 pixels; a very wide one is
    limited to a width of 1280. If there are more predicates than lines, those that are TRUE come
    first, and the last line gives the number of the others. A caption stands below them.
    """
    height = min(max(picture.shape[0], MIN_HEIGHT), MAX_HEIGHT)
    scale = min(height / picture.shape[0], MAX_WIDTH / picture.shape[1])
    width, drawn = (max(1, round(side * scale)) for side in picture.shape[1::-1])
    canvas = np.zeros((height, width + PANEL_WIDTH, 3), np.uint8)
    canvas[:drawn, :width] = cv2.resize(picture, (width, drawn), interpolation=cv2.INTER_AREA)
    room = (height - 2 * EDGE) // ROW_HEIGHT - bool(caption)
    if caption:
        _write(canvas, _shortened(caption, MAX_CAPTION), (width + EDGE, height - 30), INK)
    if len(rows) > room:
        ordered = sorted(rows, key=lambda row: row.state is not State.TRUE)
        shown, rest = ordered[: room - 1], len(rows) - room + 1
    else:
        shown, rest = list(rows), 0
    for index, row in enumerate(shown):
        _draw_row(canvas, row, left=width + EDGE, top=EDGE + index * ROW_HEIGHT)
    if rest:
        top = EDGE + len(shown) * ROW_HEIGHT
        _write(canvas, f'and {rest} more', (width + EDGE, top), FAINT)
    elif not rows:
        _write(canvas, 'no scores yet', (width + EDGE, EDGE), FAINT)
    return canvas


def _draw_row(canvas: NDArray[np.uint8], row: Row, *, left: int, top: int) -> None:
    colour = COLOURS[row.state]
    box = (left, top + 5), (left + 11, top + 16)
    if row.state is State.UNKNOWN:
        cv2.line(canvas, *box, colour, 1, cv2.LINE_AA)
    cv2.rectangle(canvas, *box, colour, cv2.FILLED if row.state is State.TRUE else 1)
    name = _shortened(row.name, MAX_NAME)
    _write(canvas, name, (left + 20, top), INK if row.state is State.TRUE else colour)
    right = canvas.shape[1] - EDGE
    begin = right - BAR_WIDTH
    cv2.rectangle(canvas, (begin, top + 5), (right, top + 16), FAINT, 1)
    if math.isfinite(row.probability):
        end = begin + round(BAR_WIDTH * min(max(row.probability, 0.0), 1.0))
        cv2.rectangle(canvas, (begin, top + 5), (end, top + 16), colour, cv2.FILLED)
        _write(canvas, f'{row.probability:.2f}', (begin - 36, top), INK)


def _write(
    canvas: NDArray[np.uint8], text: str, place: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    cv2.putText(canvas, text, (place[0], place[1] + 15), FONT, FONT_SCALE, colour, 1, cv2.LINE_AA)


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + '~'


def jpeg_of(canvas: NDArray[np.uint8], quality: int = 80) -> bytes:
    """Return the image as JPEG bytes."""
    coded: Any = cv2.imencode('.jpg', canvas, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return bytes(coded.tobytes())
