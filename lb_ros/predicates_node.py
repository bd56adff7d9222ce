"""The node that answers: scores, states, text queries, and waiting for a state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future

from encoders import (
    MODALITIES,
    Binder,
    ModelSetError,
    Predicate,
    PredicateBank,
    PredicateError,
    SpaceError,
    State,
)
from lb_ros.action import WaitForPredicate
from lb_ros.encoder_node import NEWEST
from lb_ros.encoding import Encoded
from lb_ros.messages import (
    predicate_from_message,
    predicate_message,
    scores_message,
    state_message,
    states_message,
)
from lb_ros.msg import Embedding, PredicateScores, PredicateState, PredicateStates
from lb_ros.parameters import Parameters
from lb_ros.scoring import Scoring
from lb_ros.srv import (
    AddPredicate,
    ListPredicates,
    LoadModel,
    QueryText,
    RemovePredicate,
    SetPredicates,
)
from lb_ros.stamps import to_ns

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DEFAULT_MAX_AGE_MS = 1000.0
GIVE_UP_WAIT = Duration(seconds=1)


class PredicatesNode(Node):
    """Node `predicates`.

    Args:
        binder: Text tower and calibration.
        predicates: To begin with.
        parameters: Of the process.
        listen: Subscribe to embedding topics; False where `receive` is called in process.
    """

    def __init__(
        self,
        binder: Binder,
        predicates: list[Predicate],
        *,
        parameters: Parameters,
        listen: bool = True,
        **node_options: Any,
    ) -> None:
        super().__init__('predicates', **node_options)
        self._scoring = Scoring(binder, PredicateBank(predicates, binder))
        self._settings = parameters
        self._dirty = False
        self._announced: list[str] | None = None
        self._told: set[str] = set()
        self._waiting: list[tuple[ServerGoalHandle, Future, float]] = []
        self.on_model: Callable[[Binder], None] = lambda binder: None
        self._scores = self.create_publisher(PredicateScores, 'predicates/scores', 10)
        self._states = self.create_publisher(PredicateStates, 'predicates/state', LATCHED)
        if listen:
            for name in MODALITIES:
                self.create_subscription(Embedding, f'embeddings/{name}', self._store, NEWEST)
        self._offer_services()
        self.create_timer(parameters.evaluate_period_ms * 1e-3, self._evaluate)
        # Without new evidence, states must still grow old.
        self.create_timer(0.2, self._mark_dirty)

    def _offer_services(self) -> None:
        services = (
            (QueryText, 'query', self._query),
            (SetPredicates, 'predicates/set', self._set),
            (AddPredicate, 'predicates/add', self._add),
            (RemovePredicate, 'predicates/remove', self._remove),
            (ListPredicates, 'predicates/list', self._list),
            (LoadModel, 'load_model', self._load_model),
        )
        for kind, name, callback in services:
            self.create_service(kind, name, callback)
        self._action = ActionServer(
            self,
            WaitForPredicate,
            'wait_for',
            self._wait_for,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
        )

    def receive(self, encoded: Encoded) -> None:
        """Take an embedding from the same process; called from the worker's thread."""
        space = self._scoring.binder.space
        self._scoring.receive(
            encoded.modality, encoded.vector, stamp_ns=encoded.stamp_ns, space=space
        )
        self._dirty = True

    def give_up(self, reason: str) -> None:
        """Say that every state is unknown, before the process ends."""
        stamp = self.get_clock().now().to_msg()
        message = PredicateStates(
            states=[
                PredicateState(name=p.name, probability=0.5, since=stamp, reason=reason)
                for p in self._scoring.bank.predicates
            ]
        )
        message.header.stamp = stamp
        self._states.publish(message)
        self._states.wait_for_all_acked(GIVE_UP_WAIT)

    def _store(self, message: Embedding) -> None:
        try:
            self._scoring.receive(
                message.modality,
                np.array(message.vector, np.float32),
                stamp_ns=to_ns(message.header.stamp),
                space=message.language_space,
            )
        except SpaceError as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                self.get_logger().error(str(error))
            return
        self._dirty = True

    def _mark_dirty(self) -> None:
        self._dirty = True

    def _evaluate(self) -> None:
        if not self._dirty:
            return
        self._dirty = False
        now_ns = self.get_clock().now().nanoseconds
        started_s = time.perf_counter()
        evaluation = self._scoring.evaluate(now_ns)
        if evaluation.newest_ns:
            score_ms = (time.perf_counter() - started_s) * 1e3
            space = self._scoring.binder.space
            message = scores_message(evaluation, space=space, now_ns=now_ns, score_ms=score_ms)
            self._scores.publish(message)
        # The latched message must list what is scored now, also before the first evidence.
        names = list(evaluation.states)
        if evaluation.changed or names != self._announced:
            self._announced = names
            self._states.publish(states_message(evaluation, now_ns=now_ns))
        self._serve_waiting(evaluation.states, evaluation.changed)

    def _query(self, request: QueryText.Request, response: QueryText.Response) -> Any:
        binder = self._scoring.binder
        try:
            bank = PredicateBank([], binder)
            names = [f'{index}' for index in range(len(request.texts))]
            for name, text in zip(names, request.texts, strict=True):
                bank.add(Predicate.from_sentence(text, name=name))
            if not names:
                raise PredicateError('there are no texts')
            if not request.max_age_ms >= 0:
                raise PredicateError(f'max_age_ms must be 0 or more, not {request.max_age_ms}')
            for name in request.modalities:
                if name not in binder.modalities:
                    known = ', '.join(binder.modalities)
                    raise PredicateError(f'unknown modality {name!r}, expected some of {known}')
        except (PredicateError, ValueError) as error:
            response.success, response.message = False, str(error)
            return response
        now_ns = self.get_clock().now().nanoseconds
        limit_ms = request.max_age_ms or DEFAULT_MAX_AGE_MS
        evidence = self._scoring.fresh(now_ns, limit_ms)
        asked = list(request.modalities) or list(binder.modalities)
        usable = {m: evidence[m].vector for m in asked if m in evidence}
        scores = bank.score(usable)
        response.success, response.modalities = True, asked
        response.similarities = [s.similarity.get(m, math.nan) for s in scores for m in asked]
        response.probabilities = [s.probability.get(m, math.nan) for s in scores for m in asked]
        response.fused = [s.fused if s.probability else math.nan for s in scores]
        response.ages_ms = [
            (now_ns - evidence[m].stamp_ns) * 1e-6 if m in evidence else -1.0 for m in asked
        ]
        response.reasons = [
            '' if m in evidence else f'no {m} embedding in the last {limit_ms:.0f} ms'
            for m in asked
        ]
        return response

    def _set(self, request: SetPredicates.Request, response: SetPredicates.Response) -> Any:
        try:
            predicates = [predicate_from_message(message) for message in request.predicates]
            binder = self._scoring.binder
            self._scoring = Scoring(binder, PredicateBank(predicates, binder))
        except PredicateError as error:
            response.message = str(error)
            return response
        response.success = True
        return response

    def _add(self, request: AddPredicate.Request, response: AddPredicate.Response) -> Any:
        try:
            self._scoring.add(predicate_from_message(request.predicate))
        except PredicateError as error:
            response.message = str(error)
            return response
        response.success = True
        return response

    def _remove(self, request: RemovePredicate.Request, response: RemovePredicate.Response) -> Any:
        try:
            self._scoring.remove(request.name)
        except KeyError as error:
            response.message = str(error.args[0])
            return response
        response.success = True
        return response

    def _list(self, request: ListPredicates.Request, response: ListPredicates.Response) -> Any:
        response.predicates = [predicate_message(p) for p in self._scoring.bank.predicates]
        return response

    def _load_model(self, request: LoadModel.Request, response: LoadModel.Response) -> Any:
        try:
            binder = Binder.load(request.model, device=self._settings.device)
        except (ModelSetError, SpaceError, KeyError) as error:
            response.message = str(error)
            return response
        predicates = list(self._scoring.bank.predicates)
        self._scoring = Scoring(binder, PredicateBank(predicates, binder))
        self.on_model(binder)
        response.success, response.language_space = True, binder.space
        return response

    async def _wait_for(self, goal: ServerGoalHandle) -> WaitForPredicate.Result:
        request = goal.request
        names = [predicate.name for predicate in self._scoring.bank.predicates]
        if request.name not in names or request.state not in set(State):
            goal.abort()
            message = f'no predicate {request.name!r}, or no state {request.state}'
            return WaitForPredicate.Result(message=message)
        limit_s = time.monotonic() + request.timeout_s if request.timeout_s > 0 else math.inf
        future = Future()
        self._waiting.append((goal, future, limit_s))
        self._dirty = True
        result: WaitForPredicate.Result = await future
        if goal.is_cancel_requested:
            goal.canceled()
        elif result.reached:
            goal.succeed()
        else:
            goal.abort()
        return result

    def _serve_waiting(self, states: dict[str, Any], changed: tuple[str, ...]) -> None:
        for entry in list(self._waiting):
            goal, future, limit_s = entry
            name, tracked = goal.request.name, states.get(goal.request.name)
            if tracked is None:
                message = f'predicate {name!r} was removed'
            elif tracked.state == goal.request.state or goal.is_cancel_requested:
                message = 'canceled' if goal.is_cancel_requested else ''
            elif time.monotonic() >= limit_s:
                message = f'still {tracked.state.name} after {goal.request.timeout_s:.1f} s'
            else:
                if name in changed:
                    state = state_message(name, tracked)
                    goal.publish_feedback(WaitForPredicate.Feedback(state=state))
                continue
            self._waiting.remove(entry)
            probability = 0.5 if tracked is None else tracked.probability
            future.set_result(
                WaitForPredicate.Result(
                    reached=not message, message=message, probability=probability
                )
            )
