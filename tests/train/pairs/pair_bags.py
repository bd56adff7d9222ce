"""Bags of pictures and texts for tests of pairs, and the pairs they give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from train.pairs.make import plan_pairs, stream_pairs
from train.pairs.options import PairOptions, PairsReport
from train.pairs.record import Pair

MOMENTS = [{'hot(stove)': index % 2 == 0, 'open(top drawer)': index < 6} for index in range(12)]
START_S = 1_700_000_000
TYPES = get_typestore(Stores.ROS2_JAZZY)


def pairs_of(bag: Path, **options: Any) -> tuple[list[Pair], PairsReport]:
    report = PairsReport()
    sidecar = options.pop('sidecar', ())
    plan = plan_pairs([bag], PairOptions(**options), report=report, sidecar=sidecar)
    return list(stream_pairs(plan, report=report)), report


def write_texts(
    path: Path,
    texts: dict[str, list[tuple[float, str]]],
    *,
    frames_s: list[float],
    log_offset_s: float = 0.0,
) -> Path:
    """A bag of pictures (numbered by their shade) and texts at times in seconds."""
    kind, string = 'sensor_msgs/msg/Image', 'std_msgs/msg/String'
    events = [(s, '/camera/image', s) for s in frames_s]
    events += [(s, topic, text) for topic, said in texts.items() for s, text in said]
    events.sort(key=lambda event: event[0] if texts else 0)
    with Writer(path, version=9) as writer:
        links = {t: writer.add_connection(t, string, typestore=TYPES) for t in texts}
        links['/camera/image'] = writer.add_connection('/camera/image', kind, typestore=TYPES)
        for order, (seconds, topic, value) in enumerate(events):
            log_ns = round((START_S + log_offset_s + seconds) * 1e9)
            if topic == '/camera/image':
                message, name = picture(seconds, shade=order), kind
            else:
                message, name = TYPES.types[string](data=value), string
            writer.write(links[topic], log_ns, TYPES.serialize_cdr(message, name))
    return path


def picture(seconds: float, *, shade: int = 0) -> Any:
    types = TYPES.types
    total = round((START_S + seconds) * 1e9)
    stamp = types['builtin_interfaces/msg/Time'](sec=total // 10**9, nanosec=total % 10**9)
    return types['sensor_msgs/msg/Image'](
        header=types['std_msgs/msg/Header'](stamp=stamp, frame_id='camera'),
        height=16,
        width=16,
        encoding='mono8',
        is_bigendian=0,
        step=16,
        data=np.full(256, shade % 256, np.uint8),
    )


def said(pairs: list[Pair]) -> list[set[tuple[str, str]]]:
    return [{(text.text, text.source) for text in pair.texts} for pair in pairs]
