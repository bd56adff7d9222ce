"""Any numeric field of any message is a channel."""

from __future__ import annotations

from types import SimpleNamespace as Message

import numpy as np
import pytest

from encoders.decode.channels import (
    ChannelDescription,
    TopicMessage,
    config_values,
    field_of,
    one_by_one,
    row_of,
    topics_of,
)
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


def test_the_entries_of_an_array_are_channels() -> None:
    pad = ChannelDescription('pressure on taxel {index}', topic='pad', field='data[2:4]')
    found = one_by_one({'pad': pad, 'room': ChannelDescription('temperature')})
    assert list(found) == ['pad[2]', 'pad[3]', 'room']
    assert found['pad[3]'].sentence == 'pressure on taxel 3'
    assert found['pad[3]'].source == 'pad:data[3]'
    assert one_by_one(found) == found


def test_an_empty_range_and_a_name_that_is_taken_are_refused() -> None:
    with pytest.raises(ValueError, match=r'pad: \[4:4\] of data\[4:4\] has no entry'):
        one_by_one({'pad': ChannelDescription('pressure', topic='pad', field='data[4:4]')})
    pad = ChannelDescription('pressure', topic='pad', field='data[0:2]')
    with pytest.raises(ValueError, match=r'two channels are named pad\[1\]'):
        one_by_one({'pad[1]': ChannelDescription('pressure'), 'pad': pad})


def test_a_message_fills_the_channels_of_its_topic() -> None:
    sources = ('pad:data[1]', 'motor:current', 'pad:data[0]', 'pad:data[7]', '')
    row = row_of(TopicMessage('pad', Message(data=[3.0, 4.0])), sources)
    np.testing.assert_array_equal(row, [4.0, np.nan, 3.0, np.nan, np.nan])
    assert topics_of(sources) == ('pad', 'motor')
    with pytest.raises(DecodeError, match="has no field 'current'"):
        row_of(TopicMessage('motor', Message(amperes=1.0)), sources)
