"""Counts and log lines of refused requests; the response gives the caller the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lb_ros.engine.health import Log
from lb_ros.engine.throttle import Throttle

Serve = Callable[[Any, Any], Awaitable[Any]]


class Refusals:
    """Refused requests by service; used only from the executor's thread.

    Args:
        log: Receives warnings, throttled by `Throttle`.
    """

    def __init__(self, log: Log) -> None:
        self._log, self._throttle = log, Throttle()

    def watched(self, service: str, serve: Serve) -> Serve:
        """Wrap the callback of a service to record its unsuccessful responses."""

        async def noted(request: Any, response: Any) -> Any:
            response = await serve(request, response)
            if not response.success:
                again = self._throttle.note(service)
                if again is not None:
                    self._log(f'{service} was refused: {response.message}{again}')
            return response

        return noted

    def values(self) -> dict[str, str]:
        """Return the numbers of refused requests by service, for `/diagnostics`."""
        return {f'refused_{name}': str(count) for name, count in self._throttle.counts.items()}
