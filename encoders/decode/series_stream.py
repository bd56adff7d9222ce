"""Messages of numeric channels to windows of the last seconds, with a baseline to tare with."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.errors import DecodeError
from encoders.decode.series import Floats, Series, SeriesOptions, channels_of, decode_series
from encoders.decode.series_grid import MAX_GAP_S
from encoders.decode.window import Cut, Window

SERIES_S = 2.0
# The baseline is the median over this beginning of the stream, and of at least so many messages.
BASELINE_S, BASELINE_MESSAGES = 0.25, 3
# Messages may arrive in another order than they were sensed within this time; a stamp further
# back begins the stream again.
REORDER_S = 0.5
# Messages wait to be decoded while nothing is encoded; those older than the newest one by the
# window and this time are dropped.
SPARE_S = 1.0
# Most messages that wait or are kept, if their stamps stand still.
MOST = 10_000
PLAIN = SeriesOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Tare:
    """What a sensor measured over `BASELINE_S` while nothing was to act on it.

    Attributes:
        values: Medians, float64 `[C]`; NaN where nothing was measured.
        moved: How far the medians of the first and of the second half are apart, `[C]`.
    """

    values: Floats
    moved: Floats


@dataclass(frozen=True, slots=True)
class _Sample:
    number: int
    message: Any
    stamp_ns: int


class SeriesStream:
    """Messages of one sensor of a series modality (see `encoders.decode.streams.Stream`).

    A window is a `Series` with the samples of the last seconds, at whatever rate they came, and
    the baseline. `encoders.decode.series_grid` puts it on a grid.

    Attributes:
        options: Channels, names and sign; channels are fixed with the first message.
        length_s: Length of a window.
        channels: Names of the channels; empty before the first message is decoded.
        frame_id: Frame of the newest decoded message.
        tared_ns: Stamp of the message that ended the baseline; None while it is being taken.
        moved: How far values changed while the baseline was taken from messages, `[C]`; None if
            it is not known.
    """

    def __init__(
        self, modality: str, options: SeriesOptions = PLAIN, *, length_s: float = SERIES_S
    ) -> None:
        if length_s <= 0:
            raise ValueError(f'length_s must be positive, not {length_s}')
        self.modality, self.options, self.length_s = modality, options, length_s
        self.channels = options.channels
        self.tared_ns: int | None = None
        # One more gap, so that slow series are known up to the start of the window.
        self._length_ns = round(length_s * 1e9)
        self._kept_ns = round((length_s + MAX_GAP_S) * 1e9)
        self._pending: deque[_Sample] = deque()
        self._first: list[_Sample] = []
        self._recent: deque[_Sample] = deque(maxlen=MOST)
        self._baseline: Floats | None = None
        self.moved: Floats | None = None
        self._tares = 0
        self._count = 0
        self._restarts = False
        self._stamps = np.zeros(0, np.int64)
        self._values = np.zeros((0, 0))
        self.frame_id = ''
        self._joints: dict[str, int] = {}
        self._failed: DecodeError | None = None  # of the newest message
        # Not held while decoding, because `add` is called on the thread that serves all sensors.
        self._lock = threading.Lock()

    def add(self, message: Any, *, stamp_ns: int, stamped: bool = True) -> Cut:
        """See `Stream`."""
        with self._lock:
            self._count += 1
            sample = _Sample(self._count, message, stamp_ns)
            self._pending.append(sample)
            old_ns = stamp_ns - self._kept_ns - SPARE_S * 1e9
            while self._pending[0].stamp_ns < old_ns or len(self._pending) > MOST:
                self._pending.popleft()
            self._recent.append(sample)
            while not 0 <= stamp_ns - self._recent[0].stamp_ns <= BASELINE_S * 1e9:
                self._recent.popleft()
            if self.tared_ns is None:
                self._first.append(sample)
                count, since_ns = len(self._first), stamp_ns - self._first[0].stamp_ns
                is_long = since_ns >= BASELINE_S * 1e9 and count >= BASELINE_MESSAGES
                if is_long or count >= MOST:
                    self.tared_ns = stamp_ns
            return Cut(stamp_ns, self._count)

    def add_row(self, row: Floats, *, stamp_ns: int) -> Cut:
        """Add a decoded message, float64 `[C]`; `options.channels` must be given."""
        return self.add(row, stamp_ns=stamp_ns)

    def window(self, cut: Cut, *, frames: int = 1, known: Container[int] = ()) -> Window:
        """See `Stream`; every message up to the cut is decoded, and `raw` is a `Series`.

        An earlier message that cannot be decoded is a gap. `fault` reports it, stamps that repeat
        or go back, and gaps.
        """
        fault = self._decode_until(cut.content)
        if self._failed is not None:
            raise self._failed
        found = self._window(cut.stamp_ns)
        if found is None:
            raise DecodeError('no message of this window is left', fault='order')
        return Window(found[0], found[1], cut.stamp_ns, fault=fault or _odd(found[0]))

    def until(self, end_ns: int) -> Window | None:
        """Return the window that ends with the newest message until `end_ns`; None without one.

        For labelled samples, which do not end with a message. Decodes all messages so far.
        """
        with self._lock:
            newest = self._count
        fault = self._decode_until(newest)
        before = self._stamps[self._stamps <= end_ns]
        if not len(before):
            return None
        stamp_ns = int(before[-1])
        found = self._window(stamp_ns)
        return None if found is None else Window(found[0], found[1], stamp_ns, fault=fault)

    def forget(self) -> None:
        """See `Stream`; the baseline stays, because a jump in time does not change the sensor."""
        with self._lock:
            self._pending.clear()
            self._restarts = True

    def tare(self, baseline: Sequence[float] | Floats | None = None) -> None:
        """Set the baseline, float `[C]`, or take it from the messages that follow."""
        with self._lock:
            self._first = []
            self._tares += 1
            self._baseline = None if baseline is None else np.asarray(baseline, np.float64)
            self.moved = None
            newest = self._pending[-1].stamp_ns if self._pending else None
            if newest is None and len(self._stamps):
                newest = int(self._stamps[-1])
            self.tared_ns = None if baseline is None else newest or 0

    def recent(self) -> Tare:
        """What was measured over the last `BASELINE_S`; for `tare`. Any thread may call it.

        Raises:
            ValueError: There were too few messages, or none of them can be decoded.
        """
        with self._lock:
            samples = list(self._recent)
        rows = [row for sample in samples if (row := self._row_or_none(sample)) is not None]
        if len(rows) < BASELINE_MESSAGES:
            raise ValueError(
                f'{len(rows)} messages of the last {BASELINE_S:g} s can be read, at least '
                f'{BASELINE_MESSAGES} are needed'
            )
        return _tare(rows)

    def joints(self) -> dict[str, bool]:
        """Whether messages of the window contain each joint; in order, first those of `channels`.

        Names are those on this robot.
        """
        if self.modality != 'joints' or not len(self._stamps):
            return {}
        names = dict.fromkeys(channel.rpartition('.')[0] for channel in self.channels)
        own = [self.options.names.get(name, name) for name in names]
        oldest_ns = int(self._stamps[-1]) - self._length_ns
        seen = {name for name, stamp_ns in self._joints.items() if stamp_ns >= oldest_ns}
        return {name: name in seen for name in (*own, *sorted(seen - set(own)))}

    def _decode_until(self, number: int) -> tuple[str, str] | None:
        """Decode the pending messages up to a number; return a fault of one of them."""
        with self._lock:
            if self._restarts:
                self._clear()
                self._restarts = False
            samples = []
            while self._pending and self._pending[0].number <= number:
                samples.append(self._pending.popleft())
            first, tares = list(self._first), self._tares
            if self.tared_ns is not None:
                self._first = []
        fault = self._join(samples)
        if first:
            rows = [row for sample in first if (row := self._row_or_none(sample)) is not None]
            with self._lock:
                if rows and tares == self._tares:  # not tared again meanwhile
                    found = _tare(rows)
                    self._baseline, self.moved = found.values, found.moved
        return fault

    def _join(self, samples: Sequence[_Sample]) -> tuple[str, str] | None:
        fault: tuple[str, str] | None = None
        self._failed = None
        stamps: list[int] = []
        rows: list[Floats] = []
        newest = int(self._stamps[-1]) if len(self._stamps) else None
        for sample in samples:
            try:
                row = self._row(sample.message, sample.stamp_ns)
            except DecodeError as error:
                fault = (error.fault, str(error))
                self._failed = error if sample is samples[-1] else None
                continue
            if newest is not None and sample.stamp_ns < newest - REORDER_S * 1e9:
                back_s = (newest - sample.stamp_ns) * 1e-9
                fault = ('backwards', f'stamps go back by {back_s:.1f} s; the window begins again')
                stamps, rows, newest = [], [], None
                self._clear()
            newest = max(sample.stamp_ns, newest if newest is not None else sample.stamp_ns)
            stamps.append(sample.stamp_ns)
            rows.append(row)
        return self._append(stamps, rows) or fault

    def _append(self, stamps: Sequence[int], rows: Sequence[Floats]) -> tuple[str, str] | None:
        """Merge decoded messages into the kept ones, in order of time."""
        if not stamps:
            return None
        kept = self._values if len(self._stamps) else np.zeros((0, len(self.channels)))
        joined = np.concatenate([self._stamps, np.array(stamps, np.int64)])
        values = np.concatenate([kept, np.stack(rows)])
        goes_back = np.diff(joined) < 0
        # Topics of described channels arrive with delays of their own.
        back = int((goes_back & _share_channels(values)).sum())
        if goes_back.any():
            order = np.argsort(joined, kind='stable')
            joined, values = joined[order], values[order]
        recent = joined >= joined[-1] - self._kept_ns - round(REORDER_S * 1e9)
        self._stamps, self._values = joined[recent][-MOST:], values[recent][-MOST:]
        return ('backwards', f'{back} stamps go back; put in order') if back else None

    def _window(self, stamp_ns: int) -> tuple[Series, int] | None:
        chosen = (self._stamps <= stamp_ns) & (self._stamps > stamp_ns - self._kept_ns)
        if not chosen.any():
            return None
        stamps: NDArray[np.int64] = self._stamps[chosen]
        series = Series(
            self._values[chosen],
            np.asarray((stamps - stamp_ns) * 1e-9, np.float64),
            self.channels,
            baseline=self._baseline,
            frame_id=self.frame_id,
        )
        inside = stamps[stamps > stamp_ns - self._length_ns]
        return series, int(inside[0]) if len(inside) else stamp_ns

    def _row(self, message: Any, stamp_ns: int) -> Floats:
        if isinstance(message, np.ndarray):
            return message
        if not self.channels:
            self.channels = channels_of(self.modality, message)
        row = decode_series(self.modality, message, self.channels, self.options)
        if self.modality == 'joints':
            self._joints |= dict.fromkeys(message.name, stamp_ns)
        self.frame_id = str(getattr(getattr(message, 'header', None), 'frame_id', ''))
        return row

    def _row_or_none(self, sample: _Sample) -> Floats | None:
        try:
            return self._row(sample.message, sample.stamp_ns)
        except DecodeError:
            return None

    def _clear(self) -> None:
        self._stamps = np.zeros(0, np.int64)
        self._values = np.zeros((0, len(self.channels)))


def _tare(rows: Sequence[Floats]) -> Tare:
    stacked, half = np.stack(rows), len(rows) // 2
    return Tare(_median(stacked), np.abs(_median(stacked[half:]) - _median(stacked[:half])))


def _median(rows: Floats) -> Floats:
    """Median of the finite values of each column, NaN without any."""
    finite = np.isfinite(rows)
    medians = np.full(rows.shape[1], np.nan)
    for column in np.flatnonzero(finite.any(axis=0)):
        medians[column] = np.median(rows[finite[:, column], column])
    return medians


def _odd(series: Series) -> tuple[str, str] | None:
    """What is odd about the stamps of a window: repeats, or a gap."""
    steps = np.diff(series.stamps_s)
    # Two publishers of one topic, such as an arm and its gripper, may share stamps.
    repeated = int(((steps <= 0) & _share_channels(series.values)).sum())
    if repeated:
        return 'repeated', f'{repeated} of {len(series.stamps_s)} stamps are repeated'
    if len(steps) and steps.max() > MAX_GAP_S:
        return 'gap', f'{steps.max() * 1e3:.0f} ms are missing'
    return None


def _share_channels(values: Floats) -> NDArray[np.bool_]:
    """Whether each row of `[T, C]` and the one before it measure a common channel, `[T - 1]`."""
    measured = np.isfinite(values)
    return np.asarray((measured[1:] & measured[:-1]).any(axis=1))
