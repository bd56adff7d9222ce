"""Clients of one running node: waits, guards, futures, the shared listener, shell commands."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from encoders import Binder, State
from lb_ros.action import WaitForPredicate
from lb_ros.cli import main
from lb_ros.client import LanguageClient, NotAnsweredError, NotHeldError
from tests.domains import own_domain
from tests.lb_ros.evidence import LIMIT_S, START_S, Source, running
from tests.waiting import wait_until

pytestmark = pytest.mark.ros
Result = WaitForPredicate.Result


@pytest.fixture(scope='module')
def nodes(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp('client')
    with own_domain(), running('predicates', tiny_model_set, folder):
        yield


@pytest.fixture(scope='module')
def client(nodes: None) -> Iterator[LanguageClient]:
    with LanguageClient(timeout_s=START_S) as found:
        found.states()
        found.timeout_s = LIMIT_S
        yield found


@pytest.fixture(scope='module')
def source(client: LanguageClient, tiny_model_set: Path) -> Iterator[Source]:
    found = Source(Binder.load(tiny_model_set))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def unknown(client: LanguageClient, source: Source) -> None:
    """Every test begins without evidence."""
    source.shows = 0
    assert client.wait_until('open', state=State.UNKNOWN, timeout_s=LIMIT_S)


def test_waiting_for_several_predicates(client: LanguageClient, source: Source) -> None:
    any_of = client.wait_any_async(['closed', 'open'], timeout_s=LIMIT_S)
    all_of = client.wait_all_async(['open', 'ajar'], timeout_s=LIMIT_S)
    never = client.wait_all_async(['open', 'closed'], timeout_s=1.0)
    assert not any_of.done()
    source.shows = 1
    assert any_of.result(LIMIT_S) == 'open'
    assert all_of.result(LIMIT_S) is True
    assert never.result(LIMIT_S) is False  # each is TRUE at some time, but never both at once
    assert client.wait_any(['closed'], timeout_s=0.2) is None
    assert client.wait_all(['closed'], timeout_s=0.2) is False
    with pytest.raises(NotAnsweredError, match="'never heard of'") as refused:
        client.wait_any(['open', 'never heard of'])
    assert refused.value.code == Result.UNKNOWN_PREDICATE


def test_a_change_is_waited_for(client: LanguageClient, source: Source) -> None:
    source.shows = 1
    assert client.wait_until('open', timeout_s=LIMIT_S)
    moment_s = client.now_s()
    assert client.wait_until('open', timeout_s=LIMIT_S)
    assert not client.wait_until('open', timeout_s=0.3, since_s=moment_s)
    again = client.wait_async('open', timeout_s=LIMIT_S, since_s=moment_s)
    source.shows = -1
    assert client.wait_until('open', state=State.FALSE, timeout_s=LIMIT_S)
    assert not again.done()
    source.shows = 1
    assert again.result(LIMIT_S) is True
    assert client.states()['open'].since_s > moment_s


def test_a_guard_ends_once_and_reports_the_reason(client: LanguageClient, source: Source) -> None:
    source.shows = 1
    assert client.wait_all(['open', 'ajar'], timeout_s=LIMIT_S)
    reasons: list[str] = []
    with client.while_holds('open', reasons.append) as guard:
        assert guard.holds
        guard.check()
        source.shows = -1
        assert guard.wait(LIMIT_S)
        assert 'open is FALSE: probability' in guard.reason
        with pytest.raises(NotHeldError, match='open is FALSE'):
            guard.check()
        wait_until(lambda: reasons)
        source.shows = 1
        assert client.wait_until('open', timeout_s=LIMIT_S)
        assert not guard.holds
    assert reasons == [guard.reason]


@pytest.mark.parametrize('name', ['open', 'never heard of'])
def test_a_guard_of_a_false_predicate_ends_at_once(client: LanguageClient, name: str) -> None:
    with client.while_holds(name) as guard:
        assert not guard.holds
        assert ('no predicate' in guard.reason) == (name != 'open')


def test_a_guard_ends_when_the_sensor_falls_silent(client: LanguageClient, source: Source) -> None:
    source.shows = 1
    assert client.wait_until('open', timeout_s=LIMIT_S)
    with client.while_holds('open') as guard, client.while_holds('open', pytest.fail) as closed:
        closed.close()
        source.shows = 0
        assert guard.wait(LIMIT_S)
        assert 'UNKNOWN: image stale' in guard.reason
        assert closed.holds


def test_callbacks_may_ask_and_wait(client: LanguageClient) -> None:
    answers: list[Any] = []

    def ask(states: Any) -> None:
        answers.append(client.query('the drawer is open')[0].text)
        answers.append(client.wait_until('open', state=State.UNKNOWN))

    watch = client.watch(ask)
    wait_until(lambda: len(answers) >= 2)
    watch.close()
    assert answers[:2] == ['the drawer is open', True]


def test_futures_work_with_asyncio_and_can_be_cancelled(
    client: LanguageClient, source: Source
) -> None:
    async def both() -> tuple[Any, Any]:
        answer = asyncio.wrap_future(client.query_async('the drawer is open'))
        wait = asyncio.wrap_future(client.wait_async('open', timeout_s=LIMIT_S))
        text = (await answer)[0].text
        source.shows = 1
        return text, await wait

    assert asyncio.run(both()) == ('the drawer is open', True)
    given_up = client.wait_async('closed', timeout_s=0)
    assert given_up.cancel()
    assert given_up.cancelled()
    refused = client.query_async([])
    with pytest.raises(NotAnsweredError, match='no texts'):
        refused.result(LIMIT_S)
    blocked: list[BaseException] = []

    def block(future: Any) -> None:
        try:
            client.query('the drawer is open')
        except RuntimeError as error:
            blocked.append(error)

    client.query_async('the drawer is open').add_done_callback(block)
    wait_until(lambda: blocked)
    assert 'query_async' in str(blocked[0])


def test_closing_a_client_ends_its_waits_and_no_others(client: LanguageClient) -> None:
    other = LanguageClient(timeout_s=LIMIT_S)
    ended, stays = other.wait_async('open', timeout_s=0), client.wait_async('open', timeout_s=0)
    other.close()
    with pytest.raises(NotAnsweredError, match='closed'):
        ended.result(LIMIT_S)
    assert client.query('the drawer is open')
    assert not stays.done()
    stays.cancel()
    with pytest.raises(NotAnsweredError, match='closed'):
        other.wait_async('open').result(LIMIT_S)


def test_clients_of_a_namespace_share_one_node(client: LanguageClient) -> None:
    def names() -> list[str]:
        return [n for n in node.get_node_names() if n.startswith('language_client')]

    node = Node('planner')
    wait_until(lambda: names())
    before = names()
    more = [LanguageClient(), LanguageClient(node), LanguageClient(namespace='/')]
    apart = LanguageClient(node, namespace='elsewhere')
    assert [each.query('the drawer is open')[0].text for each in more]
    wait_until(lambda: len(names()) == len(before) + 1)
    assert len(set(names())) == len(names())
    for each in (*more, apart):
        each.close()
        each.close()
    wait_until(lambda: names() == before)
    node.destroy_node()
    assert client.states()


# The type supports of a process are loaded once, so that each run needs a process of its own.
RACE = """
import threading
from lb_ros.client import LanguageClient
barrier, failed = threading.Barrier(6), []
def work():
    barrier.wait()
    try:
        with LanguageClient(timeout_s=60) as client:
            client.query('the drawer is open'), client.wait_until('open', timeout_s=0.1)
            client.states(), client.predicates()
    except BaseException as error:
        failed.append(repr(error))
