"""The timeline of a scored bag as an image."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np

matplotlib.use('Agg')

from matplotlib.figure import Figure

from encoders.regions import is_region, modality_of
from train.score.channel_lines import ChannelLines
from train.score.table import FUSED
from train.score.timeline import Line, Timeline, value_at

# Colours of Okabe and Ito; lines also differ in their dashes.
STYLES: dict[str, dict[str, Any]] = {
    'image': {'color': '#e69f00', 'linestyle': (0, (5, 2)), 'linewidth': 0.8},
    'depth': {'color': '#009e73', 'linestyle': (0, (2, 1)), 'linewidth': 0.8},
    'infrared': {'color': '#d55e00', 'linestyle': (0, (6, 2, 1, 2)), 'linewidth': 0.8},
    'audio': {'color': '#cc79a7', 'linestyle': ':', 'linewidth': 1.0},
    'touch': {'color': '#56b4e9', 'linestyle': (0, (4, 1, 1, 1, 1, 1)), 'linewidth': 0.8},
    'wrench': {'color': '#7b6fd0', 'linestyle': (0, (3, 1)), 'linewidth': 0.8},
    'joints': {'color': '#999933', 'linestyle': (0, (8, 2)), 'linewidth': 0.8},
    'imu': {'color': '#0072b2', 'linestyle': (0, (1, 1)), 'linewidth': 0.8},
    'signals': {'color': '#a6761d', 'linestyle': (0, (4, 2, 1, 2)), 'linewidth': 0.8},
    'fused': {'color': '#1b1b1b', 'linestyle': '-', 'linewidth': 1.4},
}
# Drawn over the style of its modality for a part of its view.
PART: dict[str, Any] = {'linestyle': (0, (1, 1)), 'linewidth': 1.2}
# Drawn over the style of a series that has a caveat.
NO_VOTE: dict[str, Any] = {'linestyle': (0, (1, 4)), 'linewidth': 0.8, 'alpha': 0.7}
NOT_CALIBRATED: dict[str, Any] = {
    'color': '#767676', 'linestyle': (0, (6, 4)), 'linewidth': 1.2,
}  # fmt: skip
BAND: dict[str, dict[str, Any]] = {
    'TRUE': {'facecolor': '#0072b2'},
    'FALSE': {'facecolor': '#e8eef3'},
    'UNKNOWN': {'facecolor': '#ffffff', 'hatch': '/////', 'edgecolor': '#9a9a9a'},
}
OUTLINED: dict[str, Any] = {'facecolor': '#ffffff', 'linestyle': '--', 'linewidth': 0.8}
# The same states without calibration: outlined instead of filled.
DOUBTED: dict[str, dict[str, Any]] = {
    'TRUE': OUTLINED | {'edgecolor': '#0072b2'},
    'FALSE': OUTLINED | {'edgecolor': '#b5bec6'},
    'UNKNOWN': BAND['UNKNOWN'],
}
TRUTH: dict[bool, dict[str, Any]] = {
    True: {'facecolor': '#1b1b1b'},
    False: {'facecolor': '#e4e4e4'},
}
CHANNELS: tuple[dict[str, Any], ...] = (
    {'color': '#e69f00', 'linestyle': '-'},
    {'color': '#3d9bd3', 'linestyle': (0, (5, 2))},
    {'color': '#cc79a7', 'linestyle': (0, (2, 2))},
)
MANY: dict[str, Any] = {'color': '#9a9a9a', 'linestyle': '-'}
PICTURES = 10  # per row
ROW_INCHES, CHANNEL_INCHES = 0.85, 0.65
LABEL_CHARACTERS = 30  # per line of a label


def write_picture(timeline: Timeline, path: Path) -> None:
    """Write the probabilities, states, truth and images of a bag as PNG."""
    modalities = [m for m in STYLES if any(m == shown for _, shown, _ in timeline.thumbnails)]
    count = max(1, len(timeline.lines))
    heights = [0.9] * len(modalities)
    heights += [CHANNEL_INCHES] * len(timeline.channels) + [ROW_INCHES] * count
    figure = Figure(figsize=(12, sum(heights) + 1.1), dpi=110)
    axes = figure.subplots(
        len(heights), 1, gridspec_kw={'height_ratios': heights, 'hspace': 0.25}, squeeze=False
    )[:, 0]
    for axis, modality in zip(axes, modalities, strict=False):
        _draw_pictures(axis, timeline, modality)
    rest = axes[len(modalities) :]
    for axis, lines in zip(rest, timeline.channels, strict=False):
        _draw_channels(axis, lines, timeline.duration_s)
    for axis, line in zip(rest[len(timeline.channels) :], timeline.lines, strict=False):
        _draw_line(axis, line, timeline.duration_s)
    axes[-1].set_xlabel('seconds')
    axes[-1].tick_params(labelbottom=True)
    figure.suptitle(timeline.title, fontsize=11, y=1 - 0.15 / figure.get_figheight())
    _legend(figure, timeline)
    figure.subplots_adjust(
        left=0.2, right=0.91 if timeline.channels else 0.99, top=1 - 0.75 / figure.get_figheight(),
        bottom=0.5 / figure.get_figheight(),
    )  # fmt: skip
    coded = BytesIO()
    figure.savefig(coded, format='png')
    path.write_bytes(coded.getvalue())


def _draw_pictures(axis: Any, timeline: Timeline, modality: str) -> None:
    mine = [(t, jpeg) for t, m, jpeg in timeline.thumbnails if m == modality]
    step_s = timeline.duration_s / PICTURES or 1.0
    for index in range(PICTURES):
        middle_s = (index + 0.5) * step_s
        time_s, jpeg = min(mine, key=lambda entry: abs(entry[0] - middle_s))
        if abs(time_s - middle_s) > step_s:
            continue
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        extent = (index * step_s, (index + 0.96) * step_s, 0, 1)
        axis.imshow(picture, extent=extent, aspect='auto')
    axis.set_xlim(0, max(timeline.duration_s, 1e-3))
    axis.set_ylim(0, 1)
    axis.set_axis_off()
    axis.text(-0.01, 0.5, modality, transform=axis.transAxes, ha='right', va='center', fontsize=8)


def _styles(heard: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Styles of the series that there are; a part of a view has the colour of its modality."""
    found = {name: style for name, style in STYLES.items() if name in heard}
    parts = [name for name in heard if is_region(name)]
    return found | {name: STYLES[modality_of(name)] | PART for name in sorted(parts)}


