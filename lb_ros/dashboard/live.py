"""A session from a robot's topics; images are subscribed to only while a page is open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from encoders import MODALITIES, SENSED, Binder, Predicate
from encoders.decode import DecodeError, decode_image
from encoders.decode.streams import AudioStream
from encoders.predicates.fusion import caveats, taught_reason
from encoders.predicates.score_arrays import scores_in
from encoders.predicates.state_arrays import states_in
from lb_ros.dashboard.answers import FUSED
from lb_ros.dashboard.series_plots import SeriesPlots
from lb_ros.dashboard.session import Gauge, Session
from lb_ros.dashboard.why import Attention
from lb_ros.engine.arrival import Encoded
from lb_ros.msg import AudioChunk, PredicateScores, PredicateStates, PredicateTruth
from lb_ros.nodes.evidence_topics import EvidenceTopics
from lb_ros.ros.picture_topics import PictureTopics
from lb_ros.ros.qos import CHUNKS, LATCHED
from lb_ros.ros.stamps import to_ns, to_stamp
from lb_ros.srv import GetAttention

# Topics keep only their newest message, so one poll handles all messages since the last poll.
LOOK_S = 0.1
PICTURE_S = 0.5
WATCHED_S = 5.0
AGED_MS = 1000.0
ANSWER_S = 3.0  # how long the page waits for the attention to a predicate
DIAGNOSTIC_WORDS = ('latency', 'drop', 'rate', 'hz', 'delay')


class DashboardNode(Node):
    """Node `dashboard`, which only subscribes and asks.

    Args:
        session: Session to fill.
        load: Loads a model by name, for questions.
        predicates: Predicates whose ground truth may have another name.
    """

    def __init__(
        self, session: Session, *, load: Callable[[str], Binder], predicates: Sequence[Predicate]
    ) -> None:
        super().__init__('dashboard')
        self._session, self._load = session, load
        self._model = ''
        self._predicates = predicates
        self._truth_names: dict[str, str] = {}
        self._scored_ns = 0
        self._sound = AudioStream()
        self._pictured_s: dict[str, float] = {}
        self._explaining = self.create_client(GetAttention, 'predicates/attention')
        session.explain = self.explain
        self._sounds: list[Subscription] = []
        self._pictures: list[PictureTopics] = []
        self._embedded: dict[str, list[float]] = {}
        self.taken = 0
        newest = QoSProfile(depth=1)
        self.create_subscription(PredicateScores, 'predicates/scores', self._scores, newest)
        self.create_subscription(PredicateStates, 'predicates/state', self._states, LATCHED)
        self.create_subscription(PredicateTruth, 'ground_truth/predicates', self._truth, newest)
        self._plots = SeriesPlots(
            self,
            show=session.add_picture,
            fail=lambda modality, fault: session.set_gauge(Gauge(f'{modality} plot', fault, 1)),
            window_s=session.window_s,
        )
        self._topics = EvidenceTopics(self, self._embedding, sensors=SENSED)
        self._listen_to_diagnostics()

    def create_subscription(
        self, kind: Any, topic: str, callback: Any, qos: Any, **options: Any
    ) -> Subscription:
        """Create a subscription that also counts its messages."""

        def take(message: Any) -> None:
            self.taken += 1
            callback(message)

        return super().create_subscription(kind, topic, take, qos, **options)

    def attend(self, watched: bool) -> None:
        """Subscribe to sensors only while a page is open; call this regularly."""
        if watched and not self._pictures:
            for modality in SENSED:
                if MODALITIES[modality].kind == 'series':
                    continue  # see SeriesPlots
                topic, store = MODALITIES[modality].topic, self._picture_of(modality)
                if MODALITIES[modality].kind == 'sound':
                    self._sounds.append(self.create_subscription(AudioChunk, topic, store, CHUNKS))
                else:
                    self._pictures.append(PictureTopics(self, modality, topic, store=store))
        elif not watched and self._pictures:
            for pictures in self._pictures:
                pictures.close()
            for subscription in self._sounds:
                self.destroy_subscription(subscription)
            self._pictures, self._sounds = [], []
        for pictures in self._pictures:
            pictures.look()
        self._plots.attend(watched)
        self._topics.follow(self._session.asks_tokens)

    def _listen_to_diagnostics(self) -> None:
        try:
            from diagnostic_msgs.msg import DiagnosticArray
        except ModuleNotFoundError:
            return
        self.create_subscription(DiagnosticArray, '/diagnostics', self._diagnose, 10)

    def _scores(self, message: PredicateScores) -> None:
        stamp_ns = to_ns(message.header.stamp)
        if stamp_ns <= self._scored_ns:
            # No new evidence: add a point only when it has become old, at that time.
            if message.latency_ms < AGED_MS:
                return
            stamp_ns += round(message.latency_ms * 1e6)
        if stamp_ns <= self._scored_ns:
            return
        self._scored_ns = stamp_ns
        series: dict[str, dict[str, float | None]] = {FUSED: {}}
        scores = list(scores_in(message))
        for score in scores:
            series[FUSED][score.name] = score.fused if score.can_tell else None
            for modality, probability in score.probability.items():
                series.setdefault(modality, {})[score.name] = probability
        said = {
            s.name: caveats(s.probability, calibrated=s.calibrated, reasons=s.reasons)
            for s in scores
        }
        taught = {s.name: taught_reason(s.reasons) for s in scores}
        self._session.add_scores(stamp_ns, series, caveats=said, taught=taught)
        text = f'{message.latency_ms:.0f} ms from sensor to score'
        self._session.set_gauge(Gauge('latency', text, int(message.latency_ms > 500)))

    def _states(self, message: PredicateStates) -> None:
        states = {name: each.state.name for name, each in states_in(message).items()}
        self._session.add_states(to_ns(message.header.stamp), states)

    def _truth(self, message: PredicateTruth) -> None:
        names = [name for name in message.predicates if name not in self._truth_names]
        if names:
            self._truth_names |= dict.fromkeys(names, '')
            self._truth_names |= _named(self._predicates, names)
        said = zip(message.predicates, message.values, strict=True)
        known = {self._truth_names[n]: bool(v) for n, v in said if self._truth_names[n]}
        self._session.add_truth(to_ns(message.header.stamp), known)

    def _embedding(self, encoded: Encoded) -> None:
        if encoded.model != self._model:
            self._model = encoded.model
            threading.Thread(
                target=self._use, args=(encoded.model,), name='load model', daemon=True
            ).start()
        self._session.add_embedding(
            encoded.stamp_ns,
            encoded.modality,
            encoded.vector,
            invalid_reason=encoded.invalid_reason,
            tokens=encoded.tokens,
            readout=encoded.readout,
        )
        stage_ms = encoded.wait_ms + encoded.decode_ms + encoded.preprocess_ms + encoded.encode_ms
        times = self._embedded.setdefault(encoded.modality, [])
        times.append(time.monotonic())
        del times[:-20]
        rate_hz = (len(times) - 1) / max(times[-1] - times[0], 1e-3)
        text = f'{rate_hz:.1f} Hz, {stage_ms:.0f} ms to encode'
        if encoded.invalid_reason:
            text = f'{text}; not counted: {encoded.invalid_reason}'
        self._session.set_gauge(Gauge(encoded.modality, text, int(bool(encoded.invalid_reason))))

    def explain(self, name: str, modality: str, stamp_ns: int) -> Attention:
        """Ask the robot for the attention to a predicate; call it from another thread.

        See `lb_ros.dashboard.why.Explain`.
        """
        if not self._explaining.wait_for_service(ANSWER_S):
            raise ValueError('no node offers predicates/attention')
        request = GetAttention.Request(text=name, modality=modality, at=to_stamp(stamp_ns))
        answered = threading.Event()
        future = self._explaining.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(ANSWER_S):
            self._explaining.remove_pending_request(future)
            raise ValueError(f'predicates/attention did not answer within {ANSWER_S:.0f} s')
        answer: Any = future.result()
        if not answer.success:
            raise ValueError(answer.message)
        shares = np.array(answer.attention, np.float32).reshape(answer.rows, answer.columns)
        return Attention(shares, answer.central_square, to_ns(answer.stamp))

    def _use(self, model: str) -> None:
        try:
            self._session.use(self._load(model))
        except (ValueError, KeyError, OSError) as error:
            self._session.message = f'no questions: {error}'

    def _diagnose(self, message: Any) -> None:
        for status in message.status:
            told = [
                f'{entry.key} {entry.value}'
                for entry in status.values
                if any(word in entry.key.lower() for word in DIAGNOSTIC_WORDS)
            ]
            level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
            text = ', '.join([status.message, *told[:4]])
            self._session.set_gauge(Gauge(status.name, text, level))

    def _picture_of(self, modality: str) -> Callable[[Any], None]:
        def store(message: Any) -> None:
            from train.score.thumbnail import thumbnail

            now_s = time.monotonic()
            try:
                raw: Any = self._heard(message) if MODALITIES[modality].kind == 'sound' else None
                if now_s - self._pictured_s.get(modality, 0.0) < PICTURE_S:
                    return
                raw = raw or decode_image(message, modality=modality).array
                jpeg = thumbnail(modality, raw, side=240)
            except DecodeError as error:
                self._session.set_gauge(Gauge(f'{modality} picture', str(error), 1))
                return
            self._pictured_s[modality] = now_s
            stamp_ns = to_ns(message.header.stamp) or self.get_clock().now().nanoseconds
            self._session.add_picture(stamp_ns, modality, jpeg)

        return store

    def _heard(self, message: Any) -> tuple[Any, int]:
        cut = self._sound.add(message, stamp_ns=to_ns(message.header.stamp))
        wave, rate_hz = self._sound.window(cut).raw
        return wave, rate_hz


def _named(predicates: Sequence[Predicate], names: Sequence[str]) -> dict[str, str]:
    """Map the names of ground truths to the names of the predicates that they are for."""
    from train.phrasings import Phrasings
    from train.score.track import truth_for

    found = truth_for(predicates, names, Phrasings.load('trained'))
    return {name: name for name in names} | {truth: name for name, truth in found.items()}


def listen(node: DashboardNode, session: Session, stop: threading.Event) -> None:
    """Process received messages ten times a second, until `stop` is set."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stop.wait(LOOK_S):
            node.attend(time.monotonic() - session.viewed_s < WATCHED_S)
            taken = -1
            while taken != node.taken:
                taken = node.taken
                executor.spin_once(timeout_sec=0.0)
    except ExternalShutdownException:
        return
    finally:
        executor.remove_node(node)
        executor.shutdown()
