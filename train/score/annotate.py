"""Copies of bags with the scores as additional messages."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from encoders.atomic import atomic_file
from encoders.predicates.score_arrays import MESSAGES_MAX, array_fields
from encoders.predicates.scoring import Evaluation
from encoders.predicates.state_arrays import state_fields
from train.bags.folder import bag_files, bag_topics
from train.bags.reader import OWN_MESSAGES
from train.bags.storage import RawMessage, read_raw
from train.score.track import Scored

SCORES_TOPIC, STATES_TOPIC = 'predicates/scores', 'predicates/state'


def write_annotated(bag: Path, moments: Iterable[Scored], *, space: str, to: Path) -> list[str]:
    """Write an MCAP with all messages of a bag plus `PredicateScores` and `PredicateStates`.

    Args:
        bag: Original bag, MCAP or sqlite3.
        moments: Scored moments, in order of recording.
        space: Identity of the language space.
        to: MCAP file to write, atomically.

    Returns:
        One line per problem with the original.
    """
    problems: list[str] = []
    with atomic_file(to) as stream:
        writer = Writer(stream, compression=CompressionType.ZSTD)
        writer.start(profile='ros2', library='lb_ros')
        channels = _Channels(writer)
        originals = (m for file in bag_files(bag) for m in read_raw(file, problems.append))
        # Scores that were recorded live are kept unchanged.
        taken = {SCORES_TOPIC, STATES_TOPIC} & set(bag_topics(bag))
        added = _messages(moments, space, prefix='scored/' if taken else '')
        for message in heapq.merge(originals, added, key=lambda message: message.log_ns):
            channels.write(message)
        writer.finish()  # type: ignore[no-untyped-call]
    return problems


@dataclass
class _Channels:
    """Registers every topic when its first message is written."""

    writer: Writer
    known: dict[tuple[str, str], int] = field(default_factory=dict)
    count: int = 0

    def write(self, message: RawMessage) -> None:
        key = (message.topic, message.type_name)
        if key not in self.known:
            encoding = 'ros2idl' if message.definition.startswith('=' * 80) else 'ros2msg'
            schema = self.writer.register_schema(
                message.type_name, encoding, message.definition.encode()
            )
            self.known[key] = self.writer.register_channel(message.topic, 'cdr', schema)
        self.writer.add_message(
            channel_id=self.known[key],
            log_time=message.log_ns,
            publish_time=message.log_ns,
            data=message.raw,
            sequence=self.count,
        )
        self.count += 1


def _messages(moments: Iterable[Scored], space: str, *, prefix: str) -> Iterator[RawMessage]:
    store = own_types()
    definitions = {
        kind: store.generate_msgdef(f'lb_ros/msg/{kind}', ros_version=2)[0]
        for kind in ('PredicateScores', 'PredicateStates')
    }
    first = True
    for moment in moments:
        found = [('PredicateScores', SCORES_TOPIC, scores_message(store, moment, space))]
        if first or moment.evaluation.changed:
            found.append(('PredicateStates', STATES_TOPIC, states_message(store, moment)))
        first = False
        for kind, topic, message in found:
            name = f'lb_ros/msg/{kind}'
            raw = bytes(store.serialize_cdr(message, name))
            yield RawMessage(f'/{prefix}{topic}', name, moment.log_ns, raw, definitions[kind])


def own_types() -> Any:
    """Return a typestore with the messages of ROS 2 Jazzy and of this package."""
    store = get_typestore(Stores.ROS2_JAZZY)
    found: dict[str, Any] = {}
    for file in sorted(OWN_MESSAGES.glob('*.msg')):
        found |= get_types_from_msg(file.read_text(), f'lb_ros/msg/{file.stem}')
    store.register(found)
    return store


def new_message(store: Any, type_name: str, **values: Any) -> Any:
    """Create a message; as with a ROS constructor, omitted fields are zero or empty."""
    _, fields = store.fielddefs[type_name]
    zeros = {name: _zero(*described) for name, described in fields if name not in values}
    return store.types[type_name](**zeros, **values)


def _zero(node: Nodetype, described: Any) -> Any:
    if node is Nodetype.BASE:
        return '' if described[0] == 'string' else 0
    if node is Nodetype.SEQUENCE:
        (element, of), _ = described
        is_number = element is Nodetype.BASE and of[0] != 'string'
        return np.empty(0, of[0]) if is_number else []
    raise ValueError(f'no zero for {described}')


def scores_message(store: Any, moment: Scored, space: str) -> Any:
    """The `PredicateScores` message that the live node would publish at this moment."""
    evaluation = moment.evaluation
    values: dict[str, Any] = {}
    if len(evaluation.scores) > MESSAGES_MAX:
        values = array_fields(evaluation)
    else:
        values['scores'] = _entries(store, evaluation)
    return new_message(
        store,
        'lb_ros/msg/PredicateScores',
        header=_header(store, evaluation.newest_ns),
        language_space=space,
        latency_ms=(moment.time_ns - evaluation.newest_ns) * 1e-6,
        **values,
    )


def _entries(store: Any, evaluation: Evaluation) -> list[Any]:
    """One `PredicateScore` message per predicate."""
    return [
        new_message(
            store,
            'lb_ros/msg/PredicateScore',
            name=score.name,
            modalities=list(score.probability),
            similarities=np.array(list(score.similarity.values()), np.float32),
            probabilities=np.array(list(score.probability.values()), np.float32),
            ages_ms=np.array([evaluation.ages_ms[m] for m in score.probability], np.float32),
            probability=score.fused if score.can_tell else math.nan,
            calibrated=score.calibrated,
            reasons=list(score.reasons),
        )
        for score in evaluation.scores
    ]


def states_message(store: Any, moment: Scored) -> Any:
    """The `PredicateStates` message that the live node would publish at this moment."""
    states = moment.evaluation.states
    values: dict[str, Any] = {}
    if len(states) > MESSAGES_MAX:
        values = state_fields(states)
    else:
        values['states'] = [
            new_message(
                store,
                'lb_ros/msg/PredicateState',
                name=name,
                state=int(tracked.state),
                probability=tracked.probability,
                since=_time(store, round(tracked.since_ms * 1e6)),
                reason=tracked.reason,
            )
            for name, tracked in states.items()
        ]
    header = _header(store, moment.time_ns)
    return new_message(store, 'lb_ros/msg/PredicateStates', header=header, **values)


def _header(store: Any, stamp_ns: int) -> Any:
    return store.types['std_msgs/msg/Header'](stamp=_time(store, stamp_ns), frame_id='')


def _time(store: Any, stamp_ns: int) -> Any:
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    return store.types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=rest)
