"""Learning from presses by a running robot, over its services."""

from __future__ import annotations

import logging

from encoders import Predicate
from encoders.predicates.lessons import Lessons
from encoders.predicates.taught_file import from_bytes
from lb_ros.client import LanguageClient, NotAnsweredError
from lb_ros.client.teaching import Taught
from lb_ros.dashboard.session import Session
from lb_ros.dashboard.teaching import ERRORS, Learned
from lb_ros.engine.background import background_pool

ANSWER_S = 5.0


class RobotTeacher:
    """Passes presses to the node `predicates`; implements `Teacher`.

    Args:
        session: Session of the robot. After every press its past is answered again, with what the
            robot has learned.
        namespace: Namespace of the node.
    """

    def __init__(self, session: Session, *, namespace: str = '') -> None:
        self._session = session
        self._client = LanguageClient(namespace=namespace, timeout_s=ANSWER_S)
        self._pool = background_pool('answer again')

    def close(self) -> None:
        """Leave the ROS graph."""
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def teach(
        self,
        name: str,
        truth: bool,
        *,
        stamp_ns: int | None,
        ago_s: float = 0.0,
        seconds: float = 0.0,
    ) -> Learned:
        """See `lb_ros.dashboard.teaching.Teacher`. A question becomes a predicate of the robot."""
        at_s = None if stamp_ns is None else stamp_ns * 1e-9
        try:
            if name in self._session.questions:
                self._adopt(name)
            told = self._client.teach(
                name, truth, at_s=at_s, ago_s=ago_s if at_s is None else 0.0, seconds=seconds
            )
        except NotAnsweredError as error:
            raise ValueError(str(error)) from error
        self._pool.submit(self._answer_again, name)
        return _learned(told)

    def untaught(self, name: str) -> Learned:
        """See `lb_ros.dashboard.teaching.Teacher`."""
        try:
            told = self._client.untaught(name)
        except NotAnsweredError as error:
            raise ValueError(str(error)) from error
        self._pool.submit(self._answer_again, name)
        return _learned(told)

    def _adopt(self, sentence: str) -> None:
        if all(predicate.name != sentence for predicate in self._client.predicates()):
            self._client.add(Predicate.from_sentence(sentence, name=sentence))
        self._session.leave(sentence)

    def _answer_again(self, name: str) -> None:
        """Show what the past looks like with what the robot knows now."""
        try:
            predicate = next(p for p in self._client.predicates() if p.name == name)
            self._session.answer_again(predicate, self._lessons(name))
        except (*ERRORS, NotAnsweredError, StopIteration) as error:
            # The robot's own scores go on, so that only the past stays as it was.
            logging.getLogger(__name__).warning('%s: past not answered again: %s', name, error)

    def _lessons(self, name: str) -> Lessons | None:
        try:
            content = self._client.export_taught(name)
        except NotAnsweredError:  # every press was undone
            return None
        return from_bytes(content, where='the robot')


def _learned(told: Taught) -> Learned:
    return Learned(
        told.name,
        told.true_presses,
        told.false_presses,
        told.left_out,
        told.left_out_low,
        told.left_out_high,
        sensors=told.shares,
        next=told.next,
        next_ns=0 if told.next_s is None else round(told.next_s * 1e9),
    )
