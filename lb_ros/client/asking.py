"""The requests of a client: futures on a shared listener, ended when the client closes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from rclpy.node import Node

from lb_ros.client.answers import NotAnsweredError
from lb_ros.client.guard import Dispatcher
from lb_ros.client.listening import Limits, Listener
from lb_ros.client.requests import wait_outcome
from lb_ros.client.shared_listener import acquire, release

Result = TypeVar('Result')
Self = TypeVar('Self', bound='Asking')


class Asking:
    """Base class of `LanguageClient`: opens and closes it, and turns requests into futures."""

    def __init__(
        self, node: Node | None = None, *, namespace: str = '', timeout_s: float = 5.0
    ) -> None:
        self.timeout_s = timeout_s
        self._listener: Listener = acquire(node, namespace)
        self._logger = self._listener.node.get_logger()
        self._dispatcher = Dispatcher(lambda line: self._logger.error(line))
        self._open: set[Future[Any]] = set()
        self._closers: set[Callable[[], None]] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all requests, watches and guards; the last client leaves the ROS graph."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            closers, futures = list(self._closers), list(self._open)
        for close in closers:
            close()
        for future in futures:
            with contextlib.suppress(Exception):  # the future has ended meanwhile
                future.set_exception(NotAnsweredError('the client was closed'))
        self._dispatcher.close()
        release(self._listener)

    def _call(
        self,
        kind: Any,
        name: str,
        request: Any,
        result: Callable[[Any], Result],
        *,
        answer_s: float = 0.0,
    ) -> Future[Result]:
        """Call a service; the future returns `result(response)`."""
        limits = Limits(self.timeout_s, answer_s or self.timeout_s)

        async def ask(answer: Future[Result]) -> Result:
            response = await self._listener.call(kind, name, request, limits=limits, answer=answer)
            if not getattr(response, 'success', True):
                reasons = getattr(response, 'reasons', ())
                refused = getattr(response, 'refused', ())
                raise NotAnsweredError(
                    response.message, refused=dict(zip(refused, reasons, strict=True))
                )
            if hasattr(response, 'active'):
                await self._listener.settle(lambda states: set(states) == set(response.active))
            return result(response)

        return self._keep(self._listener.submit(ask))

    def _send(
        self,
        goal: Any,
        on_probability: Callable[[float], None] | None = None,
        *,
        result: Callable[[bool, str], Any] = lambda reached, name: reached,
    ) -> Future[Any]:
        """Send a goal; the future returns `result(reached, name of the predicate)`."""

        def feedback(message: Any) -> None:
            if on_probability is not None:
                self._dispatcher.call(on_probability, message.feedback.probability)

        limits = Limits(self.timeout_s, self.timeout_s)

        async def wait(answer: Future[Any]) -> Any:
            found = await self._listener.wait(
                goal, feedback=feedback, limits=limits, answer=answer
            )
            return None if found is None else result(*wait_outcome(found))

        return self._keep(self._listener.submit(wait))

    def _keep(self, future: Future[Result]) -> Future[Result]:
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        if self._is_closed:
            with contextlib.suppress(Exception):  # the future has ended meanwhile
                future.set_exception(NotAnsweredError('the client was closed'))
        return future

    def _closes(self, close: Callable[[], None]) -> None:
        """Call `close` when the client closes, unless `_closed(close)` was called before."""
        with self._lock:
            self._closers.add(close)

    def _closed(self, close: Callable[[], None]) -> None:
        with self._lock:
            self._closers.discard(close)

    def _wait(self, future: Future[Result]) -> Result:
        self._check_thread()
        try:
            return future.result()
        except BaseException:  # includes Ctrl-C: the result is no longer needed
            future.cancel()
            raise

    def _check_thread(self) -> None:
        if threading.current_thread() is self._listener.thread:
            raise RuntimeError(
                'this would block the thread that receives all answers: in a done callback, '
                'use query_async and wait_async'
            )