threads = [threading.Thread(target=work) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(failed)
"""


def test_first_calls_of_several_threads_do_not_race(client: LanguageClient) -> None:
    runs = [
        subprocess.Popen([sys.executable, '-c', RACE], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [run.communicate(timeout=START_S)[0] for run in runs] == ['[]\n'] * 2


def test_the_wrong_namespace_names_the_right_one(client: LanguageClient) -> None:
    with LanguageClient(namespace='robot9', timeout_s=1.0) as lost:
        with pytest.raises(NotAnsweredError, match=r'query in namespace /robot9 .* answer in /'):
            lost.query('the drawer is open')
        with pytest.raises(NotAnsweredError, match=r'answer in /.*--namespace /'):
            lost.states()
    with pytest.raises(ValueError, match='robot 9'):
        LanguageClient(namespace='robot 9')


def goal_result(goal: WaitForPredicate.Goal, *, cancel: bool = False) -> Any:
    """The whole response of the action, as any other client of it gets."""
    node, executor = Node('asker'), SingleThreadedExecutor()
    executor.add_node(node)
    action = ActionClient(node, WaitForPredicate, 'wait_for')
    assert action.wait_for_server(LIMIT_S)
    sent = action.send_goal_async(goal)
    executor.spin_until_future_complete(sent, LIMIT_S)
    if cancel:
        cancelled = sent.result().cancel_goal_async()
        executor.spin_until_future_complete(cancelled, LIMIT_S)
    result = sent.result().get_result_async()
    executor.spin_until_future_complete(result, LIMIT_S)
    found = result.result()
    executor.shutdown()
    node.destroy_node()
    return found


@pytest.mark.parametrize(
    ('goal', 'cancel', 'code', 'status'),
    [
        ({'name': 'open', 'state': 0}, False, Result.REACHED, GoalStatus.STATUS_SUCCEEDED),
        ({'name': 'open', 'timeout_s': 0.1}, False, Result.TIMEOUT, GoalStatus.STATUS_ABORTED),
        ({'name': 'x'}, False, Result.UNKNOWN_PREDICATE, GoalStatus.STATUS_ABORTED),
        ({'name': 'open', 'state': 7}, False, Result.INVALID, GoalStatus.STATUS_ABORTED),
        (
            {'name': 'open', 'timeout_s': float('nan')},
            False,
            Result.INVALID,
            GoalStatus.STATUS_ABORTED,
        ),
        ({'name': 'open'}, True, Result.CANCELLED, GoalStatus.STATUS_CANCELED),
    ],
)
def test_the_action_reports_how_a_wait_ended(
    client: LanguageClient, goal: dict[str, Any], cancel: bool, code: int, status: int
) -> None:
    found = goal_result(WaitForPredicate.Goal(**goal), cancel=cancel)
    assert (found.result.code, found.status) == (code, status)
    assert found.result.reached == (code == Result.REACHED)
    assert bool(found.result.message) == (code != Result.REACHED)


def test_a_removed_predicate_ends_its_waits(client: LanguageClient) -> None:
    client.add('the cup is full')
    waits = client.wait_async('the cup is full', timeout_s=0)
    with client.while_holds('the cup is full', state=State.UNKNOWN) as guard:
        client.remove('the cup is full')
        with pytest.raises(NotAnsweredError, match=r'was removed|no predicate') as ended:
            waits.result(LIMIT_S)
        assert ended.value.code == Result.UNKNOWN_PREDICATE
        assert guard.wait(LIMIT_S)


def test_the_reason_is_that_of_the_probability(client: LanguageClient, source: Source) -> None:
    for shown in (1, -1):
        source.shows = shown
        assert client.wait_until('open', state=State(2 if shown > 0 else 1), timeout_s=LIMIT_S)
        status = client.states()['open']
        if status.state is not State.UNKNOWN:
            assert status.reason.startswith(f'probability {status.probability:.2f}')
        assert 0 <= status.age_s < LIMIT_S


def test_questions_about_the_past_need_no_clock(client: LanguageClient, source: Source) -> None:
    source.shows = 1
    assert client.wait_until('open', timeout_s=LIMIT_S)
    assert client.query('the drawer is open')[0].fused is not None
    past = client.query('the drawer is open', ago_s=29.0)[0]  # before the source began
    assert past.fused is None
    assert abs(client.now_s() - time.time()) < 1.0
    for ago_s, says in ((-1.0, 'must be 0 or more'), (99.0, 'further back')):
        with pytest.raises(NotAnsweredError, match=says):
            client.query('the drawer is open', ago_s=ago_s)
    with pytest.raises(ValueError, match='give one of them'):
        client.query('the drawer is open', at_s=1.0, ago_s=1.0)


@pytest.mark.parametrize(
    ('words', 'status', 'says'),
    [
        ('wait open --state unknown', 0, 'open: UNKNOWN'),
        ('wait open closed --any --state unknown', 0, 'open: UNKNOWN'),
        ('wait open --timeout 0.1', 1, 'open not TRUE within 0.1 s; it is UNKNOWN'),
        ('wait open --state unknown --change --timeout 0.1', 1, 'not UNKNOWN'),
        ('wait never', 1, "no predicate 'never'"),
        ('list', 0, 'ajar'),
        ('add up --name a --namespace no\xa0name', 2, 'namespace'),
        ('add a b --name c', 2, '--name fits one sentence'),
    ],
)
def test_shell_commands_answer_in_one_line(
    client: LanguageClient, capsys: pytest.CaptureFixture[str], words: str, status: int, says: str
) -> None:
    assert main(words.split(' ')) == status
    printed = capsys.readouterr()
    assert says in (printed.err if status else printed.out)
    assert 'Traceback' not in printed.err
    assert len(printed.err.splitlines()) == (1 if status else 0)


def test_shell_commands_print_json(
    client: LanguageClient, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*words: str) -> Any:
        assert main([*words, '--json']) == 0
        return json.loads(capsys.readouterr().out)

    assert printed('add', 'the cup is full')['added'] == ['the cup is full']
    listed = printed('list')
    assert set(listed) == {'open', 'closed', 'ajar', 'the cup is full'}
    assert listed['open']['positive'] == ['the drawer is open']
    assert listed['open']['state'] == 'UNKNOWN'
    waited = printed('wait', 'the cup is full', '--state', 'unknown')
    assert waited == {'reached': True, 'state': 'UNKNOWN', 'predicates': ['the cup is full']}
    client.remove('the cup is full')


def test_many_waits_run_at_the_same_time(client: LanguageClient, source: Source) -> None:
    before = threading.active_count()
    waits = [client.wait_async('open', timeout_s=LIMIT_S) for _ in range(40)]
    assert threading.active_count() == before
    assert client.query('the drawer is open')
    source.shows = 1
    assert [wait.result(LIMIT_S) for wait in waits] == [True] * 40
