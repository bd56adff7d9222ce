"""A scored bag as a Rerun recording: sensors, probabilities, states and truth on one timeline."""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders import MODALITIES, State
from encoders.decode import DecodeError
from encoders.decode.series import Floats
from encoders.preprocess import is_series
from train.bags.reader import BagReport
from train.score.channels import NewSamples, drawn_groups, groups_of
from train.score.embed import BagSource
from train.score.picture import STYLES
from train.score.sound import Loudness
from train.score.table import FUSED, Truth
from train.score.thumbnail import thumbnail
from train.score.track import Scored
from train.score.windows import Window

TIMELINE = 'time'
SIDE = 640  # largest side of an image, pixels
BLOCK = 5000  # samples of a series that are written together
# Colours of Okabe and Ito, as in the other timelines.
STATE_COLOURS = {'TRUE': 0x0072B2FF, 'FALSE': 0xBFC9D1FF, 'UNKNOWN': 0x6E6E6EFF}
TRUTH_COLOURS = {'true': 0xE69F00FF, 'false': 0x8A7A5CFF}


def rerun_module() -> Any:
    """Import the package `rerun`.

    Raises:
        ModuleNotFoundError: It is not installed; the message explains how to install it.
    """
    try:
        import rerun
        import rerun.blueprint
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            '--rerun needs the Rerun SDK: pip install "lb_ros[rerun]" (Python 3.11 or newer)'
        ) from error
    return rerun


def write_rerun(
    source: BagSource,
    moments: Sequence[Scored],
    *,
    truth: Truth,
    about: Mapping[str, object],
    to: Path,
) -> None:
    """Write an `.rrd` file for `rerun FILE`, atomically.

    `sensors` contains images (depth in millimetres, infrared coloured, at most 640 pixels), the
    audio level in dBFS, and all samples of series, an entity for each quantity. `predicates/NAME`
    contains the probability of every modality and of all of them, the state where it changes, and
    the truth if the bag has it.

    Args:
        source: The bag; its sensors are read again.
        moments: Scored moments, in order.
        truth: (stamp, value) in order, by predicate.
        about: Stored as properties of the recording.
        to: File to write.

    Raises:
        ModuleNotFoundError: Rerun is not installed.
    """
    rr = rerun_module()
    temporary = to.with_name(f'.{to.name}.{os.getpid()}.tmp')
    names = [score.name for score in moments[0].evaluation.scores] if moments else []
    stream = rr.RecordingStream('lb_ros', recording_id=uuid.uuid4())
    try:
        stream.save(temporary, default_blueprint=_blueprint(rr, source, names))
        # The only timeline is the time of sensing; the time of writing is irrelevant.
        stream.set_log_time_enabled(False)
        stream.set_log_tick_enabled(False)
        stream.send_recording_name(source.path.name)
        stream.send_property('lb_ros', rr.AnyValues(**{k: str(v) for k, v in about.items()}))
        _log_sensors(rr, stream, source)
        _log_scores(rr, stream, moments)
        _log_states(rr, stream, moments)
        _log_truth(rr, stream, truth)
        stream.flush()
        stream.disconnect()
        temporary.replace(to)
    finally:
        temporary.unlink(missing_ok=True)


def _log_sensors(rr: Any, stream: Any, source: BagSource) -> None:
    loudness: dict[str, Loudness] = defaultdict(Loudness)
    levels: dict[str, list[tuple[int, float]]] = defaultdict(list)
    channels: dict[str, _Channels] = {}
    for window in source.windows(BagReport(source.path)):
        entity = f'sensors/{window.modality}'
        if MODALITIES[window.modality].kind == 'sound':
            level_db = loudness[entity].of(window)
            levels[f'{entity}/level_dbfs'].append((window.stamp_ns, level_db))
            continue
        if MODALITIES[window.modality].kind == 'series':
            if entity not in channels:
                channels[entity] = _Channels(rr, stream, entity, window.source.channels)
            channels[entity].add(window)
            continue
        try:
            picture = _picture(rr, window.modality, window.raw())
        except DecodeError:  # reported when it was embedded
            continue
        stream.set_time(TIMELINE, timestamp=np.datetime64(window.stamp_ns, 'ns'))
        stream.log(entity, picture)
    for entity, values in levels.items():
        _send(rr, stream, entity, *zip(*values, strict=True))
    for series in channels.values():
        series.flush()


class _Channels:
    """Writes the samples of a series in blocks, an entity for each quantity."""

    def __init__(self, rr: Any, stream: Any, entity: str, channels: Sequence[str]) -> None:
        self._rr, self._stream, self._entity = rr, stream, entity
        self._groups = groups_of(channels)
        self._new = NewSamples()
        self._waiting: list[tuple[NDArray[np.int64], Floats]] = []
        for group in self._groups:
            names = [f'{label} ({group.unit})' if group.unit else label for label in group.labels]
            style = rr.SeriesLines(names=names)
            stream.log(f'{entity}/{group.name}', style, static=True)

    def add(self, window: Window) -> None:
        self._waiting.append(self._new.of(window))
        if sum(len(stamps) for stamps, _ in self._waiting) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        stamps, values = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting = []
        for group in self._groups:
            mine = values[:, list(group.columns)]
            _send(self._rr, self._stream, f'{self._entity}/{group.name}', stamps, mine)