def _draw_channels(axis: Any, lines: ChannelLines, duration_s: float) -> None:
    """Draw the channels of a quantity; of many, only the last, the gripper, stands out."""
    many = len(lines.labels) > len(CHANNELS)
    for index, (label, values) in enumerate(zip(lines.labels, lines.v, strict=True)):
        style = MANY if many and index < len(lines.labels) - 1 else CHANNELS[index % 3]
        shown = None if style is MANY else textwrap.fill(label.replace('_', ' '), 12)
        axis.plot(lines.t, np.array(values, float), linewidth=0.7, label=shown, **style)
    axis.legend(loc='center left', bbox_to_anchor=(1, 0.5), fontsize=6, frameon=False)
    axis.set_xlim(0, max(duration_s, 1e-3))
    axis.tick_params(labelsize=7, labelbottom=False)
    axis.grid(axis='y', linewidth=0.4, color='#d5d5d5')
    axis.set_ylabel(
        f'{lines.modality}\n{lines.title}', rotation=0, ha='right', va='center', fontsize=7
    )


def _draw_line(axis: Any, line: Line, duration_s: float) -> None:
    for modality, style in _styles(line.series).items():
        series = line.series[modality]
        if series:
            values = np.array(series['p'], float)
            doubted = np.array([line.doubted(modality, t) for t in series['t']])
            caveat = NOT_CALIBRATED if modality == FUSED else NO_VOTE
            axis.plot(series['t'], np.where(doubted, np.nan, values), **style)
            axis.plot(series['t'], np.where(doubted, values, np.nan), **style | caveat)
    states = []
    for time_s in sorted({change[0] for change in (*line.states, *line.caveats)}):
        styles = DOUBTED if line.doubted(FUSED, time_s) else BAND
        states.append((time_s, styles[value_at(line.states, time_s) or 'UNKNOWN']))
    _draw_band(axis, states, duration_s, bottom=-0.24)
    _draw_band(axis, [(t, TRUTH[value]) for t, value in line.truth], duration_s, bottom=-0.42)
    axis.set_ylim(-0.45, 1.05)
    axis.set_xlim(0, max(duration_s, 1e-3))
    axis.set_yticks([0, 0.5, 1])
    axis.tick_params(labelsize=7, labelbottom=False)
    axis.grid(axis='y', linewidth=0.4, color='#d5d5d5')
    label = textwrap.fill(line.name, LABEL_CHARACTERS)
    if any(FUSED in found for _, found in line.caveats):
        label += '\n(not calibrated)'
    axis.set_ylabel(label, rotation=0, ha='right', va='center', fontsize=8)


def _draw_band(
    axis: Any, changes: list[tuple[float, Any]], duration_s: float, *, bottom: float
) -> None:
    ends = [*(time_s for time_s, _ in changes), duration_s][1:]
    for (begin_s, style), end_s in zip(changes, ends, strict=True):
        spans = [(begin_s, max(0.0, end_s - begin_s))]
        axis.broken_barh(spans, (bottom, 0.15), **{'linewidth': 0} | style)


def _legend(figure: Any, timeline: Timeline) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    heard = {m for line in timeline.lines for m in line.series}
    handles: list[Any] = [Line2D([], [], label=m, **style) for m, style in _styles(heard).items()]
    words = {'TRUE': 'held true', 'FALSE': 'held false', 'UNKNOWN': 'unknown'}
    handles += [Patch(label=words[state], **style) for state, style in BAND.items()]
    doubted = {key for line in timeline.lines for _, found in line.caveats for key in found}
    if doubted - {FUSED}:
        handles.append(Line2D([], [], label='sensor without a vote', color='#1b1b1b', **NO_VOTE))
    if FUSED in doubted:
        handles.append(Line2D([], [], label='fused, not calibrated', **NOT_CALIBRATED))
        handles.append(Patch(label='held true, not calibrated', **DOUBTED['TRUE']))
    if any(line.truth for line in timeline.lines):
        handles.append(Patch(label='truth (lower band)', **TRUTH[True]))
    top = 1 - 0.3 / figure.get_figheight()
    figure.legend(
        handles=handles, loc='upper center', ncol=(len(handles) + 1) // 2, fontsize=7,
        frameon=False, bbox_to_anchor=(0.55, top),
    )  # fmt: skip
