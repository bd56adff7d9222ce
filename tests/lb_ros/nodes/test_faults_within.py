"""Faults that no sensor makes: bad text, bad and slow models, no memory, a stop at any moment.

Each is met by a running bringup of its own through real messages. Where an encoder has to fail it
is made to fail on its own thread, by the error that PyTorch or the clock would give.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from encoders.model_sets.places import MANIFEST, WEIGHTS
from lb_ros.msg import Predicate
from lb_ros.ros.stamps import to_ns
from lb_ros.srv import (
    AddPredicates,
    ListPredicates,
    LoadModel,
    QueryText,
    SetPredicates,
)
from tests.domains import own_domain
from tests.lb_ros.robot import (
    LIMIT_S,
    TOPICS,
    Robot,
    bringup,
    listening,
    wait_until_all_are_known,
)

# Slow until it has held on a busy machine, many times in a row.
pytestmark = [pytest.mark.ros, pytest.mark.slow]

PICTURES = ('image', 'depth', 'infrared')
ENGINE = 'lb_ros/engine'
CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
# `deactivate` may take the two seconds that it waits, and what a busy machine adds.
STOP_S = 6.0

FAULTY = """
import threading, time, torch
from pathlib import Path
from encoders import Binder, Evidence
from lb_ros.engine.overload import MemoryPolicy
MemoryPolicy.__init__.__kwdefaults__['recover_s'] = 0.5
fault, real = Path(sys.argv.pop(1)), Binder.encode_evidence
def encode(self, inputs, **options):
    if threading.current_thread().name != 'encoding':  # it warms up
        return real(self, inputs, **options)
    kind, _, value = fault.read_text().partition(' ')
    if kind == 'room' and sum(map(len, inputs.values())) > int(value):
        torch.empty(1 << 60, dtype=torch.uint8)  # more than there is: the allocator's own error
    if kind == 'slow':
        time.sleep(float(value))
    found = real(self, inputs, **options)
    if kind == 'nan':
        found = {n: [Evidence(each.vector * float('nan')) for each in all_of]
                 for n, all_of in found.items()}
    return found
Binder.encode_evidence = encode
from lb_ros.start import start
"""


class Fault:
    """What is wrong with the encoders of a bringup that runs `FAULTY`; nothing at first."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / 'fault'
        self.set('')

    def set(self, kind: str) -> None:
        new = self.path.with_suffix('.new')
        new.write_text(kind)
        new.replace(self.path)  # never half written


@pytest.fixture
def fault(tmp_path: Path) -> Fault:
    return Fault(tmp_path)


@pytest.fixture(scope='module')
def ears() -> Iterator[Robot]:
    with own_domain(), listening() as found:
        yield found


@pytest.fixture
def robot(
    request: pytest.FixtureRequest,
    ears: Robot,
    tiny_model_set: Path,
    tmp_path: Path,
    fault: Fault,
) -> Iterator[Robot]:
    parameters = getattr(request, 'param', ())
    words = [str(fault.path)]
    with bringup(ears, tiny_model_set, tmp_path, *parameters, program=FAULTY, words=words):
        if 'autostart:=false' not in parameters:
            wait_until_all_are_known(ears, *PICTURES)
        ears.logs.clear()
        ears.heard.clear()
        yield ears


@pytest.fixture
def damaged(tiny_model_set: Path, tmp_path: Path) -> dict[str, Path]:
    """Model sets that cannot be loaded, by what is said of them."""
    said = ('no model set', 'sha256 differs', 'No such file', MANIFEST)
    found = {line: tmp_path / f'set{index}' for index, line in enumerate(said)}
    for folder in list(found.values())[1:]:
        shutil.copytree(tiny_model_set, folder)
    weights = found['sha256 differs'] / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-7])
    (found['No such file'] / WEIGHTS).unlink()
    (found[MANIFEST] / MANIFEST).write_text('{"name": ')
    return found


