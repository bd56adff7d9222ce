"""Clients when their node dies, starts again, or lives in simulated time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from encoders import Binder, State
from lb_ros.action import WaitForPredicate
from lb_ros.client import GoneError, LanguageClient, NotAnsweredError
from lb_ros.ros.qos import NODE_LEASE_S
from tests.domains import own_domain
from tests.lb_ros.evidence import LIMIT_S, START_S, Source, end, running, start
from tests.waiting import wait_until

pytestmark = pytest.mark.ros
# From the death of the node to the end of a wait, on a machine that may be busy.
NOTICED_S = NODE_LEASE_S + 3.0


@contextmanager
def ready_client() -> Iterator[LanguageClient]:
    with LanguageClient(timeout_s=START_S) as client:
        client.wait_until('open', state=State.UNKNOWN)
        client.timeout_s = LIMIT_S
        yield client


def gone_within(limit_s: float, call: Callable[[], object]) -> str:
    """The message of the `GoneError` that a call ends with in time."""
    began_s = time.monotonic()
    with pytest.raises(GoneError) as gone:
        call()
    assert time.monotonic() - began_s < limit_s
    return str(gone.value)


@pytest.mark.parametrize('stop', [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize(
    'program', ['predicates', pytest.param('bringup', marks=pytest.mark.slow)]
)
def test_every_wait_ends_when_the_node_dies(
    tiny_model_set: Path, tmp_path: Path, ros_domain: int, program: str, stop: signal.Signals
) -> None:
    with (
        running(program, tiny_model_set, tmp_path) as process,
        ready_client() as client,
        LanguageClient(timeout_s=LIMIT_S) as other,
    ):
        reasons: list[str] = []
        guard = client.while_holds('open', reasons.append, state=State.UNKNOWN)
        client.watch(lambda states: None, on_gone=reasons.append)
        waits = [
            client.wait_async('open', timeout_s=0),
            client.wait_any_async(['open', 'closed'], timeout_s=0),
            other.wait_all_async(['open', 'closed'], timeout_s=LIMIT_S),
        ]
        assert client.query('the drawer is open')
        process.send_signal(stop)
        began_s = time.monotonic()
        with pytest.raises((GoneError, NotAnsweredError), match=r'died|deactivated'):
            client.wait_until('open', timeout_s=0)
        for wait in waits:
            with pytest.raises(NotAnsweredError):
                wait.result(NOTICED_S)
        assert guard.wait(NOTICED_S)
        assert time.monotonic() - began_s < NOTICED_S
        wait_until(lambda: len(reasons) == 2)
        assert 'stopped or died' in gone_within(1.0, client.states)
        client.timeout_s = 0.5
        assert 'start it again' in gone_within(2.0, lambda: client.query('the drawer is open'))
        gone_within(2.0, lambda: client.wait_until('open', timeout_s=0))
        gone_within(2.0, client.now_s)


@pytest.mark.slow
@pytest.mark.parametrize('stop', [signal.SIGINT, signal.SIGKILL])
def test_a_wait_does_not_outlive_its_node_in_the_next_one(
    tiny_model_set: Path, tmp_path: Path, ros_domain: int, stop: signal.Signals
) -> None:
    first = start('predicates', tiny_model_set, tmp_path)
    second = None
    try:
        with ready_client() as client:
            client.add('the cup is full')
            wait_until(lambda: 'the cup is full' in client.states())
            waits = client.wait_async('open', timeout_s=0)
            first.send_signal(stop)
            second = start('predicates', tiny_model_set, tmp_path)
            with pytest.raises(NotAnsweredError):
                waits.result(START_S)
            client.timeout_s = START_S
            assert client.wait_until('open', state=State.UNKNOWN, timeout_s=LIMIT_S)
            assert set(client.states()) == {'open', 'closed', 'ajar'}
            assert not client.wait_until('open', timeout_s=0.1)
    finally:
        first.kill()
        first.wait()
        if second is not None:
            end(second)


@pytest.mark.slow
def test_a_suspended_node_is_found_again(
    tiny_model_set: Path, tmp_path: Path, ros_domain: int
) -> None:
    with running('predicates', tiny_model_set, tmp_path) as process, ready_client() as client:
        lost: list[str] = []
        seen: list[object] = []
        client.watch(seen.append, on_gone=lost.append)
        wait_until(lambda: seen)
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: lost, limit_s=NOTICED_S)
        gone_within(1.0, client.states)
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(seen) > 1)
        assert client.states()['open'].state is State.UNKNOWN


def test_waits_report_that_a_node_is_deactivated(
    tiny_model_set: Path, tmp_path: Path, ros_domain: int
) -> None:
    with running('predicates', tiny_model_set, tmp_path), ready_client() as client:
        waits = client.wait_async('open', timeout_s=0)
        assert client.query('the drawer is open')
        node = rclpy.create_node('driver')
        change = node.create_client(ChangeState, 'predicates/change_state')
        assert change.wait_for_service(LIMIT_S)
        request = ChangeState.Request()
        request.transition.id = Transition.TRANSITION_DEACTIVATE
        change.call_async(request)
        for ask in (lambda: waits.result(LIMIT_S), lambda: client.wait_until('open')):
            with pytest.raises(NotAnsweredError, match=r'deactivated|not active') as ended:
                ask()
            assert ended.value.code == WaitForPredicate.Result.NOT_ACTIVE
        assert not isinstance(ended.value, GoneError)
        node.destroy_node()


@pytest.fixture(scope='module')
def simulated(
    tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LanguageClient, Source]]:
    """A client and a source of evidence in a simulated time that the test moves."""
    folder = tmp_path_factory.mktemp('simulated')
    with (
        own_domain(),
        running('predicates', tiny_model_set, folder, 'use_sim_time:=true'),
        ready_client() as client,
    ):
        source = Source(Binder.load(tiny_model_set), clock_s=1000.0)
        try:
            yield client, source
        finally:
            source.close()


def test_clocks_are_those_of_the_node(simulated: tuple[LanguageClient, Source]) -> None:
    client, source = simulated
    wait_until(lambda: client.now_s() == 1000.0)
    source.shows = 1
    assert client.wait_until('open', timeout_s=0)
    assert client.states()['open'].since_s == pytest.approx(1000.0, abs=1.0)
    source.shows, source.clock_s = -1, 1010.0
    assert client.wait_until('open', state=State.FALSE, timeout_s=0, since_s=1001.0)
    past, now = (
        client.query('the drawer is open', ago_s=10.0),
        client.query('the drawer is open'),
    )
    assert past[0].fused > 0.5 > now[0].fused
    assert client.query('the drawer is open', at_s=client.now_s() - 10.0)[0].fused > 0.5
    source.clock_s = 2000.0
    wait_until(lambda: client.now_s() == 2000.0)
    assert abs(client.states()['open'].age_s) < LIMIT_S  # of wall time


def test_time_limits_are_of_the_nodes_clock(simulated: tuple[LanguageClient, Source]) -> None:
    client, source = simulated
    source.shows, source.clock_s = 0, 3000.0
    wait_until(lambda: client.now_s() == 3000.0)
    waits = client.wait_async('open', timeout_s=5.0)
    longer = client.wait_async('open', timeout_s=500.0)
    assert client.query('the drawer is open')
    source.clock_s = 3004.0
    wait_until(lambda: client.now_s() == 3004.0)
    source.clock_s = 2900.0  # a bag that starts again: a second is left
    wait_until(lambda: client.now_s() == 2900.0)
    assert not waits.done()
    source.clock_s = 2901.5
    assert waits.result(LIMIT_S) is False
    assert not longer.done()
    source.clock_s = 3500.0
    assert longer.result(LIMIT_S) is False
