"""Transitions of lifecycle nodes whose work takes longer than the timeout of a service call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

from lb_ros.ros.timers import every

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR
# Transitions that may be answered before their work has finished.
LONG = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
PRIMARY = ('unconfigured', 'inactive', 'active', 'finalized')
DIAGNOSTICS_PERIOD_S = 1.0
Result = TypeVar('Result')


class Transitions:
    """Runs the transition callbacks of a node on a thread and answers `change_state`.

    While a callback runs, the node answers all its other services. `configure` and `activate` are
    answered as successful after `answer_within_s` at the latest, because the caller may give up on
    a slow node; the work continues, in order. If it fails later, the node returns to
    `unconfigured`, and `failure` and the diagnostics give the reason.

    Args:
        node: Node whose `change_state` service is replaced; its callbacks stay as in rclpy.
        answer_within_s: Returns the limit in seconds; 0 to wait until the work is done.
        more: Returns additional values for the node's entry in `/diagnostics`.

    Attributes:
        failure: Reason why the last `configure` or `activate` failed; empty if it did not.
        activity: Description of the running work; empty if there is none.
        starting: Whether the process is about to activate the node.
        leader: Transitions of the node that controls this one; None without one.
    """

    def __init__(
        self,
        node: LifecycleNode,
        *,
        answer_within_s: Callable[[], float],
        more: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._node, self._answer_within_s, self._more = node, answer_within_s, more
        self._machine = node._state_machine
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f'{node.get_name()} transition')
        self._began_s = 0.0
        self._configurations = 0
        self.failure = ''
        self.activity = ''
        self.starting = False
        self.leader: Transitions | None = None
        self._rising = 0
        service = node._service_change_state
        service.callback_group = ReentrantCallbackGroup()
        service.callback_group.add_entity(service)
        service.callback = self._answer
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 1)
        every(node, DIAGNOSTICS_PERIOD_S, self.report)

    @property
    def state(self) -> str:
        """Label of the node's state, for example `inactive`."""
        return str(self._machine.current_state[1])

    @property
    def rising(self) -> bool:
        """Whether the node is being brought up, even if the request was already answered."""
        return (
            self.starting
            or self._rising > 0
            or self.state in ('configuring', 'activating')
            or (self.leader is not None and self.leader.rising)
        )

    async def settled(self) -> None:
        """Wait while the node is being brought up, so that a request then finds it active."""
        while self.rising:
            await _Turn()

    async def change(self, transition_id: int, *, waits: bool = False) -> bool:
        """Make a transition; return False if it is not possible now, or failed.

        Args:
            transition_id: See lifecycle_msgs/msg/Transition.
            waits: Whether to wait until the work is done; otherwise for `answer_within_s`.
        """
        before = LifecycleState(*reversed(self._machine.current_state))
        try:
            self._machine.trigger_transition_by_id(transition_id, True)
        except RuntimeError as error:  # RCLError: there is no such transition from here
            self._node.get_logger().error(f'no such transition from {before.label}: {error}')
            return False
        if transition_id in LONG:
            self.failure = ''
        self._configurations += transition_id == Transition.TRANSITION_CONFIGURE
        label = self.state
        self._rising += transition_id in LONG
        work = self._pool.submit(self._run, self._machine.current_state[0], label, before)
        limit_s = self._answer_within_s() if transition_id in LONG and not waits else 0.0
        finished = await in_time(self._node, work, limit_s=limit_s)
        if not finished:
            self._node.get_logger().info(f'{label} takes longer and goes on')
            self._machine.trigger_transition_by_label(SUCCESS.to_label(), True)
            self._follow(work, self._configurations)
            return True
        self._rising -= transition_id in LONG
        return self._conclude(work.result(), before)

    def _conclude(self, outcome: TransitionCallbackReturn, before: LifecycleState) -> bool:
        self._machine.trigger_transition_by_label(outcome.to_label(), True)
        if outcome is ERROR:
            recovered = self._run(self._machine.current_state[0], self.state, before)
            self._machine.trigger_transition_by_label(recovered.to_label(), True)
        self.report()
        self.wake()
        return outcome is SUCCESS

    def wake(self) -> None:
        """Make the callers that wait in `settled` check again."""
        if self._node.executor is not None:
            self._node.executor.wake()

    def begin(self, activity: str) -> None:
        """Set the current activity and its start, unless one is set already."""
        if not self.activity:
            self.activity, self._began_s = activity, time.monotonic()

    def _run(self, state_id: int, label: str, before: LifecycleState) -> TransitionCallbackReturn:
        self.begin(label)
        try:
            callback = self._node._callbacks.get(state_id)
            return SUCCESS if callback is None else callback(before)
        except Exception as error:  # rclpy would hide it
            self.failure = f'{type(error).__name__}: {error}'
            self._node.get_logger().error(f'{label}: {self.failure}')
            return ERROR
        finally:
            self.activity = ''

    def _follow(self, work: ThreadFuture[TransitionCallbackReturn], configuration: int) -> None:
        """Return to `unconfigured` if work that was answered early fails later."""

        async def undo() -> None:
            self._rising -= 1
            self.wake()
            if work.result() is SUCCESS or self._configurations != configuration:
                return
            failure = self.failure
            while self.state not in PRIMARY:
                await in_time(self._node, self._pool.submit(lambda: None), limit_s=0.0)
            if self.state == 'active':
                await self.change(Transition.TRANSITION_DEACTIVATE)
            if self.state == 'inactive':
                await self.change(Transition.TRANSITION_CLEANUP)
            self.failure = failure

        def ended(work: ThreadFuture[TransitionCallbackReturn]) -> None:
            executor = self._node.executor
            if executor is not None and not work.cancelled():
                executor.create_task(undo)

        work.add_done_callback(ended)

    async def _answer(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        transition_id = request.transition.id
        if request.transition.label:
            try:
                transition_id = self._machine.get_transition_by_label(request.transition.label)
            except RuntimeError:
                response.success = False
                return response
        response.success = await self.change(transition_id)
        return response

    def tell(self, activity: str) -> None:
        """Set the description of the running work; it is cleared when the callback returns."""
        self.activity = activity

    def report(self) -> None:
        """Publish the state, the running work with its duration, and the last failure."""
        name = self._node.get_fully_qualified_name()
        status = DiagnosticStatus(name=f'{name}: lifecycle', hardware_id='lb_ros')
        status.level, status.message = DiagnosticStatus.OK, self.state
        activity = self.activity
        if activity:
            busy_s = time.monotonic() - self._began_s
            status.level = DiagnosticStatus.WARN
            status.message = f'{activity} for {busy_s:.1f} s'
        elif self.failure:
            status.level, status.message = DiagnosticStatus.ERROR, self.failure
        status.values = [
            KeyValue(key='state', value=self.state),
            KeyValue(key='activity', value=activity),
            KeyValue(key='failure', value=self.failure),
            *(KeyValue(key=key, value=value) for key, value in self._more().items()),
        ]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def close(self) -> None:
        """Start no more work; do not wait for the running work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Turn:
    """Awaitable that lets the executor run everything else once before the caller continues."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def attempt(
    node: LifecycleNode,
    transitions: Transitions,
    work: Callable[[], None],
    *errors: type[Exception],
) -> TransitionCallbackReturn:
    """Run a transition's work and return the outcome; `errors` are logged and mean FAILURE."""
    # A leader calls the callbacks directly, without `Transitions`.
    transitions.begin(transitions.state)
    transitions.failure = ''
    try:
        work()
    except errors as error:
        reason = ' '.join(str(error.args[0] if error.args else error).split('\n'))
        transitions.failure = reason
        node.get_logger().error(reason)
        return FAILURE
    finally:
        transitions.activity = ''
    return SUCCESS


async def in_time(node: LifecycleNode, work: ThreadFuture[Result], *, limit_s: float) -> bool:
    """Wait for work on another thread; return False after `limit_s` (0 for no limit)."""
    ended = Future()
    once = threading.Lock()

    def end(finished: bool) -> None:
        with once:
            if not ended.done():
                ended.set_result(finished)
        if node.executor is not None:
            node.executor.wake()

    work.add_done_callback(lambda work: end(True))
    timer = threading.Timer(limit_s, end, args=(False,)) if limit_s > 0 else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    finished: bool = await ended
    if timer is not None:
        timer.cancel()
    return finished


async def elsewhere(
    node: LifecycleNode, pool: ThreadPoolExecutor, work: Callable[[], Result]
) -> Result:
    """Run `work` on a thread of a pool and return its result; the executor continues meanwhile.

    Raises the errors of `work`.
    """
    running = pool.submit(work)
    await in_time(node, running, limit_s=0.0)
    return running.result()