def said(name: str, *, positive: str = '', count: int = 1) -> Predicate:
    sentences = [positive or f'{name} is here'] * count
    return Predicate(name=name, positive=sentences, negative=[f'{name} is not here'])


LONG, MANY_TOKENS = 'very ' * 100 + 'hot', '7 ' * 150
BAD_TEXTS = [
    ([], 'there are no texts'),
    ([''], 'must not be empty'),
    (['the door is open', ' \t '], 'must not be empty'),
    (['the \x07 bell'], 'has control characters'),
    ([LONG], 'more than 400 characters'),
    ([MANY_TOKENS], 'would not read the last'),
    (['it is hot'] * 3000, '3000 texts are more than 1000'),
]
BAD_PREDICATES = [
    ([said(' ')], {' ': 'needs a name'}),
    ([said('good'), said('be\x07ll')], {'be\x07ll': 'printable characters'}),
    ([said('bell', positive='a \x07 bell')], {'bell': 'has control characters'}),
    ([said('long', positive=LONG)], {'long': 'more than 400 characters'}),
    ([said('tokens', positive=MANY_TOKENS)], {'tokens': 'would not read the last'}),
    ([said('good'), said('good')], {'good': 'two predicates are named'}),
    ([said('crowd', count=3000)], {'crowd': '3000 sentences are more than 1000'}),
    ([said(f'number {n}') for n in range(10_001)], {}),
]


def test_bad_text_changes_nothing_and_is_counted_and_logged_once(robot: Robot) -> None:
    def listed() -> list[str]:
        response = robot.call(ListPredicates, 'predicates/list', ListPredicates.Request())
        return [each.name for each in response.predicates]

    before = listed()
    for texts, says in BAD_TEXTS:
        answer = robot.call(QueryText, 'query', QueryText.Request(texts=texts))
        assert not answer.success
        assert says in answer.message
    for kind, name in ((SetPredicates, 'set'), (AddPredicates, 'add')):
        for predicates, reasons in BAD_PREDICATES:
            request = kind.Request(predicates=predicates)
            answer = robot.call(kind, f'predicates/{name}', request)
            assert not answer.success
            assert list(answer.refused) == list(reasons)
            for reason, says in zip(answer.reasons, reasons.values(), strict=True):
                assert says in reason
            assert list(answer.active) == before
    assert 'more than 10000' in answer.message
    counts = {
        'refused_query': len(BAD_TEXTS),
        'refused_predicates/set': len(BAD_PREDICATES),
        'refused_predicates/add': len(BAD_PREDICATES),
    }
    for key, count in counts.items():
        robot.until(
            lambda k=key, n=count: robot.told('/predicates: lifecycle', k) == str(n),
            limit_s=LIMIT_S,
        )
        assert robot.logged_once(f'{key.removeprefix("refused_")} was refused')
    assert listed() == before
    wait_until_all_are_known(robot, *PICTURES)
    answer = robot.call(QueryText, 'query', QueryText.Request(texts=['the drawer is open']))
    assert answer.success


