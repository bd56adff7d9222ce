"""Model set and encoding worker that the nodes of a process share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from encoders import LIVE, MODALITIES, Binder
from encoders.decode.channels import ChannelDescription
from encoders.memory import trim_heap
from encoders.modalities import DESCRIBED
from encoders.model_sets.golden import golden_input
from encoders.text.minilm import text_tower
from lb_ros.engine.health import Log
from lb_ros.engine.overload import fatal_line, free_memory, is_fatal
from lb_ros.engine.sink import Sink
from lb_ros.engine.watchdog import EXIT_DEVICE, Watchdog, leave
from lb_ros.engine.worker import EncodingWorker
from lb_ros.parameter_table import Parameters
from lb_ros.ros.parameters import batch_limit, limits_of, sample_counts, thread_count

WARM_UP_RUNS = 2
Progress = Callable[[str], object]


class SharedModel:
    """A model set that is loaded for its first user and freed after its last.

    Args:
        parameters: Returns the current parameters; called at every load.
        sink: Receives the embeddings of the worker.
        modalities: Encoders to load; None for a process that encodes nothing, but knows all of the
            set.
        log: Receives warnings about sensor messages.
        on_fatal: Called with an exit status and a line when the device has failed permanently.

    Attributes:
        worker: Encodes for the users; None until a user requests it.
    """

    def __init__(
        self,
        parameters: Callable[[], Parameters],
        sink: Sink,
        *,
        modalities: Sequence[str] | None,
        log: Log,
        on_fatal: Callable[[int, str], object] = leave,
    ) -> None:
        self._parameters, self._sink, self._modalities = parameters, sink, modalities
        self._log, self._on_fatal = log, on_fatal
        self.worker: EncodingWorker | None = None
        self._watchdog: Watchdog | None = None
        self._users: set[str] = set()
        self._lock = threading.Lock()
        self._binder: Binder | None = None
        self._ended: dict[str, dict[str, int]] = {}

    def counters(self) -> dict[str, dict[str, int]]:
        """Return numbers of messages by sensor and outcome, including those of past workers."""
        totals = {sensor: dict(counts) for sensor, counts in self._ended.items()}
        running = {} if self.worker is None else self.worker.counters()
        for sensor, counters in running.items():
            before = totals.get(sensor, {})
            totals[sensor] = {k: v + before.get(k, 0) for k, v in asdict(counters).items()}
        return totals

    def is_loaded(self) -> bool:
        """Return whether a model set is loaded, that is, has a user."""
        return self._binder is not None

    def acquire(self, user: str, *, progress: Progress = lambda activity: None) -> Binder:
        """Return the model set for one more user; load it for the first one. Blocks.

        Args:
            user: Name of a node.
            progress: Called with a description of each step.

        Raises:
            ModelSetError, SpaceError, KeyError: The model set cannot be loaded.
            ValueError: The device does not exist.
        """
        with self._lock:
            if self._binder is None:
                self._binder = self.load(self._parameters().model, progress=progress)
            self._users.add(user)
            return self._binder

    def worker_for(self, user: str) -> EncodingWorker:
        """Return the worker, started for its first user; call `acquire` before."""
        with self._lock:
            assert self._binder is not None and user in self._users
            if self.worker is None:
                parameters = self._parameters()
                self.worker = EncodingWorker(
                    self._binder,
                    self._sink,
                    log=self._log,
                    limits=limits_of(parameters),
                    max_batch=batch_limit(parameters),
                    on_fatal=self._on_fatal,
                )
                if parameters.worker_timeout_s:
                    busy_with, limit_s = self.worker.busy_with, parameters.worker_timeout_s
                    self._watchdog = Watchdog(busy_with, limit_s=limit_s)
            return self.worker

    def release(self, user: str) -> None:
        """Remove a user; free everything after the last one."""
        with self._lock:
            self._users.discard(user)
            if self._users:
                return
            if self.worker is not None:
                self.worker.close()
                self._ended = self.counters()
            self.worker = self._binder = None
            self._stop_watchdog()
        text_tower.cache_clear()  # the cache would keep it for the life of the process
        free_memory()

    def load(self, model: str, *, progress: Progress = lambda activity: None) -> Binder:
        """Load a model set on the process's device and warm it up; the one in use stays.

        If the device fails permanently meanwhile, `on_fatal` is called.

        Raises the errors of `acquire`.
        """
        parameters = self._parameters()
        torch.set_num_threads(thread_count(parameters))
        try:
            torch.empty(0, device=parameters.device)
        except (RuntimeError, AssertionError) as error:  # a build without CUDA fails an assertion
            reason = str(error).splitlines()[0]
            raise ValueError(f'parameter device: {parameters.device!r}: {reason}') from error
        progress('loading the model set')
        try:
            binder = Binder.load(
                model,
                modalities=self._modalities,
                channels=self._channels(parameters),
                device=parameters.device,
                dtype=parameters.precision,
                compilation=parameters.compilation,
                engine=parameters.engine,
                progress=progress,
            )
            if self._modalities is None:  # other processes encode
                binder.free_encoders()
            else:
                warm_up(binder)
                counts = sample_counts(parameters, self._modalities)
                binder.prepare(counts, log=self._log, progress=progress)
            binder.embed_text(['warm up'])
        except Exception as error:
            if is_fatal(error):
                self._on_fatal(EXIT_DEVICE, fatal_line(error))
            raise
        return binder

    def _channels(self, parameters: Parameters) -> dict[str, ChannelDescription] | None:
        """Return the channels that this process describes; None for those of the training."""
        if not parameters.signals_channels or DESCRIBED not in (self._modalities or ()):
            return None
        from train.channel_file import read_channels

        try:
            return read_channels(Path(parameters.signals_channels), of_topics=True)
        except (OSError, ValueError) as error:
            raise ValueError(f'parameter signals_channels: {error}') from error

    def use(self, binder: Binder) -> None:
        """Encode with another model set from the next message on."""
        with self._lock:
            self._binder = binder
            if self.worker is not None:
                self.worker.use(binder)
        self.save_memory()

    def save_memory(self) -> None:
        """Return the memory that only loading needed, and the text tower's weights until asked."""
        with self._lock:
            if self._binder is not None:
                self._binder.unload_text()
        trim_heap()

    def close(self) -> None:
        """Stop the worker at the end of the process."""
        if self.worker is not None:
            self.worker.close()
        self._stop_watchdog()

    def _stop_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.close()
        self._watchdog = None


def warm_up(binder: Binder) -> None:
    """Run every encoder on dummy input, so that the first real sample is not slow."""
    samples = {name: _sample(name, binder) for name in binder.modalities if name in LIVE}
    for name, sample in samples.items():
        for _ in range(WARM_UP_RUNS):
            binder.observe(**{name: sample})
    if len(samples) > 1:
        binder.observe(**samples)


def _sample(modality: str, binder: Binder) -> object:
    if MODALITIES[modality].kind == 'series':
        return golden_input(modality, binder.preprocessing[modality])
    if MODALITIES[modality].kind == 'sound':
        return np.zeros((1, 16_000), np.float32), 16_000
    if MODALITIES[modality].pixels == 'colour':
        is_clip = MODALITIES[modality].kind == 'clip'
        return np.zeros((1, 64, 64, 3) if is_clip else (64, 64, 3), np.uint8)
    return np.full((64, 64), 1000, np.uint16)
