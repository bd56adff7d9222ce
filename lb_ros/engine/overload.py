"""Policy for a device that runs out of memory: smaller batches, then fewer sensors.

Also distinguishes errors after which no CUDA call can succeed from temporary ones.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

Sample = TypeVar('Sample')
Result = TypeVar('Result')
Encode = Callable[[list[Sample]], list[Result]]

RECOVER_S = 30.0
MAX_RECOVER_S = 600.0
# PyTorch has no exception class for failed allocations on the CPU.
CPU_WORDS = "DefaultCPUAllocator: can't allocate memory"
FATAL_WORDS = ('CUDA error', 'device-side assert', 'cuDNN error', 'CUBLAS_STATUS', 'HIP error')


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error is a failed allocation, on an accelerator or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and CPU_WORDS in str(error)


def is_fatal(error: BaseException) -> bool:
    """Return whether the process can no longer use its device after this error."""
    if lacks_memory(error):
        return False
    accelerator = getattr(torch, 'AcceleratorError', None)
    if accelerator is not None and isinstance(error, accelerator):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in FATAL_WORDS)


def fatal_line(error: BaseException) -> str:
    """Return the line to log about a fatal error before the process ends."""
    return f'the device failed for good: {error}'.splitlines()[0]


def free_memory() -> None:
    """Release unreferenced memory to the device."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # of PyTorch
        torch.cuda.empty_cache()


class MemoryPolicy:
    """Encodes batches so that lack of memory degrades the service but never stops it.

    When memory runs out, the batch is halved; a single sample is retried once with an empty cache;
    then the sensor of the lowest priority is shed. After `recover_s` without failures the last
    measure is reverted; if that fails, the next attempt follows after twice the time.

    Args:
        max_batch: Initial number of samples per call.
        recover_s: See above.
        log: Receives a line for every measure.
        clock: Returns monotonic seconds.

    Attributes:
        batch: Current number of samples per call.
        shed: Sensors that are not served, in the order in which they were shed.
        priorities: Sensors, the most important first. The first is never shed.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        log: Callable[[str], None],
        recover_s: float = RECOVER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_batch = self.batch = max(1, max_batch)
        self.priorities: list[str] = []
        self.shed: list[str] = []
        self.out_of_memory = 0
        self._log, self._clock = log, clock
        self._first_recover_s = self._recover_s = recover_s
        self._measure_s = 0.0
        self._on_trial = False

    def admits(self, sensor: str) -> bool:
        """Return whether messages of a sensor are encoded."""
        return sensor not in self.shed

    def run(
        self, sensors: Sequence[str], samples: Sequence[Sample], encode: Encode[Sample, Result]
    ) -> list[Result | None]:
        """Encode samples in calls of at most `batch`; the result of a shed sample is None.

        Args:
            sensors: Sensor of each sample.
            samples: Samples, as many as `sensors`.
            encode: Called with some of the samples; may raise errors that `lacks_memory` accepts.
        """
        self._recover()
        results: list[Result | None] = [None] * len(samples)
        waiting = list(range(len(samples)))
        is_retry = False
        while waiting:
            part = waiting[: self.batch]
            try:
                found = encode([samples[index] for index in part])
            except (MemoryError, RuntimeError) as error:
                if not lacks_memory(error):
                    raise
                self._free(error)
                if len(part) > 1:
                    self._halve(len(part))
                elif not is_retry:
                    is_retry = True
                elif self._shed_one():
                    waiting = [index for index in waiting if self.admits(sensors[index])]
                else:  # no sensor is left to shed: drop this sample, the next one may fit
                    waiting, is_retry = waiting[1:], False
                continue
            is_retry = False
            for index, result in zip(part, found, strict=True):
                results[index] = result
            waiting = waiting[len(part) :]
        return results

    def _free(self, error: Exception) -> None:
        self.out_of_memory += 1
        if self._on_trial:
            self._recover_s = min(2 * self._recover_s, MAX_RECOVER_S)
        self._on_trial = False
        self._measure_s = self._clock()
        error.__traceback__ = None  # its frames hold the tensors that did not fit
        free_memory()

    def _halve(self, size: int) -> None:
        self.batch = max(1, size // 2)
        self._log(f'out of memory: at most {self.batch} samples at once from now on')

    def _shed_one(self) -> bool:
        left = [sensor for sensor in self.priorities if self.admits(sensor)]
        if len(left) < 2:
            self._log('out of memory with a single sensor: its sample is lost')
            return False
        self.shed.append(left[-1])
        self._log(f'out of memory: {left[-1]} is shed, the sensor of the lowest priority')
        return True

    def _recover(self) -> None:
        if self._clock() - self._measure_s < self._recover_s:
            return
        if not self.shed and self.batch == self.max_batch:
            self._recover_s, self._on_trial = self._first_recover_s, False
            return
        self._measure_s, self._on_trial = self._clock(), True
        if self.shed:
            self._log(f'{self.shed.pop()} is tried again')
            return
        self.batch = min(2 * self.batch, self.max_batch)
        self._log(f'up to {self.batch} samples at once are tried again')