@pytest.mark.parametrize('robot', [('autostart:=false', 'answer_within_s:=0.0')], indirect=True)
def test_a_model_that_cannot_be_loaded_leaves_the_node_unconfigured(
    robot: Robot, damaged: dict[str, Path], tiny_model_set: Path
) -> None:
    def use(model: Path) -> None:
        value = Parameter('model', value=str(model)).to_parameter_msg()
        request = SetParameters.Request(parameters=[value])
        answer = robot.call(SetParameters, 'bringup/set_parameters', request)
        assert answer.results[0].successful, answer

    def change(transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(robot.call(ChangeState, 'bringup/change_state', request).success)

    lifecycle = '/bringup: lifecycle'
    for says, model in damaged.items():
        robot.logs.clear()
        use(model)
        assert not change(CONFIGURE)
        robot.until(
            lambda s=says: (
                robot.told(lifecycle, 'state') == 'unconfigured'
                and s in robot.told(lifecycle, 'failure')
            ),
            limit_s=LIMIT_S,
        )
        assert robot.inputs[lifecycle].level == DiagnosticStatus.ERROR
        robot.until(lambda s=says: robot.lines(s), limit_s=LIMIT_S)
        assert len(robot.lines(says)) == 1
        assert not robot.states
    use(tiny_model_set)
    assert change(CONFIGURE)
    assert change(ACTIVATE)
    wait_until_all_are_known(robot, *PICTURES)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_at_work(
    robot: Robot, damaged: dict[str, Path]
) -> None:
    space = robot.heard[-1].language_space if robot.heard else None
    for count, (says, model) in enumerate(damaged.items(), 1):
        answer = robot.call(LoadModel, 'load_model', LoadModel.Request(model=str(model)))
        assert not answer.success
        assert says in answer.message
        robot.until(
            lambda n=count: robot.told('/predicates: lifecycle', 'refused_load_model') == str(n),
            lambda: robot.send(*PICTURES),
            limit_s=LIMIT_S,
        )
        since_ns = robot.now_ns()
        robot.until(
            lambda s=since_ns: (
                {e.modality for e in robot.heard if to_ns(e.header.stamp) > s} >= set(PICTURES)
            ),
            lambda: robot.send(*PICTURES),
            limit_s=LIMIT_S,
        )
        wait_until_all_are_known(robot, *PICTURES)
    assert robot.logged_once('load_model was refused')
    assert {e.model for e in robot.heard} == {'tiny'}
    assert {e.language_space for e in robot.heard} == {space or robot.heard[-1].language_space}


@pytest.mark.parametrize('robot', [('max_age_ms:=500.0',)], indirect=True)
def test_a_slow_model_takes_the_newest_and_never_makes_a_state_from_the_past(
    robot: Robot, fault: Fault
) -> None:
    dropped = robot.count('image', 'dropped')
    fault.set('slow 1.5')
    robot.until(
        lambda: robot.count('image', 'fault_slow') >= 3,
        lambda: robot.send('image'),
        limit_s=LIMIT_S,
    )
    assert robot.count('image', 'dropped') > dropped + 3
    assert robot.inputs[f'/{TOPICS["image"]}'].level == DiagnosticStatus.WARN
    assert robot.logged_once('ms after the message', TOPICS['image'])
    # Its evidence is too old when it is there.
    robot.until(lambda: not robot.knows('image'), lambda: robot.send('image'), limit_s=LIMIT_S)
    assert 'image stale' in robot.reasons['image']
    slow = [e for e in robot.heard if e.modality == 'image' and e.encode_ms > 1500]
    stamps = [to_ns(e.header.stamp) for e in slow]
    assert stamps == sorted(set(stamps))
    assert max(e.wait_ms for e in slow) < 500.0
    # What came to a call under way waits for its end; it is old by then.
    robot.until(
        lambda: robot.count('depth', 'fault_stale') > 0,
        camera_and_some_depth(robot),
        limit_s=LIMIT_S,
    )
    assert robot.count('depth', 'stale') > 0
    robot.until(  # the log may come after the diagnostics
        lambda: robot.logged_once('ms: the machine is busy', TOPICS['depth']), limit_s=LIMIT_S
    )
    fault.set('')
    wait_until_all_are_known(robot, *PICTURES)


def camera_and_some_depth(robot: Robot) -> Callable[[], None]:
    """Sends a camera that never pauses, and depth every two seconds."""
    next_s = [0.0]

    def send() -> None:
        robot.send('image')
        if time.monotonic() >= next_s[0]:
            next_s[0] = time.monotonic() + 2.0
            robot.send('depth')

    return send


def test_without_memory_batches_shrink_then_sensors_go_and_all_come_back(
    robot: Robot, fault: Fault
) -> None:
    def send() -> None:
        robot.send(*PICTURES)

    fault.set('room 1')
    robot.until(lambda: robot.told(ENGINE, 'batch') == '1', send, limit_s=LIMIT_S)
    robot.until(lambda: robot.lines('at most 1 samples at once'), limit_s=LIMIT_S)
    robot.heard.clear()
    robot.until(lambda: {e.modality for e in robot.heard} == set(PICTURES), send, limit_s=LIMIT_S)

    fault.set('room 0')
    infrared = f'/{TOPICS["infrared"]}'
    robot.until(
        lambda: (
            robot.count('infrared', 'fault_shed') > 0
            and robot.inputs[infrared].level == DiagnosticStatus.ERROR
            and not any(robot.knows(name) for name in PICTURES)
        ),
        send,
        limit_s=LIMIT_S,
    )
    robot.until(lambda: robot.count('image', 'fault_memory') > 0, send, limit_s=LIMIT_S)
    assert robot.count('image', 'fault_shed') == 0
    assert int(robot.told(ENGINE, 'out_of_memory')) > 0
    robot.until(lambda: robot.lines('infrared is shed'), limit_s=LIMIT_S)
    assert robot.logged_once(f'{infrared}: not encoded')

    fault.set('')
    wait_until_all_are_known(robot, *PICTURES)
    robot.until(
        lambda: (
            robot.told(ENGINE, 'batch') == robot.told(ENGINE, 'max_batch')
            and not robot.told(ENGINE, 'shed')
        ),
        send,
        limit_s=LIMIT_S,
    )
    assert robot.process.poll() is None


def test_an_embedding_that_is_not_finite_is_counted_and_never_told(
    robot: Robot, fault: Fault
) -> None:
    fault.set('nan')
    robot.until(
        lambda: robot.count('image', 'fault_not_finite') >= 3,
        lambda: robot.send('image'),
        limit_s=LIMIT_S,
    )
    robot.heard.clear()
    robot.until(lambda: not robot.knows('image'), lambda: robot.send('image'), limit_s=LIMIT_S)
    assert not robot.heard
    assert robot.logged_once('the embedding is not finite', TOPICS['image'])
    fault.set('')
    wait_until_all_are_known(robot, 'image')


def busy(robot: Robot, fault: Fault) -> None:
    """Have all cameras in a call that does not end for a minute."""
    fault.set('slow 60')
    encoded, since_s = '', time.monotonic()

    def stands_still() -> bool:
        nonlocal encoded, since_s
        if robot.told(ENGINE, 'encoded') != encoded:
            encoded, since_s = robot.told(ENGINE, 'encoded'), time.monotonic()
        return bool(robot.told(ENGINE, 'busy_with')) and time.monotonic() - since_s > 2.0

    robot.until(stands_still, lambda: robot.send(*PICTURES), limit_s=LIMIT_S)


def test_deactivation_amid_a_call_is_bounded(robot: Robot, fault: Fault) -> None:
    busy(robot, fault)
    began_s = time.monotonic()
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    assert robot.call(ChangeState, 'bringup/change_state', request).success
    assert time.monotonic() - began_s < STOP_S
    robot.until(lambda: set(robot.reasons.values()) == {'deactivated'}, limit_s=LIMIT_S)
    assert not any(robot.knows(name) for name in PICTURES)
    robot.until(lambda: robot.lines('is still being encoded'), limit_s=LIMIT_S)


@pytest.mark.parametrize('stop', [signal.SIGINT, signal.SIGTERM])
def test_a_stop_amid_a_call_is_bounded(robot: Robot, fault: Fault, stop: signal.Signals) -> None:
    busy(robot, fault)
    robot.process.send_signal(stop)
    output, _ = robot.process.communicate(timeout=STOP_S)
    assert robot.process.returncode == 0
    counters = json.loads(output.splitlines()[-1])['counters']
    assert counters['image']['received'] > 0
