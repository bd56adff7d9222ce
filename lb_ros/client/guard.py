"""Watches and guards: handles of a client that are active until they are closed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from encoders import State
from lb_ros.client.heard import Ear, Heard, States


class Dispatcher:
    """Runs callbacks one after the other on its own thread, so that they may block on requests.

    Args:
        failed: Called with a message for each callback that raised.
    """

    def __init__(self, failed: Callable[[str], None]) -> None:
        self._failed = failed
        self._calls: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def call(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Queue a call."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name='lb_ros callbacks', daemon=True
                )
                self._thread.start()
        self._calls.put((callback, arguments))

    def close(self) -> None:
        """Discard queued calls and end the thread."""
        self._is_closed = True
        self._calls.put(None)

    def _run(self) -> None:
        while (found := self._calls.get()) is not None:
            callback, arguments = found
            if self._is_closed:
                return
            try:
                callback(*arguments)
            except Exception as error:  # later callbacks still run
                name = getattr(callback, '__name__', repr(callback))
                self._failed(f'callback {name} failed: {type(error).__name__}: {error}')


@dataclass
class Watch:
    """A running `watch`; call `close` to end it."""

    close: Callable[[], None] = field(repr=False)


class NotHeldError(RuntimeError):
    """A guarded predicate has stopped holding; the message gives the reason."""


class Guard:
    """Tracks whether a predicate has kept a state; see `LanguageClient.while_holds`.

    It ends permanently when the predicate has another state, including UNKNOWN, when it is
    removed, or when the node dies. As a context manager it closes itself.

    Attributes:
        reason: Why the guard ended; empty while the predicate holds.
    """

    def __init__(
        self,
        heard: Heard,
        name: str,
        state: State,
        on_end: Callable[[str], None] | None,
        *,
        dispatcher: Dispatcher,
        on_close: Callable[[Guard], None],
    ) -> None:
        self._heard, self._name, self._state = heard, name, state
        self._on_end, self._dispatcher, self._on_close = on_end, dispatcher, on_close
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._is_closed = False
        self.reason = ''
        self._ear = Ear(self._look, self._end)

    def begin(self, timeout_s: float) -> Guard:
        """Check the current states, and from now on every change.

        Raises:
            NotAnsweredError: No node published states in time, or it has died.
        """
        self._heard.states(timeout_s)
        states = self._heard.add(self._ear)
        if states is None:
            self._end(self._heard.gone_line())
        else:
            self._look(states)
        return self

    def _look(self, states: States) -> None:
        status = states.get(self._name)
        if status is None:
            self._end(f'no predicate {self._name!r} is scored')
        elif status.state is not self._state:
            self._end(f'{self._name} is {status.state.name}: {status.reason}')

    def _end(self, reason: str) -> None:
        with self._lock:
            if self._is_closed or self._ended.is_set():
                return
            self.reason = reason
            self._ended.set()
        self._heard.remove(self._ear)
        self._on_close(self)
        if self._on_end is not None:
            self._dispatcher.call(self._report, reason)

    def _report(self, reason: str) -> None:
        if not self._is_closed and self._on_end is not None:
            self._on_end(reason)

    @property
    def holds(self) -> bool:
        """Whether the predicate has kept its state so far."""
        return not self._ended.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return whether it stops holding within `timeout_s` (None: no limit)."""
        return self._ended.wait(timeout_s)

    def check(self) -> None:
        """Raise `NotHeldError` with the reason if the predicate has stopped holding."""
        if self._ended.is_set():
            raise NotHeldError(self.reason)

    def close(self) -> None:
        """Stop guarding; `on_end` is not called afterwards."""
        with self._lock:
            self._is_closed = True
        self._heard.remove(self._ear)
        self._on_close(self)

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
