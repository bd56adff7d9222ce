"""Writing of an episode as a robot would log it: a rosbag2 MCAP bag of standard message types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from train.bags.reader import OWN_MESSAGES
from train.simulate.camera import Frame
from train.simulate.series_messages import (
    IMU,
    JOINTS,
    WRENCH,
    SeriesMessages,
    imu_messages,
    joint_messages,
    wrench_messages,
)
from train.simulate.sound import RATE_HZ

START_NS = 1_700_000_000_000_000_000  # a fixed date, so that equal seeds give identical files
CHUNK_S = 0.1
JPEG_QUALITY = 90
CAMERA_FRAME = 'camera_optical_frame'
MICROPHONE_FRAME = 'microphone'
TOUCH_TOPIC, TOUCH_FRAME = 'touch/image', 'finger_pads'
WRENCH_TOPIC, WRENCH_FRAME = 'wrist/wrench', 'wrist_ft'
JOINTS_TOPIC = 'joint_states'
IMU_TOPIC, IMU_FRAME = 'imu/data', 'hand_imu'
# compressed_depth_image_transport prepends its format (0 = unchanged) and two quantisation
# parameters, which only inverse-depth images use.
DEPTH_HEADER = bytes(12)
TYPES = {
    'camera/image/compressed': 'sensor_msgs/msg/CompressedImage',
    'camera/camera_info': 'sensor_msgs/msg/CameraInfo',
    'depth/image/compressedDepth': 'sensor_msgs/msg/CompressedImage',
    'infrared/image': 'sensor_msgs/msg/Image',
    'microphone/audio': 'lb_ros/msg/AudioChunk',
    'touch/image': 'sensor_msgs/msg/Image',
    'wrist/wrench': WRENCH,
    'joint_states': JOINTS,
    'imu/data': IMU,
    'task/text': 'std_msgs/msg/String',
    'ground_truth/predicates': 'lb_ros/msg/PredicateTruth',
    'ground_truth/regions': 'lb_ros/msg/RegionTruth',
}


class EpisodeBag:
    """The messages of an episode, collected and then written in order of time.

    Args:
        path: Folder of the new bag.
        marks: Origin of the bag (suite, split, seed, scene), stored as custom data.
    """

    def __init__(self, path: Path, marks: Mapping[str, str]) -> None:
        self._path, self._marks = path, dict(marks)
        self._messages: list[tuple[int, str, bytes]] = []
        self._types = get_typestore(Stores.ROS2_JAZZY)
        for name in ('AudioChunk', 'PredicateTruth', 'RegionTruth'):
            text = (OWN_MESSAGES / f'{name}.msg').read_text()
            self._types.register(get_types_from_msg(text, f'lb_ros/msg/{name}'))

    def mark(self, key: str, value: str) -> None:
        """Add an entry to `marks`, for facts known only after the recording."""
        self._marks[key] = value

    def task(self, text: str) -> None:
        """Add the instruction of the episode."""
        self._add('task/text', 0.0, self._new('std_msgs/msg/String', data=text))

    def frame(self, at_s: float, frame: Frame, *, focal_px: float) -> None:
        """Add one frame of the cameras."""
        height, width = frame.depth_mm.shape
        bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        self._add('camera/image/compressed', at_s, self._compressed(at_s, 'jpeg', jpeg))
        png = cv2.imencode('.png', frame.depth_mm, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]
        with_header = np.concatenate([np.frombuffer(DEPTH_HEADER, np.uint8), png.ravel()])
        kind = '16UC1; compressedDepth png'
        self._add('depth/image/compressedDepth', at_s, self._compressed(at_s, kind, with_header))
        if frame.infrared is not None:
            infrared = self._image(at_s, frame.infrared, encoding='mono16', frame_id=CAMERA_FRAME)
            self._add('infrared/image', at_s, infrared)
        self._add('camera/camera_info', at_s, self._camera_info(at_s, focal_px, width, height))

    def touch(self, at_s: float, gel: NDArray[np.uint8]) -> None:
        """Add an image of the gels of both finger pads, uint8 `[H, W, 3]` RGB."""
        self._add(TOUCH_TOPIC, at_s, self._image(at_s, gel, encoding='rgb8', frame_id=TOUCH_FRAME))

    def wrench(self, at_s: NDArray[np.float64], wrench: NDArray[np.float64]) -> None:
        """Add readings of the wrist's force-torque sensor, `[N]` times and `[N, 6]` N and N m."""
        stamps = _stamps(at_s)
        self._series(
            WRENCH_TOPIC, wrench_messages(self._types, stamps, wrench, frame_id=WRENCH_FRAME)
        )

    def joints(
        self,
        at_s: NDArray[np.float64],
        names: Sequence[str],
        states: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    ) -> None:
        """Add joint states: `[N]` times, `J` names; position, velocity and effort `[N, J]`."""
        self._series(JOINTS_TOPIC, joint_messages(self._types, _stamps(at_s), names, states))

    def imu(
        self,
        at_s: NDArray[np.float64],
        rate: NDArray[np.float64],
        acceleration: NDArray[np.float64],
    ) -> None:
        """Add readings of the hand's inertial unit: `[N]` times, `[N, 3]` rad/s and m/s^2."""
        stamps = _stamps(at_s)
        self._series(
            IMU_TOPIC, imu_messages(self._types, stamps, rate, acceleration, frame_id=IMU_FRAME)
        )

    def sound(self, at_s: float, wave: NDArray[np.int16]) -> None:
        """Add audio that starts at `at_s`, int16 `[samples]`, cut into chunks."""
        size = round(CHUNK_S * RATE_HZ)
        for begin in range(0, len(wave), size):
            first_s = at_s + begin / RATE_HZ
            piece = wave[begin : begin + size]
            chunk = self._new(
                'lb_ros/msg/AudioChunk',
                header=self._header(first_s, MICROPHONE_FRAME),
                sample_rate_hz=RATE_HZ,
                channels=1,
                samples=piece,
            )
            self._add('microphone/audio', first_s + len(piece) / RATE_HZ, chunk)

    def truth(self, at_s: float, truth: Mapping[str, bool]) -> None:
        """Add the known truth of predicates."""
        message = self._new(
            'lb_ros/msg/PredicateTruth',
            header=self._header(at_s, 'world'),
            predicates=list(truth),
            values=np.array(list(truth.values()), dtype=bool),
        )
        self._add('ground_truth/predicates', at_s, message)

    def regions(self, at_s: float, labels: NDArray[np.uint8], names: Sequence[str]) -> None:
        """Add the named part that each cell of a frame shows (see `Frame.regions`)."""
        message = self._new(
            'lb_ros/msg/RegionTruth',
            header=self._header(at_s, CAMERA_FRAME),
            names=list(names),
            height=labels.shape[0],
            width=labels.shape[1],
            labels=labels.ravel(),
        )
        self._add('ground_truth/regions', at_s, message)

    def write(self) -> None:
        """Write the bag; messages with equal times keep the order in which they were added.

        Raises:
            rosbags.rosbag2.WriterError: The folder already exists.
        """
        writer = Writer(self._path, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        for key, value in self._marks.items():
            writer.set_custom_data(f'lb_ros.{key}', value)
        used = {topic for _, topic, _ in self._messages}
        with writer:
            connections = {
                topic: writer.add_connection(f'/{topic}', kind, typestore=self._types)
                for topic, kind in TYPES.items()
                if topic in used
            }
            for log_ns, topic, raw in sorted(self._messages, key=lambda entry: entry[0]):
                writer.write(connections[topic], log_ns, raw)

    def _new(self, kind: str, **fields: Any) -> Any:
        return self._types.types[kind](**fields)

    def _add(self, topic: str, at_s: float, message: Any) -> None:
        raw = bytes(self._types.serialize_cdr(message, TYPES[topic]))
        self._messages.append((_nanoseconds(at_s), topic, raw))

    def _series(self, topic: str, series: SeriesMessages) -> None:
        self._messages += [
            (stamp, topic, raw.tobytes())
            for stamp, raw in zip(series.stamps_ns.tolist(), series.raw, strict=True)
        ]

    def _header(self, at_s: float, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(_nanoseconds(at_s), 1_000_000_000)
        stamp = self._new('builtin_interfaces/msg/Time', sec=seconds, nanosec=nanoseconds)
        return self._new('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)

    def _image(self, at_s: float, pixels: NDArray[Any], *, encoding: str, frame_id: str) -> Any:
        return self._new(
            'sensor_msgs/msg/Image',
            header=self._header(at_s, frame_id),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.view(np.uint8).ravel(),
        )

    def _compressed(self, at_s: float, kind: str, data: NDArray[Any]) -> Any:
        return self._new(
            'sensor_msgs/msg/CompressedImage',
            header=self._header(at_s, CAMERA_FRAME),
            format=kind,
            data=np.ascontiguousarray(data, np.uint8).ravel(),
        )

    def _camera_info(self, at_s: float, focal_px: float, width: int, height: int) -> Any:
        k = np.array([focal_px, 0, width / 2, 0, focal_px, height / 2, 0, 0, 1.0])
        p = np.array([focal_px, 0, width / 2, 0, 0, focal_px, height / 2, 0, 0, 0, 1.0, 0])
        return self._new(
            'sensor_msgs/msg/CameraInfo',
            header=self._header(at_s, CAMERA_FRAME),
            height=height,
            width=width,
            distortion_model='plumb_bob',
            d=np.zeros(5),
            k=k,
            r=np.eye(3).ravel(),
            p=p,
            binning_x=0,
            binning_y=0,
            roi=self._new(
                'sensor_msgs/msg/RegionOfInterest',
                x_offset=0,
                y_offset=0,
                height=0,
                width=0,
                do_rectify=False,
            ),
        )


def _stamps(at_s: NDArray[np.float64]) -> NDArray[np.int64]:
    return START_NS + np.round(at_s * 1e9).astype(np.int64)


def _nanoseconds(at_s: float) -> int:
    return START_NS + round(at_s * 1e9)
