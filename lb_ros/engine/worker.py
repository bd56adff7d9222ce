"""The worker of all encoder nodes of a process: newest messages in, embeddings out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence, Set
from functools import partial

from encoders import MODALITIES, AudioOptions, Binder, DecodeError, Evidence, ImageOptions
from encoders.decode.series import SeriesOptions
from encoders.decode.streams import (
    DEFAULT_CLIP_S,
    PLAIN_IMAGES,
    PLAIN_SERIES,
    PLAIN_SOUND,
    AudioStream,
    Stream,
)
from encoders.preprocess import stream_for
from encoders.regions import Region, modality_of
from lb_ros.engine.arrival import Arrival, Pending
from lb_ros.engine.content_check import ContentCheck
from lb_ros.engine.health import Expectation, InputHealth, Log
from lb_ros.engine.limits import Limits
from lb_ros.engine.overload import MemoryPolicy, fatal_line, is_fatal
from lb_ros.engine.part import Part
from lb_ros.engine.sample import Ready, Sensor, embedding, encode, following, prepare
from lb_ros.engine.sink import Sink
from lb_ros.engine.slot import Counters, NewestSlot
from lb_ros.engine.stage_times import StageTimes
from lb_ros.engine.watchdog import EXIT_DEVICE, leave

MAX_BATCH = 4
# Time to wait at a stop for the samples that are being encoded.
STOP_S = 2.0

UNLIMITED = Limits()


class EncodingWorker:
    """One thread that encodes the newest message of every sensor, `max_batch` at a time.

    Args:
        binder: The encoders.
        sink: Receives every embedding. Messages of a modality that it does not want stay in their
            slot until a newer one replaces them; call `look` when `sink.wants` has changed.
        log: Receives warnings, at most one per sensor and kind of fault every few seconds.
        limits: Limits of rate and age, and priorities.
        max_batch: Largest number of sensors in one call.
        on_fatal: Called with an exit status and a line when the device has failed permanently;
            ends the process.

    Attributes:
        memory: Policy for lack of memory, with the measures in effect.
        limits: See above; `limit` changes them.
        stages: Processing times in each stage.
    """

    def __init__(
        self,
        binder: Binder,
        sink: Sink,
        *,
        log: Log,
        limits: Limits = UNLIMITED,
        max_batch: int = MAX_BATCH,
        on_fatal: Callable[[int, str], object] = leave,
    ) -> None:
        self.binder, self.stages = binder, StageTimes()
        self._sink, self._log, self._on_fatal = sink, log, on_fatal
        self.limits = limits
        self.memory = MemoryPolicy(max_batch=max_batch, log=log)
        self._wake = threading.Condition()
        self._sensors: dict[str, Sensor] = {}
        self._next_s: dict[str, float] = {}
        self._served_s: dict[str, float] = {}
        self._encoding: tuple[str, ...] = ()
        self._busy_since_s = 0.0
        self._running, self._left_behind = True, False
        self._is_outdated = False  # `sink.wants` must be called again
        self._thread = threading.Thread(target=self._work, name='encoding', daemon=True)
        self._thread.start()

    def add_sensor(
        self,
        modality: str,
        *,
        source: str = '',
        topic: str = '',
        images: ImageOptions = PLAIN_IMAGES,
        sound: AudioOptions = PLAIN_SOUND,
        expectation: Expectation | None = None,
        video_window_s: float = DEFAULT_CLIP_S,
        series: SeriesOptions = PLAIN_SERIES,
        regions: Sequence[Region] = (),
    ) -> str:
        """Accept messages of a modality from now on; return the sensor's name for `put`.

        Args:
            modality: Name; among sensors of equal priority, those added first are shed last.
            source: Topic of the messages; distinguishes several sensors of one modality.
            topic: Topic named in logs and diagnostics; the modality's if empty.
            images: Options for decoding images.
            sound: Format of audio messages that do not describe it.
            expectation: Requirements on the input.
            video_window_s: Length of video clips.
            series: Names of joints and sign of forces; the channels are those of the model set.
            regions: Parts of its view that are sensors of their own.

        Raises:
            KeyError: The model set has no encoder for the modality.
        """
        if modality not in self.binder.modalities:
            known = ', '.join(self.binder.modalities)
            raise KeyError(
                f'model set {self.binder.model} has no {modality} encoder, only {known}'
            )
        name = f'{modality} {source}'.strip()
        health = InputHealth(
            name,
            topic=topic or source or MODALITIES[modality].topic,
            log=self._log,
            expectation=expectation,
        )
        with self._wake:
            if name in self._sensors:
                return name
            slot: NewestSlot[Pending] = NewestSlot(self._wake)
            stream = stream_for(
                modality,
                self.binder.preprocessing[modality],
                images=images,
                sound=sound,
                clip_s=video_window_s,
                series=series,
            )
            content = ContentCheck(modality)
            self._is_outdated = True
            self._next_s[name] = self._served_s[name] = 0.0
            self._sensors[name] = Sensor(
                modality, source, slot, health, content, stream, images, tuple(map(Part, regions))
            )
            self.memory.priorities = sorted(self._sensors, key=self._rank)
        return name

    def drop_waiting(self, sensor: str) -> bool:
        """Drop a sensor's waiting message, and wait while its messages are being encoded.

        Returns:
            False if the encoding has lasted for more than `STOP_S` since its start; sensors that
            are encoded together thus wait no longer than one of them.
        """
        with self._wake:
            if sensor in self._sensors:
                self._sensors[sensor].slot.discard()
                self.forget_past(sensor)
            left_s = max(0.0, self._busy_since_s + STOP_S - time.monotonic())
            return self._wake.wait_for(lambda: sensor not in self._encoding, left_s)

    def use(self, binder: Binder) -> None:
        """Encode with another model set from the next message on.

        The stream of a series begins again if the set expects other channels or windows.
        """
        with self._wake:
            for name, sensor in self._sensors.items():
                self._sensors[name] = following(sensor, binder)
                if self._sensors[name] is not sensor:
                    sensor.slot.discard()
            self.binder = binder

    def limit(self, limits: Limits) -> None:
        """Apply other limits from the next message on."""
        with self._wake:
            self.limits = limits
            now_s = time.monotonic()
            for name, sensor in self._sensors.items():  # a longer period before must not delay it
                latest_s = now_s + limits.period_s(sensor.modality)
                self._next_s[name] = min(self._next_s[name], latest_s)
            self.memory.priorities = sorted(self._sensors, key=self._rank)
            self._wake.notify_all()

    def _rank(self, sensor: str) -> int:
        """Sort key of a sensor: lower ranks are served first."""
        return -self.limits.priority(self._sensors[sensor].modality)

    def counters(self) -> dict[str, Counters]:
        """Return the numbers of messages by outcome, for each sensor."""
        return {name: sensor.slot.counters for name, sensor in self._sensors.items()}

    def parts(self, sensor: str) -> tuple[Part, ...]:
        """Return the parts of a sensor's view."""
        return self._sensors[sensor].parts

    def health(self, sensor: str) -> InputHealth:
        """Return the faults, rates and delay of a sensor."""
        return self._sensors[sensor].health

    def busy_with(self) -> tuple[str, float] | None:
        """Return the sensors being encoded and the start (monotonic seconds), or None."""
        with self._wake:
            if not self._encoding:
                return None
            return f'encoding {", ".join(self._encoding)}', self._busy_since_s

    def put(self, sensor: str, *arrivals: Arrival) -> None:
        """Accept messages without blocking, in order; the window of the last one is encoded.

        Every message is added to its stream, so that windows of audio and series and video clips
        have no gaps where a newer message replaces a waiting one.
        """
        entry = self._sensors[sensor]
        for arrival in arrivals:
            cut = entry.stream.add(
                arrival.message, stamp_ns=arrival.stamp_ns, stamped=arrival.stamped
            )
        pending = Pending(cut, arrival.frame_id, arrival.arrived_s, arrival.places)
        is_capped = time.monotonic() < self._next_s[sensor]
        replaced = 'capped' if is_capped else 'dropped'
        entry.slot.put(pending, replaced=replaced, joined=len(arrivals) - 1)

    def forget_past(self, sensor: str) -> None:
        """Restart the stream of a sensor whose time has jumped."""
        self._sensors[sensor].stream.forget()

    def stream(self, sensor: str) -> Stream:
        """Return the stream that cuts the windows of a sensor."""
        return self._sensors[sensor].stream

    def describe_sound(self, sensor: str, sound: AudioOptions) -> None:
        """Set the format of audio messages that do not describe it, from the next one on."""
        stream = self._sensors[sensor].stream
        assert isinstance(stream, AudioStream)
        stream.options = sound

    def look(self) -> None:
        """Check immediately whether the sink now wants waiting messages."""
        with self._wake:
            self._is_outdated = True
            self._wake.notify_all()

    def unheard(self) -> list[str]:
        """Return the sensors whose embeddings the sink does not want."""
        wanted = self._wanted()
        return [n for n, sensor in self._sensors.items() if wanted.isdisjoint(sensor.names)]

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    def refuse(self, sensor: str, outcome: str, fault: str, line: str) -> None:
        """Count an unusable message on arrival as `stale` or `failed`, and record its fault."""
        self._sensors[sensor].slot.refuse(outcome)
        self._sensors[sensor].health.note(fault, line)

    def close(self) -> None:
        """Stop the thread and wait for it.

        A call that takes longer than `STOP_S` is abandoned, and its result is not published.
        """
        with self._wake:
            self._running = False
            self._wake.notify_all()
        self._thread.join(STOP_S)
        self._left_behind = self._thread.is_alive()

    def _work(self) -> None:
        while self._running:
            wanted = self._wanted()
            due = self._take(wanted)
            if not due:
                continue
            try:
                self._serve(due, wanted)
            except Exception as error:
                self._not_expected(due, error)
            with self._wake:
                self._encoding = ()
                self._wake.notify_all()

    def _take(self, wanted: Set[str]) -> dict[str, Pending]:
        """Take the due messages; if none is due, wait until that may have changed."""
        with self._wake:
            due = self._due(wanted) if self._running else {}
            if due:
                self._encoding, self._busy_since_s = tuple(due), time.monotonic()
            elif self._running and not self._is_outdated:
                self._wake.wait(timeout=self._pause_s(wanted))
            self._is_outdated = False
            return due

    def _wanted(self) -> set[str]:
        """Return the modalities and parts of views that the sink wants.

        Queries the middleware: call without lock.
        """
        names = {name for sensor in tuple(self._sensors.values()) for name in sensor.names}
        return {name for name in names if self._sink.wants(name)}

    def _not_expected(self, due: Mapping[str, Pending], error: Exception) -> None:
        """Continue after an unexpected error, unless the device has failed permanently."""
        if is_fatal(error):
            self._on_fatal(EXIT_DEVICE, fatal_line(error))
        for sensor in due:
            self._fail(sensor, 'internal', f'{type(error).__name__}: {error}')

    def _fail(self, sensor: str, fault: str, line: str) -> None:
        self._sensors[sensor].slot.count('failed')
        self._sensors[sensor].health.note(fault, line)

    def _waiting(self, wanted: Set[str]) -> list[str]:
        """Return the sensors with a waiting message of which a view is wanted."""
        return [
            name
            for name, sensor in self._sensors.items()
            if sensor.slot.waiting is not None and not wanted.isdisjoint(sensor.names)
        ]

    def _due(self, wanted: Set[str]) -> dict[str, Pending]:
        """Take the message of every due sensor, as many as fit one batch.

        The order is by priority, then by the time since a sensor was last served.
        """
        now_s = time.monotonic()
        waiting = [name for name in self._waiting(wanted) if self._next_s[name] <= now_s]
        waiting.sort(key=lambda name: (self._rank(name), self._served_s[name]))
        due: dict[str, Pending] = {}
        for name in waiting[: self.memory.batch]:
            self._served_s[name] = now_s
            pending = self._sensors[name].slot.take()
            period_s = self.limits.period_s(self._sensors[name].modality)
            self._next_s[name] = max(self._next_s[name] + period_s, now_s - period_s)
            if pending is not None:
                due[name] = pending
        return due

    def _pause_s(self, wanted: Set[str]) -> float | None:
        """Return the seconds until the next waiting message is due; None to wait for a message."""
        now_s = time.monotonic()
        later = [self._next_s[name] - now_s for name in self._waiting(wanted)]
        return max(min(later), 0.001) if later else None

    def _serve(self, due: Mapping[str, Pending], wanted: Container[str]) -> None:
        binder = self.binder  # may be replaced meanwhile; the vectors name the binder used here
        ready: list[Ready] = []
        for name, pending in due.items():
            ready += self._prepare(binder, name, pending, wanted)
        if not ready:
            return
        tokens = {modality_of(s.modality) for s in ready if self._sink.wants_tokens(s.modality)}
        started_s = time.monotonic()
        found = self.memory.run(
            [sample.sensor for sample in ready], ready, partial(encode, binder, tokens=tokens)
        )
        encode_ms = (time.monotonic() - started_s) * 1e3
        if not self._left_behind:
            self._deliver(binder, zip(ready, found, strict=True), encode_ms)

    def _deliver(
        self,
        binder: Binder,
        encoded: Iterable[tuple[Ready, Evidence | None]],
        encode_ms: float,
    ) -> None:
        batch = []
        counted: set[str] = set()  # messages are counted, not the parts of their view
        for sample, evidence in encoded:
            if evidence is None or not evidence.is_finite:
                if sample.sensor not in counted:
                    self._lose(sample.sensor, evidence)
            else:
                sensor = self._sensors[sample.sensor]
                if sample.sensor not in counted:
                    sensor.slot.count('encoded')
                    sensor.health.delivered((time.monotonic() - sample.arrived_s) * 1e3)
                    self.stages.add(wait=sample.wait_ms, decode=sample.decode_ms, encode=encode_ms)
                self.stages.add(preprocess=sample.preprocess_ms)
                batch.append(embedding(binder, sample, evidence, encode_ms=encode_ms))
            counted.add(sample.sensor)
        if batch:
            started_s = time.monotonic()
            self._sink.receive(batch)
            self.stages.add(publish=(time.monotonic() - started_s) * 1e3)

    def _prepare(
        self, binder: Binder, name: str, pending: Pending, wanted: Container[str]
    ) -> list[Ready]:
        sensor, started_s = self._sensors[name], time.monotonic()
        wait_ms = (started_s - pending.arrived_s) * 1e3
        if wait_ms > self.limits.max_age_ms:
            sensor.slot.count('stale')
            sensor.health.note('stale', f'a message waited {wait_ms:.0f} ms: the machine is busy')
            return []
        if not self.memory.admits(name):
            self._lack_memory(name)
            return []
        try:
            return prepare(binder, name, sensor, pending, started_s=started_s, wanted=wanted)
        except DecodeError as error:
            self._fail(name, error.fault, str(error))
        except (ValueError, KeyError) as error:
            self._fail(name, 'content', str(error.args[0] if error.args else error))
        return []

    def _lose(self, name: str, evidence: Evidence | None) -> None:
        if evidence is None:
            self._lack_memory(name)
        else:
            self._fail(name, 'not_finite', 'the embedding is not finite')

    def _lack_memory(self, name: str) -> None:
        if self.memory.admits(name):
            self._fail(name, 'memory', 'the device has no memory for a single sample')
        else:
            self._fail(name, 'shed', 'not encoded: the device is out of memory')
