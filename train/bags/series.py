"""Numeric channels of one bag as labelled samples: the window that ends at each truth stamp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.decode import DecodeError
from encoders.decode.channels import TopicMessage
from encoders.decode.series import Floats, SeriesOptions, decode_series
from encoders.decode.series_stream import SeriesStream
from encoders.preprocess import objection, remarks, stored_form, to_stored
from encoders.preprocess.mini.series import SeriesConfig
from train.bags.reader import BagMessage, BagReport
from train.bags.samples import MAX_OFFSET_S, Array


class SeriesSensor:
    """The series that live nodes would have received at each stamp.

    Messages are decoded at once and their values kept, because a bag may hold millions of them.
    """

    def __init__(self, modality: str, config: SeriesConfig) -> None:
        self._modality, self._config = modality, config
        self._options = SeriesOptions(channels=config.channels, sources=config.sources)
        self._topic = self._frame_id = ''
        self._rows: list[tuple[int, Floats]] = []

    @property
    def messages(self) -> int:
        """Number of usable messages."""
        return len(self._rows)

    def take(self, message: BagMessage, report: BagReport) -> None:
        """Decode and store a message."""
        self._topic = message.topic
        try:
            row = self._row(message)
        except DecodeError as error:
            report.skipped(message.topic, str(error))
            return
        header = getattr(message.message, 'header', None)
        self._frame_id = str(getattr(header, 'frame_id', ''))
        self._rows.append((message.stamp_ns, row))

    def _row(self, message: BagMessage) -> Floats:
        """The channels of a message; NaN for those of other topics."""
        sent = message.message
        if self._config.sources:
            sent = TopicMessage(message.topic, sent)
        return decode_series(self._modality, sent, self._config.channels, self._options)

    def inputs(self, stamps: NDArray[np.int64], report: BagReport) -> Array:
        """Stored inputs of the windows that end at each stamp; 0 where there is no evidence."""
        shape, kind = stored_form(self._config)
        stored = np.zeros((len(stamps), *shape), kind)
        stream = SeriesStream(self._modality, self._options, length_s=self._config.window_s)
        stream.frame_id = self._frame_id
        rows = iter(self._rows)
        waiting = next(rows, None)
        for index in np.argsort(stamps, kind='stable'):
            end_ns = int(stamps[index])
            while waiting is not None and waiting[0] <= end_ns:
                stream.add_row(waiting[1], stamp_ns=waiting[0])
                waiting = next(rows, None)
            self._fill(stored, int(index), end_ns, stream, report)
        return stored

    def _fill(
        self, stored: Array, index: int, end_ns: int, stream: SeriesStream, report: BagReport
    ) -> None:
        window = stream.until(end_ns)
        if window is None or end_ns - window.stamp_ns > MAX_OFFSET_S * 1e9:
            return
        objected = objection(window.raw, self._config)
        if objected is not None:
            # Nothing is wrong with a window that begins before its stream does.
            began_ns = self._rows[0][0] + self._config.window_s * 1e9
            if objected.fault != 'gap' or window.stamp_ns >= began_ns:
                report.skipped(self._topic, objected.line)
            return
        stored[index] = to_stored(window.raw, self._config)
        for line in remarks(window.raw, self._config):
            report.noted(self._topic, line)
        if window.fault:
            report.noted(self._topic, window.fault[1])
