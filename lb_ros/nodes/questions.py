"""Services `query` and `predicates/attention`: questions about the current or recent evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from rclpy.callback_groups import CallbackGroup

from encoders.predicates.scoring import Scoring
from lb_ros.nodes.answering import DEFAULT_MAX_AGE_MS, WAIT_S, RecentlyAsked, answer
from lb_ros.nodes.attention import attention
from lb_ros.ros.lifecycle import elsewhere
from lb_ros.ros.qos import MANY
from lb_ros.ros.refusals import Serve
from lb_ros.ros.stamps import to_ns
from lb_ros.srv import GetAttention, QueryText

if TYPE_CHECKING:
    from lb_ros.nodes.predicates_node import PredicatesNode

Response = TypeVar('Response', QueryText.Response, GetAttention.Response)


class Questions:
    """Answers questions on a thread of its own; modalities that one uses are encoded for a while.

    Args:
        node: Node `predicates`.
        watched: Wraps the callback of a service, given the service's name.
        scoring: Returns the scoring of the active node; None if it is not active.
        used: Returns whether a modality is encoded without a question.
        wake: Called when a question needs modalities that have not been encoded.
        callback_group: Callback group of the services.
    """

    def __init__(
        self,
        node: PredicatesNode,
        *,
        watched: Callable[[str, Serve], Serve],
        scoring: Callable[[], Scoring | None],
        used: Callable[[str], bool],
        wake: Callable[[], None],
        callback_group: CallbackGroup,
    ) -> None:
        self._node, self._scoring, self._used, self._wake = node, scoring, used, wake
        self._recent = RecentlyAsked()
        self._pool = ThreadPoolExecutor(1, 'query')
        for kind, name, callback in (
            (QueryText, 'query', self._query),
            (GetAttention, 'predicates/attention', self._attention),
        ):
            node.create_service(
                kind,
                name,
                watched(name, callback),
                callback_group=callback_group,
                qos_profile=MANY,
            )

    def __contains__(self, modality: str) -> bool:
        """Return whether a recent question uses a modality."""
        return modality in self._recent

    async def _query(
        self, request: QueryText.Request, response: QueryText.Response
    ) -> QueryText.Response:
        def reply(scoring: Scoring, now_ns: int) -> QueryText.Response:
            return answer(scoring, request, now_ns=now_ns)

        since_ms = None
        if not to_ns(request.at) and not request.ago_s:
            since_ms = request.max_age_ms or DEFAULT_MAX_AGE_MS
        return await self._reply(response, list(request.modalities), since_ms, reply)

    async def _attention(
        self, request: GetAttention.Request, response: GetAttention.Response
    ) -> GetAttention.Response:
        def reply(scoring: Scoring, now_ns: int) -> GetAttention.Response:
            resolve = self._node.resolve_topic_name
            return attention(scoring, request, now_ns=now_ns, resolve=resolve)

        since_ms = None if to_ns(request.at) else DEFAULT_MAX_AGE_MS
        return await self._reply(response, [request.modality], since_ms, reply)

    async def _reply(
        self,
        response: Response,
        modalities: Sequence[str],
        since_ms: float | None,
        reply: Callable[[Scoring, int], Response],
    ) -> Response:
        """Reply on another thread, with evidence of the modalities (empty for all of the set).

        If some have not been encoded, first wait for evidence of the last `since_ms`; None if the
        question is about the past, for which new evidence does not help.
        """
        await self._node.transitions.settled()
        scoring = self._scoring()
        if scoring is None:
            response.message = f'{self._node.get_name()} is not active'
            return response
        readouts = scoring.bank.binder.readouts
        asked = list(modalities) or list(scoring.bank.binder.modalities)
        new = [name for name in asked if not self._used(name) and name not in self._recent]
        self._recent.add(asked)
        if new:
            self._wake()

        def work() -> Response:
            if new and since_ms is not None:
                since_ns = self._now_ns() - round(since_ms * 1e6)
                scoring.await_evidence(new, since_ns=since_ns, timeout_s=WAIT_S, tokens=readouts)
            return reply(scoring, self._now_ns())

        return await elsewhere(self._node, self._pool, work)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
