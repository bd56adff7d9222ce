"""Ask running nodes from Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from encoders import Predicate, State
from lb_ros.action import WaitForPredicate
from lb_ros.dds_profile import use_dds_profile
from lb_ros.messages import predicate_message
from lb_ros.srv import AddPredicates, QueryText, RemovePredicates


class NotAnsweredError(RuntimeError):
    """The nodes did not answer in time, or refused; the text says why."""


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """What the sensors say about one sentence; None or missing where there is no evidence.

    Attributes:
        text: The sentence.
        fused: Probability from all modalities that can tell.
        probability, similarity: By modality.
        reasons: Modality to why it has no evidence.
    """

    text: str
    fused: float | None
    probability: dict[str, float | None]
    similarity: dict[str, float | None]
    reasons: dict[str, str]


class PredicateClient:
    """A client of a running `predicates` node.

    Use as a context manager:

        with PredicateClient() as client:
            print(client.query(['the drawer is open'])[0].fused)

    Args:
        timeout_s: How long to wait for the node and for each answer.
        namespace: Of the node.
    """

    def __init__(self, *, timeout_s: float = 5.0, namespace: str = '') -> None:
        self._timeout_s = timeout_s
        self._owns_context = not rclpy.ok()
        if self._owns_context:
            use_dds_profile()
            rclpy.init()
        self._node = Node('predicate_client', namespace=namespace or None)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)

    def __enter__(self) -> PredicateClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        if self._owns_context:
            rclpy.try_shutdown()

    def query(
        self, texts: Sequence[str], *, modalities: Sequence[str] = (), max_age_ms: float = 1000.0
    ) -> list[TextAnswer]:
        """Compare sentences with the newest evidence.

        Raises:
            NotAnsweredError: No answer in time, or a sentence or modality is not usable.
        """
        request = QueryText.Request(
            texts=list(texts), modalities=list(modalities), max_age_ms=max_age_ms
        )
        response = self._call(QueryText, 'query', request)
        columns = list(response.modalities)
        reasons = {m: r for m, r in zip(columns, response.reasons, strict=True) if r}

        def row(values: Sequence[float], index: int) -> dict[str, float | None]:
            start = index * len(columns)
            cells = values[start : start + len(columns)]
            return {m: _known(v) for m, v in zip(columns, cells, strict=True)}

        return [
            TextAnswer(
                text=text,
                fused=_known(response.fused[index]),
                probability=row(response.probabilities, index),
                similarity=row(response.similarities, index),
                reasons=reasons,
            )
            for index, text in enumerate(texts)
        ]

    def add(self, predicate: Predicate) -> None:
        """Add a predicate to those that are scored.

        Raises:
            NotAnsweredError: No answer in time, or the predicate is not usable.
        """
        request = AddPredicates.Request(predicates=[predicate_message(predicate)])
        self._call(AddPredicates, 'predicates/add', request)

    def remove(self, name: str) -> None:
        """Remove a predicate.

        Raises:
            NotAnsweredError: No answer in time, or there is none of that name.
        """
        self._call(RemovePredicates, 'predicates/remove', RemovePredicates.Request(names=[name]))

    def wait_for(self, name: str, *, state: State = State.TRUE, timeout_s: float = 30.0) -> bool:
        """Wait until a predicate has a state; False where it does not within `timeout_s`.

        Raises:
            NotAnsweredError: There is no such node or predicate.
        """
        client = ActionClient(self._node, WaitForPredicate, 'wait_for')
        try:
            if not client.wait_for_server(self._timeout_s):
                raise NotAnsweredError(f'no node offers wait_for within {self._timeout_s:.1f} s')
            goal = WaitForPredicate.Goal(name=name, state=int(state), timeout_s=timeout_s)
            handle = self._wait(client.send_goal_async(goal), self._timeout_s)
            result = self._wait(handle.get_result_async(), timeout_s + self._timeout_s).result
        finally:
            client.destroy()
        if result.message.startswith('no predicate'):
            raise NotAnsweredError(result.message)
        return bool(result.reached)

    def _call(self, kind: Any, name: str, request: Any) -> Any:
        client = self._node.create_client(kind, name)
        try:
            if not client.wait_for_service(self._timeout_s):
                raise NotAnsweredError(
                    f'no node offers {name} within {self._timeout_s:.1f} s; is bringup running?'
                )
            response = self._wait(client.call_async(request), self._timeout_s)
        finally:
            self._node.destroy_client(client)
        if not response.success:
            raise NotAnsweredError(response.message)
        return response

    def _wait(self, future: Any, timeout_s: float) -> Any:
        self._executor.spin_until_future_complete(future, timeout_s)
        if not future.done():
            raise NotAnsweredError(f'no answer within {timeout_s:.1f} s')
        return future.result()


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
