"""The node `predicates`: scores, states, text queries, and waiting for a state."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from encoders import (
    LIVE,
    Binder,
    Predicate,
    PredicateBank,
    PredicateError,
    SpaceError,
    load_predicates,
)
from encoders.predicates.history import MB
from encoders.predicates.readout import TokensError
from encoders.predicates.scoring import Evaluation, Scoring
from encoders.predicates.taught_file import usable_lessons
from encoders.predicates.tracks import Tracks
from encoders.regions import modality_of
from lb_ros.engine.arrival import Encoded
from lb_ros.engine.background import background_pool
from lb_ros.msg import PredicateScores, PredicateStates
from lb_ros.nodes.classification import Classifications
from lb_ros.nodes.confinement import check_confined
from lb_ros.nodes.encoder_node import LOAD_ERRORS
from lb_ros.nodes.evidence_topics import EvidenceTopics
from lb_ros.nodes.model_service import Followers
from lb_ros.nodes.pacing import Deadlines, Pacing
from lb_ros.nodes.predicate_services import PredicateServices
from lb_ros.nodes.questions import Questions
from lb_ros.nodes.shared_model import SharedModel
from lb_ros.nodes.teaching import TeachingServices, with_taught
from lb_ros.nodes.waiting import Waiting
from lb_ros.parameter_table import Parameters
from lb_ros.ros.executor import AtOnce
from lb_ros.ros.lifecycle import FAILURE, SUCCESS, Transitions, attempt, elsewhere
from lb_ros.ros.messages import scores_message, states_message, unknown_states
from lb_ros.ros.parameters import Settings, predicates_file, regions_of, taught_file
from lb_ros.ros.qos import MANY, STATES
from lb_ros.ros.refusals import Refusals
from lb_ros.srv import GetTime, LoadModel

# Without new evidence, scores are still published this often, with updated ages.
QUIET_PERIOD_S = 0.2
GIVE_UP_WAIT = Duration(seconds=1)
# Evaluations take at most this share of the time, however many predicates there are.
BUSY_SHARE = 0.25


class PredicatesNode(LifecycleNode):
    """Node `predicates`; call `connect` before its first transition."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('predicates', **node_options)
        self._model: SharedModel | None = None
        self._settings: Settings | None = None
        self._refusals = Refusals(self.get_logger().warning)
        self.transitions = Transitions(
            self,
            answer_within_s=lambda: self._values().answer_within_s,
            more=self._refusals.values,
        )
        self._source = ''
        self._followers: Followers | None = None
        self._topics: EvidenceTopics | None = None
        self._scoring: Scoring | None = None
        self._is_open = self._is_loading = self._has_news = False
        self._announced: tuple[str, ...] | None = None
        self._told: set[str] = set()
        self._pacing = Pacing(
            self,
            self._evaluate,
            period_s=self._values().evaluate_period_ms * 1e-3,
            busy_share=BUSY_SHARE,
        )
        # A new subscriber gets scores immediately, even without new evidence.
        matched = PublisherEventCallbacks(matched=lambda info: self._pacing.ask())
        self._scores = self.create_lifecycle_publisher(
            PredicateScores, 'predicates/scores', 10, event_callbacks=matched
        )
        self._states = self.create_lifecycle_publisher(PredicateStates, 'predicates/state', STATES)
        self._classifications = Classifications(self)
        self._changes = background_pool('predicate change')
        at_once = AtOnce()
        self._offer_services(at_once)
        self._waiting = Waiting(
            self, states=self._evaluated, evaluate=self._pacing.ask, callback_group=at_once
        )
        back = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
        )
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=self._jumped)

    def connect(self, model: SharedModel, settings: Settings, *, listen: bool = True) -> None:
        """Set the model set, whose text tower and calibration are used, and the settings.

        Args:
            model: Model set of the process.
            settings: Settings of the process.
            listen: Subscribe to topics of evidence; False if `receive` is called in process.
        """
        self._model, self._settings = model, settings
        self.changed(settings.values)
        self._followers = Followers(self) if listen else None
        if listen:
            sensors = (*LIVE, *(region.sensor for region in regions_of(settings.values)))
            self._topics = EvidenceTopics(self, self._hear, sensors=sensors)

    def _values(self) -> Parameters:
        return Parameters() if self._settings is None else self._settings.values

    def _offer_services(self, at_once: AtOnce) -> None:
        # Changes run one at a time, queries are never delayed, other services run at any time.
        changes, any_time = MutuallyExclusiveCallbackGroup(), ReentrantCallbackGroup()
        watched = self._refusals.watched
        load_model = watched('load_model', self._load_model)
        self.create_service(
            GetTime, 'predicates/time', self._time, callback_group=at_once, qos_profile=MANY
        )
        self._questions = Questions(
            self,
            watched=watched,
            scoring=lambda: self._scoring if self._is_open else None,
            used=self._uses,
            wake=self._wake,
            callback_group=at_once,
        )
        self.create_service(LoadModel, 'load_model', load_model, callback_group=changes)
        self._predicate_services = PredicateServices(
            self,
            watched=watched,
            scoring=lambda: self._scoring,
            changed=self._pacing.ask,
            pool=self._changes,
            changes=changes,
            any_time=any_time,
        )
        self._teaching = TeachingServices(
            self,
            watched=watched,
            scoring=lambda: self._scoring if self._is_open else None,
            changed=self._pacing.ask,
            path=lambda: taught_file(self._values()),
            pool=self._changes,
            changes=changes,
        )

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the predicates; load the model set unless another node of the process has."""
        errors = (*LOAD_ERRORS, PredicateError)
        outcome = attempt(self, self.transitions, self._configure, *errors)
        if outcome is not SUCCESS:
            self._let_go()
        return outcome

    def _configure(self) -> None:
        assert self._model is not None, 'connect comes first'
        values = self._values()
        predicates = load_predicates(predicates_file(values))
        binder = self._model.acquire(self.get_name(), progress=self.transitions.tell)
        self._source = values.model
        self.transitions.activity = f'embedding the sentences of {len(predicates)} predicates'
        self._scoring = self._scoring_of(predicates, binder)

    def _scoring_of(self, predicates: Sequence[Predicate], binder: Binder) -> Scoring:
        values = self._values()
        warn = self.get_logger().warning
        lessons = usable_lessons(taught_file(values), binder, warn=warn)
        return Scoring(
            PredicateBank(
                with_taught(predicates, lessons),
                binder,
                readout_budget_ms=values.readout_budget_ms,
                lessons=lessons,
                regions=[region.sensor for region in regions_of(values)],
            ),
            history_s=values.history_s,
            tokens_bytes=_tokens_bytes(values),
        )

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start scoring."""
        if self._scoring is None:
            return FAILURE
        outcome = super().on_activate(state)
        self._scoring.reset()
        self._announced, self._is_open = None, True
        self._pacing.ask()
        return outcome

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop scoring; the latched states become UNKNOWN."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model set and remove all predicates."""
        self._let_go()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Do the work of `on_deactivate` and `on_cleanup`."""
        self._stop()
        self.on_cleanup(state)
        return super().on_shutdown(state)

    def _let_go(self) -> None:
        self._scoring = None
        if self._model is not None:
            self._model.release(self.get_name())

    def _stop(self) -> None:
        was_open, self._is_open = self._is_open, False
        if self._scoring is None or not was_open:
            return
        self._pacing.ask()  # to stop receiving tokens
        self._waiting.give_up(f'{self.get_name()} was deactivated')
        self._publish_unknown('deactivated')

    def _publish_unknown(self, reason: str) -> None:
        scoring, now_ns = self._scoring, self.get_clock().now().nanoseconds
        names = [p.name for p in (scoring.bank.predicates if scoring else ())]
        self._states.publish(unknown_states(names, reason, now_ns=now_ns))

    def changed(self, values: Parameters) -> None:
        """Apply changed parameters."""
        self._pacing.period_s = values.evaluate_period_ms * 1e-3
        if self._scoring is not None:
            self._scoring.keep(history_s=values.history_s, tokens_bytes=_tokens_bytes(values))

    async def _evaluated(self) -> Tracks | None:
        await self.transitions.settled()
        scoring = self._scoring
        return None if scoring is None or not self._is_open else scoring.states

    def _jumped(self, jump: TimeJump) -> None:
        self._waiting.shift(jump.delta.nanoseconds)
        if self._scoring is not None:
            self._scoring.reset()
        self._pacing.ask()

    def receive(self, batch: Sequence[Encoded]) -> None:
        """Accept embeddings of the same process and evaluate soon; callable from any thread."""
        for each in batch:
            scoring = self._scoring
            if scoring is None or each.space != scoring.bank.space:
                continue  # computed by a model set that has just been replaced
            self._take(each)
        self._evaluate_news()

    def _evaluate_news(self) -> None:
        if self._has_news:
            self._has_news = False
            self._pacing.ask()

    def needs(self, sensor: str) -> bool:
        """Return whether a predicate or a recent question uses a sensor (`depth@gripper`)."""
        return self._is_open and (self._uses(sensor) or sensor in self._questions)

    def _uses(self, sensor: str) -> bool:
        column = None if self._scoring is None else self._scoring.bank.table.columns.get(sensor)
        return column is not None and bool(column.asked.any())

    def _wake(self) -> None:
        """Encode what a question has just made needed."""
        worker = None if self._model is None else self._model.worker
        if worker is not None:
            worker.look()
        self._follow()

    def give_up(self, reason: str) -> None:
        """Publish all states as UNKNOWN before the process ends; callable from any thread."""
        if self._scoring is None:
            return
        self._publish_unknown(reason)
        self._states.wait_for_all_acked(GIVE_UP_WAIT)

    def _hear(self, encoded: Encoded) -> None:
        self._take(encoded)
        self._evaluate_news()

    def _take(self, encoded: Encoded) -> None:
        scoring = self._scoring
        if scoring is None or not self._is_open:
            return
        # Tokens of another readout mean something else; its vectors are of the same space.
        readouts = scoring.bank.binder.readout_ids
        is_ours = encoded.readout == readouts.get(modality_of(encoded.modality))
        try:
            scoring.receive(
                encoded.modality,
                encoded.vector,
                stamp_ns=encoded.stamp_ns,
                space=encoded.space,
                source=encoded.source,
                invalid_reason=encoded.invalid_reason,
                tokens=encoded.tokens if is_ours else None,
                statistics=encoded.statistics,
            )
        except (SpaceError, TokensError) as error:
            # While a model set is being loaded, the other processes switch at different times.
            if not self._is_loading and str(error) not in self._told:
                self._told.add(str(error))
                self.get_logger().error(str(error))
            return
        self._has_news = True

    def _follow(self) -> None:
        """Subscribe to tokens where the current predicates and queries need them."""
        if self._topics is not None:
            table = None if self._scoring is None else self._scoring.bank.table.tokens
            readouts = () if table is None else table.columns
            self._topics.follow({name for name in readouts if self.needs(name)})

    def _evaluate(self, now_ns: int) -> Deadlines:
        self._follow()
        scoring = self._scoring
        if scoring is None or not self._is_open:
            return Deadlines()
        started_s = time.perf_counter()
        evaluation = scoring.evaluate(now_ns)
        score_ms = (time.perf_counter() - started_s) * 1e3
        worker = None if self._model is None else self._model.worker
        if worker is not None:
            worker.stages.add(score=score_ms)
        self._announce(evaluation, now_ns)
        self._waiting.serve(evaluation.states)
        is_heard = evaluation.newest_ns > 0 and self._scores.get_subscription_count() > 0
        if is_heard:
            self._scores.publish(scores_message(evaluation, now_ns=now_ns, score_ms=score_ms))
        if evaluation.newest_ns:
            is_heard |= self._classifications.tell(evaluation)
        # Ageing evidence loses weight, which may change a state before the evidence expires.
        moves = is_heard or evaluation.due_ns is not None
        quiet_s = time.monotonic() + QUIET_PERIOD_S if moves else math.inf
        ends_ns = [t for t in (evaluation.due_ns, self._waiting.limit_ns) if t is not None]
        return Deadlines(min(ends_ns, default=None), quiet_s)

    def _announce(self, evaluation: Evaluation, now_ns: int) -> None:
        # The latched message must list the current predicates even before the first evidence.
        names = evaluation.scores.table.names
        known = names is self._announced or names == self._announced
        if evaluation.changed or not known:
            self._announced = names
            self._states.publish(states_message(evaluation.states, now_ns=now_ns))

    def _time(self, request: GetTime.Request, response: GetTime.Response) -> GetTime.Response:
        response.now = self.get_clock().now().to_msg()
        response.simulated = bool(self.get_parameter('use_sim_time').value)
        return response

    async def _load_model(
        self, request: LoadModel.Request, response: LoadModel.Response
    ) -> LoadModel.Response:
        await self.transitions.settled()
        before, model = self._scoring, self._model
        if before is None or model is None:
            response.message = f'{self.get_name()} is not configured'
            return response

        def prepare() -> Scoring:
            values = self._values()
            check_confined(request.model, configured=values.model, root=values.model_root)
            binder = model.load(request.model)
            return self._scoring_of(before.bank.predicates, binder)

        try:
            scoring = await elsewhere(self, self._changes, prepare)
        except (*LOAD_ERRORS, PredicateError) as error:
            response.message = str(error.args[0] if error.args else error)
            return response
        if self._followers is not None:
            space = scoring.bank.space
            self._is_loading = True
            try:
                failed = await self._followers.load(
                    request.model, before=self._source, space=space
                )
            finally:
                self._is_loading = False
            if failed:
                response.message = '; '.join(f'{node}: {why}' for node, why in failed.items())
                return response
        if self._scoring is not before:
            response.message = f'{self.get_name()} was cleaned up meanwhile'
            return response
        # Switch the scoring first, which refuses vectors of the other space, then the encoders.
        self._scoring, self._source = scoring, request.model
        model.use(scoring.bank.binder)
        self._pacing.ask()
        response.success, response.language_space = True, scoring.bank.space
        return response


def _tokens_bytes(values: Parameters) -> int:
    return round(values.history_tokens_mb * MB)
