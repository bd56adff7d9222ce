"""A window of a series as a small image: one plot for each quantity, newest on the right."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders.decode.series import Floats, Series
from train.score.channels import Group, drawn_groups

WIDTH, HEIGHT = 240, 180
# Colours of Okabe and Ito on a dark ground, BGR. The ends of up to three lines are labelled.
COLOURS = ((0, 159, 230), (233, 180, 86), (167, 121, 204))
MANY = (170, 170, 170)
GROUND, GRID, WINDOW = (27, 24, 22), (75, 72, 70), (48, 44, 41)
INK, FAINT = (225, 225, 225), (165, 165, 165)
LABELLED = 3
FONT, SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42
LEFT, RIGHT, TITLE, LETTER = 4, 16, 17, 10
MARGIN = 0.08  # of the range, above and below
SHIFT = 4  # bits of a fraction of a pixel


def draw_series(series: Series, *, window_s: float = 0.0) -> NDArray[np.uint8]:
    """Draw a series, uint8 BGR `[180, 240, 3]`; values that were not measured are gaps.

    Args:
        series: The samples.
        window_s: The last seconds, which are marked; 0 for no mark.
    """
    picture = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
    order = np.argsort(series.stamps_s, kind='stable')
    times, values = series.stamps_s[order], series.values[order]
    if window_s > 0 and len(times):
        span_s = max(float(times[-1] - times[0]), 1e-6)
        first = LEFT + max(0.0, 1 - window_s / span_s) * (WIDTH - LEFT - RIGHT)
        picture[:, round(first) : WIDTH - RIGHT + 1] = WINDOW
    groups = drawn_groups(series.channels)
    height = HEIGHT // len(groups)
    for index, group in enumerate(groups):
        part = picture[index * height : (index + 1) * height]
        _draw_group(part, group, times, values[:, list(group.columns)])
    return picture


def _draw_group(picture: NDArray[np.uint8], group: Group, times: Floats, values: Floats) -> None:
    """Draw the lines of a group `[T, n]` with its title and the limits of its axis."""
    bottom = picture.shape[0] - 3
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    pad = max((high - low) * MARGIN, 1e-6, 1e-3 * max(abs(low), abs(high)))
    span_s = max(float(times[-1] - times[0]), 1e-6)
    x = LEFT + (times - times[0]) / span_s * (WIDTH - LEFT - RIGHT)
    y = bottom - (values - low + pad) / (high - low + 2 * pad) * (bottom - TITLE)
    cv2.line(picture, (LEFT, bottom), (WIDTH - RIGHT, bottom), GRID, 1)
    many = len(group.labels) > LABELLED
    ends: list[tuple[float, str, tuple[int, int, int]]] = []
    for column, label in enumerate(group.labels):
        colour = MANY if many and column < len(group.labels) - 1 else COLOURS[column % LABELLED]
        _draw_line(picture, x, y[:, column], colour)
        last = y[np.isfinite(y[:, column]), column][-1:]
        ends += [(float(end), label[:1], colour) for end in last if not many]
    at = 0.0
    for end, label, colour in sorted(ends):  # apart, where lines end together
        at = max(end + LETTER / 2, at + LETTER)
        _write(picture, label, (WIDTH - RIGHT + 3, round(at)), colour)
    _write(picture, group.title.replace('²', '2'), (LEFT, 12), INK)  # the font has ASCII only
    limits = [(high, TITLE + LETTER), (low, bottom - 3)] if len(finite) else []
    for limit, row in limits:
        _write(picture, f'{limit:.2g}', (LEFT, row), FAINT)


def _write(
    picture: NDArray[np.uint8], text: str, place: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    for ink, thickness in ((GROUND, 3), (colour, 1)):  # an outline, where lines pass below
        cv2.putText(picture, text, place, FONT, SIZE, ink, thickness, cv2.LINE_AA)


def _draw_line(
    picture: NDArray[np.uint8], x: Floats, y: Floats, colour: tuple[int, int, int]
) -> None:
    """Draw the stretches of a line between values that are not finite."""
    known = np.isfinite(y)
    points = np.stack([x, np.where(known, y, 0)], axis=1) * (1 << SHIFT)
    for part in np.split(np.arange(len(y)), np.flatnonzero(np.diff(known)) + 1):
        if len(part) and known[part[0]]:
            line = np.round(points[part]).astype(np.int32)
            cv2.polylines(picture, [line], False, colour, 1, cv2.LINE_AA, SHIFT)