def _picture(rr: Any, modality: str, raw: Any) -> Any:
    if modality != 'depth':
        jpeg = thumbnail(modality, raw, side=SIDE)
        return rr.EncodedImage(contents=jpeg, media_type='image/jpeg')
    depth = np.asarray(raw)
    if depth.dtype != np.uint16:
        depth = np.nan_to_num(depth * 1000, nan=0, posinf=0, neginf=0)
        depth = np.clip(depth, 0, np.iinfo(np.uint16).max).astype(np.uint16)
    step = -(-max(depth.shape) // SIDE)  # subsampled, because means would not be measured values
    png = cv2.imencode('.png', depth[::step, ::step])[1].tobytes()
    return rr.EncodedDepthImage(blob=png, media_type='image/png')  # integers are in millimetres


def _log_scores(rr: Any, stream: Any, moments: Sequence[Scored]) -> None:
    series: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for moment in moments:
        for score in moment.evaluation.scores:
            if score.can_tell:
                series[score.name, FUSED].append((moment.time_ns, score.fused))
            for modality in moment.fresh:
                if modality in score.probability:
                    value = (moment.time_ns, score.probability[modality])
                    series[score.name, modality].append(value)
    for (name, modality), values in series.items():
        entity = rr.new_entity_path(['predicates', name, 'probability', modality])
        colour = int(STYLES[modality]['color'].lstrip('#') + 'ff', 16)
        # One colour per sensor; Rerun chooses the colours of the fused lines.
        colours = None if modality == FUSED else colour
        style = rr.SeriesLines(names=f'{name} ({modality})', colors=colours)
        stream.log(entity, style, static=True)
        _send(rr, stream, entity, *zip(*values, strict=True))


def _log_states(rr: Any, stream: Any, moments: Sequence[Scored]) -> None:
    changes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for moment in moments:
        for name, tracked in moment.evaluation.states.items():
            state = State(tracked.state).name
            if not changes[name] or changes[name][-1][1] != state:
                changes[name].append((moment.time_ns, state))
    for name, values in changes.items():
        entity = rr.new_entity_path(['predicates', name, 'state'])
        _send_states(rr, stream, entity, values, STATE_COLOURS)


def _log_truth(rr: Any, stream: Any, truth: Truth) -> None:
    for name, values in truth.items():
        said = [(stamp_ns, str(value).lower()) for stamp_ns, value in values]
        changes = [e for i, e in enumerate(said) if i == 0 or said[i - 1][1] != e[1]]
        entity = rr.new_entity_path(['predicates', name, 'truth'])
        _send_states(rr, stream, entity, changes, TRUTH_COLOURS)


def _send_states(
    rr: Any, stream: Any, entity: str, values: Sequence[tuple[int, str]], colours: dict[str, int]
) -> None:
    if not values:
        return
    shades = np.array(list(colours.values()), np.uint32)
    style = rr.StateConfiguration(values=list(colours), colors=shades)
    stream.log(entity, style, static=True)
    stamps_ns, states = zip(*values, strict=True)
    columns = rr.StateChange.columns(state=list(states))
    stream.send_columns(entity, indexes=[_times(rr, stamps_ns)], columns=columns)


def _send(rr: Any, stream: Any, entity: str, stamps_ns: Any, values: Any) -> None:
    """Log scalars `[T]`, or several lines `[T, n]`, at some stamps, nanoseconds `[T]`."""
    columns = rr.Scalars.columns(scalars=np.asarray(values, np.float64))
    stream.send_columns(entity, indexes=[_times(rr, stamps_ns)], columns=columns)


def _times(rr: Any, stamps_ns: Sequence[int]) -> Any:
    return rr.TimeColumn(TIMELINE, timestamp=np.array(stamps_ns, 'datetime64[ns]'))


def _blueprint(rr: Any, source: BagSource, names: Sequence[str]) -> Any:
    """Layout: sensors above, fused probabilities and states below."""
    rrb = rr.blueprint
    views: list[Any] = []
    for modality in source.modalities:
        origin, config = f'sensors/{modality}', source.configs.get(modality)
        if MODALITIES[modality].kind == 'sound':
            views.append(rrb.TimeSeriesView(origin=origin, name=f'{modality} (dBFS)'))
        elif config is not None and is_series(config):
            plots = [
                rrb.TimeSeriesView(origin=f'{origin}/{group.name}', name=group.title)
                for group in drawn_groups(config.channels)
            ]
            views.append(rrb.Vertical(*plots, name=modality))
        else:
            views.append(rrb.Spatial2DView(origin=origin, name=modality))
    lines = [rr.new_entity_path(['predicates', name, 'probability', FUSED]) for name in names]
    fused = rrb.TimeSeriesView(origin='predicates', contents=lines, name='probability')
    states = rrb.StateTimelineView(origin='predicates', name='states and truth')
    return rrb.Blueprint(
        rrb.Vertical(rrb.Horizontal(*views), rrb.Horizontal(fused, states), row_shares=[2, 3]),
        collapse_panels=True,
    )
