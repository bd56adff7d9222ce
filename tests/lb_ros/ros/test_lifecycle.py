"""Nodes are configured, activated, deactivated and cleaned up as a lifecycle manager does it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from lb_ros.msg import Embedding, PredicateStates
from lb_ros.ros.lifecycle import Transitions
from lb_ros.ros.qos import LATCHED
from tests.waiting import wait_until

pytestmark = pytest.mark.ros

LIMIT_S = 90.0
CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


class Manager(Node):
    """Drives lifecycle nodes and a camera, and listens to what comes back."""

    def __init__(self) -> None:
        super().__init__('manager')
        self.executor_ = SingleThreadedExecutor()
        self.executor_.add_node(self)
        self.heard: list[Embedding] = []
        self.states: list[PredicateStates] = []
        self.reports: dict[str, str] = {}
        self.camera = self.create_publisher(Image, 'camera/image', qos_profile_sensor_data)
        self.create_subscription(
            Embedding, 'embeddings/image', self.heard.append, qos_profile_sensor_data
        )
        self.create_subscription(PredicateStates, 'predicates/state', self.states.append, LATCHED)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._report, 10)

    def _report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.reports[status.name] = status.message

    def until(self, holds: Callable[[], Any], *, see: bool = False) -> None:
        def meanwhile() -> None:
            if see:
                self.see()
            self.executor_.spin_once(timeout_sec=0.05)

        wait_until(holds, limit_s=LIMIT_S, meanwhile=meanwhile)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.create_client(kind, name)
        assert client.wait_for_service(LIMIT_S)
        future = client.call_async(request)
        self.until(future.done)
        self.destroy_client(client)
        return future.result()

    def change(self, node: str, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f'{node}/change_state', request).success)

    def state(self, node: str) -> str:
        found = self.call(GetState, f'{node}/get_state', GetState.Request())
        return str(found.current_state.label)

    def set(self, node: str, name: str, value: object) -> Any:
        client = AsyncParameterClient(self, node)
        assert client.wait_for_services(LIMIT_S)
        future = client.set_parameters([Parameter(name, value=value)])
        self.until(future.done)
        return future.result().results[0]

    def see(self) -> None:
        pixels = np.full((48, 64, 3), 90, np.uint8)
        message = Image(encoding='rgb8', height=48, width=64, step=192, data=pixels.tobytes())
        message.header.stamp = self.get_clock().now().to_msg()
        self.camera.publish(message)


@pytest.fixture
def manager(ros_domain: int) -> Iterator[Manager]:
    rclpy.init()
    node = Manager()
    yield node
    node.executor_.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def bringup(ros_domain: int, tiny_model_set: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    command += ['-p', f'model:={tiny_model_set}', '-p', 'autostart:=false']
    command += ['-p', 'modalities:=[image]', '-p', 'answer_within_s:=0.0']
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)
    yield process
    process.kill()
    process.wait()


def test_a_manager_brings_nodes_up_and_down(
    manager: Manager, bringup: subprocess.Popen[str], tiny_model_set: Path
) -> None:
    assert manager.state('bringup') == manager.state('camera_encoder') == 'unconfigured'
    # What is not possible from here is refused, and the node lives on.
    assert not manager.change('bringup', ACTIVATE)
    assert manager.set('bringup', 'model', 'no_such_model').successful
    assert not manager.change('bringup', CONFIGURE)
    assert manager.state('bringup') == manager.state('camera_encoder') == 'unconfigured'
    manager.until(lambda: 'no_such_model' in manager.reports.get('/bringup: lifecycle', ''))
    assert manager.set('bringup', 'model', str(tiny_model_set)).successful

    assert manager.change('bringup', CONFIGURE)
    assert manager.state('camera_encoder') == manager.state('predicates') == 'inactive'
    assert not manager.set('bringup', 'model', 'other').successful
    for _ in range(5):
        manager.see()
    assert manager.change('bringup', ACTIVATE)
    assert manager.state('camera_encoder') == 'active'
    for name in ('bringup', 'camera_encoder', 'predicates'):
        manager.until(lambda n=name: manager.reports.get(f'/{n}: lifecycle') == 'active')
    assert not manager.heard
    manager.until(lambda: manager.heard and manager.states, see=True)

    began_s = time.monotonic()
    assert manager.change('bringup', DEACTIVATE)
    assert time.monotonic() - began_s < 5.0
    manager.until(
        lambda: all(s.reason == 'deactivated' for s in manager.states[-1].states),
    )
    manager.heard.clear()
    for _ in range(5):
        manager.see()
    assert manager.change('bringup', CLEANUP)
    assert manager.state('predicates') == 'unconfigured'
    assert not manager.heard
    # Once more, and one node by itself this time.
    assert manager.change('camera_encoder', CONFIGURE)
    assert manager.change('camera_encoder', ACTIVATE)
    manager.until(lambda: manager.heard, see=True)
    assert manager.state('predicates') == 'unconfigured'


class Slow(LifecycleNode):
    """Its configuration ends when it is let go."""

    def __init__(self) -> None:
        super().__init__('slow')
        self.transitions = Transitions(self, answer_within_s=lambda: 0.2)
        self.go = threading.Event()
        self.outcome = TransitionCallbackReturn.SUCCESS

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        assert self.go.wait(LIMIT_S)
        if self.outcome is not TransitionCallbackReturn.SUCCESS:
            self.transitions.failure = 'it was not to be'
        return self.outcome


@pytest.fixture
def slow(manager: Manager) -> Iterator[Slow]:
    node = Slow()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield node
    node.go.set()
    executor.shutdown()
    thread.join(LIMIT_S)
    node.transitions.close()
    node.destroy_node()


def test_slow_work_is_answered_in_time_and_reported(manager: Manager, slow: Slow) -> None:
    began_s = time.monotonic()
    assert manager.change('slow', CONFIGURE)
    assert time.monotonic() - began_s < 5.0
    assert slow.transitions.rising
    assert manager.state('slow') == 'inactive'
    manager.until(lambda: manager.reports.get('/slow: lifecycle', '').startswith('configuring'))
    slow.go.set()
    manager.until(lambda: not slow.transitions.rising)
    assert manager.change('slow', ACTIVATE)
    manager.until(lambda: manager.reports.get('/slow: lifecycle') == 'active')


def test_slow_work_that_fails_is_undone(manager: Manager, slow: Slow) -> None:
    slow.outcome = TransitionCallbackReturn.FAILURE
    assert manager.change('slow', CONFIGURE)
    assert manager.state('slow') == 'inactive'
    slow.go.set()
    manager.until(lambda: manager.state('slow') == 'unconfigured')
    manager.until(lambda: manager.reports.get('/slow: lifecycle') == 'it was not to be')


def test_a_node_answers_while_it_works(manager: Manager, slow: Slow) -> None:
    client = manager.create_client(ChangeState, 'slow/change_state')
    assert client.wait_for_service(LIMIT_S)
    slow.transitions._answer_within_s = lambda: 0.0
    request = ChangeState.Request(transition=Transition(id=CONFIGURE))
    changed = client.call_async(request)
    manager.until(lambda: slow.transitions.rising)
    assert manager.state('slow') == 'configuring'
    assert not manager.change('slow', ACTIVATE)
    assert not changed.done()
    slow.go.set()
    manager.until(changed.done)
    assert changed.result().success
