"""Nodes under nav2's lifecycle manager: its service calls, in its order.

What is called and waited for is that of nav2_lifecycle_manager (Humble to Kilted), with
`bond_timeout` 0: each node in turn gets `change_state` without a limit, whose answer is not looked
at, and must then tell the wanted state by `get_state` in time. Down goes in reverse order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from tests.lb_ros.robot import (
    LIMIT_S,
    START_S,
    Robot,
    bringup,
    listening,
    wait_until_all_are_known,
)

pytestmark = pytest.mark.ros

# nav2 waits for 5 and 2 s; a machine that other tests keep busy gets ten times as long.
WAIT_FOR_SERVICE_S, GET_STATE_S = 50.0, 20.0
CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
SHUTDOWN = Transition.TRANSITION_UNCONFIGURED_SHUTDOWN
LEADS_TO = {
    CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}


class Nav2Manager:
    """Commands of `manage_nodes`, each True where it succeeded."""

    def __init__(self, robot: Robot, names: tuple[str, ...]) -> None:
        self._robot, self._names = robot, names

    def startup(self) -> bool:
        return self._all(CONFIGURE) and self._all(ACTIVATE)

    def pause(self) -> bool:
        return self._all(DEACTIVATE)

    def resume(self) -> bool:
        return self._all(ACTIVATE)

    def reset(self) -> bool:
        return self._all(DEACTIVATE) and self._all(CLEANUP)

    def shutdown(self) -> bool:
        return self.reset() and self._all(SHUTDOWN)

    def _all(self, transition: int) -> bool:
        up = transition in (CONFIGURE, ACTIVATE)
        names = self._names if up else reversed(self._names)
        return all(self._one(name, transition) for name in names)

    def _one(self, name: str, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        self._robot.call(
            ChangeState,
            f'{name}/change_state',
            request,
            limit_s=START_S,
            ready_s=WAIT_FOR_SERVICE_S,
        )
        answer = self._robot.call(
            GetState, f'{name}/get_state', GetState.Request(), limit_s=GET_STATE_S
        )
        return bool(answer.current_state.id == LEADS_TO[transition])


@pytest.fixture
def robot(
    request: pytest.FixtureRequest, ros_domain: int, tiny_model_set: Path, tmp_path: Path
) -> Iterator[Robot]:
    model = getattr(request, 'param', tiny_model_set)
    parameters = ('autostart:=false', 'modalities:=[image, depth]')
    with listening() as found, bringup(found, model, tmp_path, *parameters):
        # The process takes its time to start; nav2 would be started again, or a little later.
        found.until(lambda: '/bringup: lifecycle' in found.inputs, limit_s=START_S)
        yield found


@pytest.mark.parametrize(
    'names', [('bringup',), ('camera_encoder', 'depth_encoder', 'predicates')], ids=len
)
def test_the_manager_starts_pauses_resets_and_shuts_down(
    robot: Robot, names: tuple[str, ...]
) -> None:
    manager = Nav2Manager(robot, names)
    assert manager.startup()
    wait_until_all_are_known(robot, 'image', 'depth')
    assert manager.pause()
    robot.until(lambda: not robot.knows('image') and not robot.knows('depth'), limit_s=LIMIT_S)
    assert manager.resume()
    wait_until_all_are_known(robot, 'image', 'depth')
    assert manager.reset()
    assert manager.startup()
    wait_until_all_are_known(robot, 'image', 'depth')
    assert manager.shutdown()
    assert robot.process.poll() is None  # what has shut its nodes down is ended by who started it


@pytest.mark.parametrize('robot', ['no_such_model'], indirect=True)
def test_the_manager_learns_that_a_node_cannot_start(robot: Robot) -> None:
    assert not Nav2Manager(robot, ('bringup',)).startup()
    assert 'no_such_model' in robot.told('/bringup: lifecycle', 'failure')
