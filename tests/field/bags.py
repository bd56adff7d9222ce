"""Small bags in every container that people bring, whole and broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zstandard
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from train.bags.reader import OWN_MESSAGES

START_NS = 1_700_000_000_000_000_000
STEP_NS = 250_000_000
SIDE = 32
STORE = get_typestore(Stores.ROS2_JAZZY)
for _name in ('AudioChunk', 'PredicateTruth'):
    _text = (OWN_MESSAGES / f'{_name}.msg').read_text()
    STORE.register(get_types_from_msg(_text, f'lb_ros/msg/{_name}'))
TYPES = STORE.types


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, on which topic, and when it was recorded."""

    topic: str
    log_ns: int
    message: Any

    @property
    def raw(self) -> bytes:
        """Its CDR bytes."""
        return bytes(STORE.serialize_cdr(self.message, self.message.__msgtype__))


def header(stamp_ns: int) -> Any:
    """A `std_msgs/Header`."""
    stamp = TYPES['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    return TYPES['std_msgs/msg/Header'](stamp, 'sensor')


def image(stamp_ns: int, encoding: str, array: Any, **changes: Any) -> Any:
    """A raw `sensor_msgs/Image`; `changes` replace fields."""
    fields = {
        'header': header(stamp_ns),
        'height': array.shape[0],
        'width': array.shape[1],
        'encoding': encoding,
        'is_bigendian': 0,
        'step': array.strides[0],
        'data': np.frombuffer(array.tobytes(), np.uint8),
    }
    return TYPES['sensor_msgs/msg/Image'](**(fields | changes))


def packed(stamp_ns: int, described: str, data: bytes) -> Any:
    """A `sensor_msgs/CompressedImage`."""
    kind = TYPES['sensor_msgs/msg/CompressedImage']
    return kind(header(stamp_ns), described, np.frombuffer(data, np.uint8))


def colour(k: int) -> Any:
    """RGB uint8 of moment `k`."""
    rng = np.random.default_rng(k)
    return rng.integers(40, 220, (SIDE, SIDE, 3)).astype(np.uint8)


def depth_mm(k: int) -> Any:
    """Millimetres uint16 of moment `k`."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return (900 + 4 * x + 2 * y + 10 * k).astype(np.uint16)


def truth(stamp_ns: int, k: int) -> Any:
    """Ground truth of moment `k`."""
    names = ['open(top drawer)', 'hot(stove)']
    values = np.array([k % 2 == 0, k % 3 == 0], bool)
    return TYPES['lb_ros/msg/PredicateTruth'](header(stamp_ns), names, values)


def good(count: int = 12, *, start_ns: int = START_NS) -> list[Sent]:
    """What a robot with a camera and a depth camera records, with ground truth."""
    sent = []
    for k in range(count):
        ns = start_ns + k * STEP_NS
        sent.append(Sent('camera/image', ns, image(ns, 'rgb8', colour(k))))
        sent.append(Sent('depth/image', ns, image(ns, '16UC1', depth_mm(k))))
        sent.append(Sent('ground_truth/predicates', ns, truth(ns, k)))
    return sent


def write(
    path: Path,
    sent: Sequence[Sent],
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    mode: CompressionMode | None = None,
) -> Path:
    """A rosbag2 folder."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if mode is not None:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        links: dict[str, Any] = {}
        for one in sent:
            kind = one.message.__msgtype__
            if one.topic not in links:
                links[one.topic] = writer.add_connection(f'/{one.topic}', kind, typestore=STORE)
            writer.write(links[one.topic], one.log_ns, one.raw)
    return path


def file_of(bag: Path) -> Path:
    """The one storage file of a bag folder."""
    (found,) = (file for file in bag.iterdir() if file.suffix != '.yaml')
    return found


def alone(bag: Path, *, name: str = '', data: bytes | None = None) -> Path:
    """The storage file of a bag without its folder, perhaps under another name or damaged."""
    file = file_of(bag)
    to = bag.parent / (name or f'{bag.name}{file.suffix}')
    to.write_bytes(file.read_bytes() if data is None else data)
    return to


def zstd(data: bytes) -> bytes:
    """As rosbag2 compresses files."""
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


def jpeg(array: Any) -> bytes:
    """Of RGB or grey."""
    plain = array[..., ::-1] if array.ndim == 3 else array
    return bytes(cv2.imencode('.jpg', plain, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
