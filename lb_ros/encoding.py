"""The worker behind all encoder nodes of a process: newest messages in, embeddings out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import MODALITIES, Binder, DecodeError, decode_audio, decode_image
from encoders.audio_window import WINDOW_S, AudioWindow
from lb_ros.slot import Counters, NewestSlot

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A sensor message with the times that matter.

    Attributes:
        message: As it came.
        stamp_ns: When it was sensed (for sound: its first sample).
        frame_id: Of its header.
        arrived_s: Monotonic time of arrival.
    """

    message: Any
    stamp_ns: int
    frame_id: str
    arrived_s: float


@dataclass(frozen=True, slots=True)
class Encoded:
    """An embedding with its origin; see lb_ros/msg/Embedding."""

    modality: str
    source: str
    model: str
    space: str
    vector: NDArray[np.float32]
    stamp_ns: int
    window_start_ns: int
    frame_id: str
    valid_fraction: float
    wait_ms: float
    decode_ms: float
    preprocess_ms: float
    encode_ms: float


@dataclass(frozen=True, slots=True)
class _Decoded:
    raw: Any
    stamp_ns: int
    start_ns: int


class EncodingWorker:
    """One thread that encodes the newest message of every sensor, all sensors in turn.

    Args:
        binder: The encoders.
        publish: Called from the worker's thread with every embedding.
        log: Called once for every new kind of failure.
        max_rate_hz: Upper limit per sensor; 0 for none.
        max_age_ms: Messages older than this on arrival at the worker are dropped as stale.
    """

    def __init__(
        self,
        binder: Binder,
        *,
        publish: Callable[[Encoded], None],
        log: Log,
        max_rate_hz: float = 0.0,
        max_age_ms: float = 1000.0,
    ) -> None:
        self.binder = binder
        self._publish, self._log = publish, log
        self.limit(max_rate_hz=max_rate_hz, max_age_ms=max_age_ms)
        self._wake = threading.Condition()
        self._slots: dict[str, NewestSlot[Arrival]] = {}
        self._modalities: dict[str, str] = {}
        self._encoding = ''
        self._next_s: dict[str, float] = {}
        self._served_s: dict[str, float] = {}
        self._sounds: dict[str, AudioWindow] = {}
        self._sound_lock = threading.Lock()
        self._told: set[str] = set()
        self._running = True
        self._thread = threading.Thread(target=self._work, name='encoding', daemon=True)
        self._thread.start()

    def add_sensor(self, modality: str, *, source: str = '') -> str:
        """Begin to accept messages of a modality; returns the name to `put` them under.

        Args:
            modality: Of the model set.
            source: Topic they come from; tells several sensors of one modality apart.

        Raises:
            KeyError: The model set has no encoder for it.
        """
        if modality not in self.binder.modalities:
            known = ', '.join(self.binder.modalities)
            raise KeyError(
                f'model set {self.binder.model} has no {modality} encoder, only {known}'
            )
        sensor = f'{modality} {source}'.strip()
        with self._wake:
            if sensor in self._slots:
                return sensor
            self._slots[sensor] = NewestSlot(self._wake)
            self._modalities[sensor] = modality
            self._next_s[sensor] = self._served_s[sensor] = 0.0
        return sensor

    def drop_waiting(self, sensor: str, *, timeout_s: float) -> bool:
        """Forget what waits of a sensor, and wait for what is being encoded of it.

        Returns:
            False where that took longer than `timeout_s`.
        """
        with self._wake:
            slot = self._slots.get(sensor)
            if slot is not None:
                slot.discard()
            self._forget_sound(sensor)
            return self._wake.wait_for(lambda: self._encoding != sensor, timeout_s)

    def use(self, binder: Binder) -> None:
        """Encode with another model set from the next message on."""
        self.binder = binder

    def limit(self, *, max_rate_hz: float, max_age_ms: float) -> None:
        """Take other limits from the next message on."""
        self._period_s = 1.0 / max_rate_hz if max_rate_hz > 0 else 0.0
        self._max_age_ms = max_age_ms

    def counters(self) -> dict[str, Counters]:
        """What became of the messages so far, by sensor."""
        return {name: slot.counters for name, slot in self._slots.items()}

    def put(self, sensor: str, arrival: Arrival) -> None:
        """Hand a message over; returns at once.

        Sound is put together here, because a dropped chunk would tear a hole into the window.
        """
        if MODALITIES[self._modalities[sensor]].kind == 'sound':
            arrival = self._with_window(sensor, arrival)
        self._slots[sensor].put(arrival)

    def close(self) -> None:
        """Stop the thread and wait for it."""
        with self._wake:
            self._running = False
            self._wake.notify_all()
        self._thread.join()

    def _forget_sound(self, sensor: str) -> None:
        with self._sound_lock:
            self._sounds.pop(sensor, None)

    def _with_window(self, sensor: str, arrival: Arrival) -> Arrival:
        try:
            chunk = decode_audio(arrival.message)
        except DecodeError as error:
            self._tell(f'{sensor}: {error}')
            return arrival
        with self._sound_lock:
            sound = self._sounds.setdefault(sensor, AudioWindow(WINDOW_S))
            window = sound.add(chunk.wave, rate_hz=chunk.rate_hz, start_ns=arrival.stamp_ns)
        end_ns = arrival.stamp_ns + round(chunk.wave.shape[1] * 1e9 / chunk.rate_hz)
        return Arrival(window, end_ns, arrival.frame_id, arrival.arrived_s)

    def _work(self) -> None:
        while True:
            with self._wake:
                due = self._due()
                while self._running and due is None:
                    self._wake.wait(timeout=self._pause_s())
                    due = self._due()
                if not self._running or due is None:
                    return
            self._encode(*due)
            with self._wake:
                self._encoding = ''
                self._wake.notify_all()

    def _due(self) -> tuple[str, Arrival] | None:
        """Take a message of the sensor that was served longest ago, so that none starves."""
        now_s = time.monotonic()
        waiting = [
            name
            for name, slot in self._slots.items()
            if slot.waiting is not None and self._next_s[name] <= now_s
        ]
        if not waiting:
            return None
        name = self._encoding = min(waiting, key=lambda name: self._served_s[name])
        self._served_s[name] = now_s
        arrival = self._slots[name].take()
        self._next_s[name] = max(self._next_s[name] + self._period_s, now_s - self._period_s)
        return None if arrival is None else (name, arrival)

    def _pause_s(self) -> float | None:
        """Until the next sensor with a message may go; None to wait for a message."""
        now_s = time.monotonic()
        later = [self._next_s[n] - now_s for n, s in self._slots.items() if s.waiting is not None]
        return max(min(later), 0.001) if later else None

    def _encode(self, sensor: str, arrival: Arrival) -> None:
        slot, modality = self._slots[sensor], self._modalities[sensor]
        binder = self.binder  # it may be replaced meanwhile, and its vectors say whose they are
        started_s = time.monotonic()
        wait_ms = (started_s - arrival.arrived_s) * 1e3
        if wait_ms > self._max_age_ms:
            slot.count('stale')
            return
        try:
            decoded = self._decode(modality, arrival)
            decoded_s = time.monotonic()
            inputs, valid = binder.preprocess_with_validity(modality, decoded.raw)
            preprocessed_s = time.monotonic()
            vector = binder.encode({modality: inputs})[modality][0]
        except (DecodeError, ValueError) as error:
            slot.count('failed')
            self._tell(f'{sensor}: {error}')
            return
        slot.count('encoded')
        self._publish(
            Encoded(
                modality=modality,
                source=sensor.removeprefix(modality).strip(),
                model=binder.model,
                space=binder.space,
                vector=vector,
                stamp_ns=decoded.stamp_ns,
                window_start_ns=decoded.start_ns,
                frame_id=arrival.frame_id,
                valid_fraction=valid,
                wait_ms=wait_ms,
                decode_ms=(decoded_s - started_s) * 1e3,
                preprocess_ms=(preprocessed_s - decoded_s) * 1e3,
                encode_ms=(time.monotonic() - preprocessed_s) * 1e3,
            )
        )

    def _decode(self, modality: str, arrival: Arrival) -> _Decoded:
        if MODALITIES[modality].kind == 'sound':
            window = arrival.message
            if not hasattr(window, 'wave'):
                raise DecodeError('the sound message could not be decoded')
            raw = (window.wave, window.rate_hz)
            return _Decoded(raw, arrival.stamp_ns, window.start_ns)
        image = decode_image(arrival.message, modality=modality)
        return _Decoded(image.array, arrival.stamp_ns, arrival.stamp_ns)

    def _tell(self, line: str) -> None:
        """Log each kind of failure once; the counters show how often it happens."""
        if line not in self._told:
            self._told.add(line)
            self._log(f'{line}; such messages are skipped and counted')
