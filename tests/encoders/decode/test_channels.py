"""Any numeric field of any message is a channel."""

from __future__ import annotations

from types import SimpleNamespace as Message

import numpy as np
import pytest

from encoders.decode.channels import ChannelDescription, config_values, field_of
from encoders.decode.errors import DecodeError

WRENCH = Message(wrench=Message(force=Message(x=1.5, y=np.float32(2))), data=[3, 4.5, True])
JOINTS = Message(name=['b', 'a'], effort=[7.0, 8.0], position=np.zeros(0))


@pytest.mark.parametrize(
    ('message', 'path', 'value'),
    [
        (WRENCH, 'wrench.force.x', 1.5),
        (WRENCH, 'wrench.force.y', 2.0),
        (WRENCH, 'data[1]', 4.5),
        (WRENCH, 'data[2]', 1.0),
        (WRENCH, 'data[9]', np.nan),
        (JOINTS, 'effort{a}', 8.0),
        (JOINTS, 'effort{c}', np.nan),
        (JOINTS, 'position{a}', np.nan),
    ],
)
def test_a_field_is_read_by_its_path(message: Message, path: str, value: float) -> None:
    np.testing.assert_equal(field_of(message, path), value)


@pytest.mark.parametrize('path', ['wrench.torque', 'wrench.force', 'wrench.force.x[0]', 'name[0]'])
def test_what_is_no_number_is_an_error_that_names_the_path(path: str) -> None:
    message = JOINTS if path.startswith('name') else WRENCH
    with pytest.raises(DecodeError) as caught:
        field_of(message, path)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    'values',
    [
        {'sentence': ' '},
        {'sentence': 'force', 'topic': 'a'},
        {'sentence': 'force', 'topic': 'a', 'field': 'b..c'},
        {'sentence': 'force', 'floor': 0.0},
    ],
)
def test_a_description_that_means_nothing_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r'.'):
        ChannelDescription(**values)  # type: ignore[arg-type]


def test_descriptions_become_a_configuration() -> None:
    channels = {
        'torque': ChannelDescription('torque', topic='/nut/status', field='torque', floor=0.01),
        'angle': ChannelDescription('angle', relative=True, rests=True),
    }
    assert config_values(channels) == {
        'channels': ('torque', 'angle'),
        'words': ('torque', 'angle'),
        'relative': ('angle',),
        'resting': ('angle',),
        'sources': ('nut/status:torque', ''),
        'floor': (0.01, 1.0),
    }
