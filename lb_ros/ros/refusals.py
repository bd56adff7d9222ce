"""Requests that a node refuses: who asked is told why; here they are counted and logged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lb_ros.engine.health import Log
from lb_ros.engine.throttle import Throttle

Serve = Callable[[Any, Any], Awaitable[Any]]


class Refusals:
    """Refused requests by service, used from the executor's thread alone.

    Args:
        log: Takes warnings, a few at most; see `Throttle`.
    """

    def __init__(self, log: Log) -> None:
        self._log, self._throttle = log, Throttle()

    def watched(self, service: str, serve: Serve) -> Serve:
        """The callback of a service, whose answers without success are noted."""

        async def noted(request: Any, response: Any) -> Any:
            response = await serve(request, response)
            if not response.success:
                again = self._throttle.note(service)
                if again is not None:
                    self._log(f'{service} was refused: {response.message}{again}')
            return response

        return noted

    def values(self) -> dict[str, str]:
        """For `/diagnostics`: how many, by service."""
        return {f'refused_{name}': str(count) for name, count in self._throttle.counts.items()}
