"""The shipped Foxglove layout asks for topics, fields and predicates that there are."""

from __future__ import annotations

import json
import re
from typing import Any

from encoders import MODALITIES, SERIES, load_predicates
from encoders.shipped import shipped
from train.score.annotate import SCORES_TOPIC, STATES_TOPIC, own_types

PATH = re.compile(
    r'/(?P<topic>[a-z_/]+)\.(?P<field>[\w.]+)'
    r'(\[:\](\{name=="(?P<name>\w+)"\}\.(?P<of>\w+))?)?'
)
SENSED = {
    'wrist/wrench': 'geometry_msgs/msg/WrenchStamped',
    'joint_states': 'sensor_msgs/msg/JointState',
    'imu/data': 'sensor_msgs/msg/Imu',
}
KINDS = {SCORES_TOPIC: 'PredicateScores', STATES_TOPIC: 'PredicateStates'}


def panels_of(layout: Any) -> list[str]:
    if isinstance(layout, str):
        return [layout]
    return panels_of(layout['first']) + panels_of(layout['second'])


def has_field(kind: str, path: list[str]) -> bool:
    fields = dict(own_types().fielddefs[kind][1])
    if path[0] not in fields:
        return False
    return len(path) == 1 or has_field(fields[path[0]][1], path[1:])


def test_layout_names_what_exists() -> None:
    layout = json.loads(shipped('config/foxglove_layout.json').read_text())
    panels = layout['configById']
    assert sorted(panels_of(layout['layout'])) == sorted(panels)
    fields = own_types().fielddefs
    asked, felt = set(), set()
    for entry in (path for panel in panels.values() for path in panel.get('paths', ())):
        found = PATH.fullmatch(entry['value'])
        assert found is not None, entry['value']
        if found['topic'] in SENSED:
            felt.add(found['topic'])
            assert has_field(SENSED[found['topic']], found['field'].split('.'))
            continue
        kind = KINDS[found['topic']]
        assert found['field'] in dict(fields[f'lb_ros/msg/{kind}'][1])
        if found['name']:
            assert found['of'] in dict(fields[f'lb_ros/msg/{kind[:-1]}'][1])
            asked.add((kind, found['name']))
    names = [p.name for p in load_predicates(shipped('config/predicates.yaml'))]
    assert asked == {(kind, name) for kind in KINDS.values() for name in names}
    assert felt == {topic for name in SERIES for topic in MODALITIES[name].topics}
    topics = {p['imageMode']['imageTopic'] for p in panels.values() if 'imageMode' in p}
    sensors = {f'/{MODALITIES[m].topic}' for m in ('image', 'depth', 'infrared')}
    assert {topic.removesuffix('/compressed') for topic in topics} == sensors
