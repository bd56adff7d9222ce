"""Bags of series: contact presses, a held thing loads the finger, slip shakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from train.bags.reader import OWN_MESSAGES

START_NS = 1_700_000_000_000_000_000
RATES_HZ = {'wrench': 250.0, 'joints': 125.0, 'imu': 200.0}
TYPES = {
    'wrench': ('/wrist/wrench', 'geometry_msgs/msg/WrenchStamped'),
    'joints': ('/joint_states', 'sensor_msgs/msg/JointState'),
    'imu': ('/imu/data', 'sensor_msgs/msg/Imu'),
    'truth': ('/ground_truth/predicates', 'lb_ros/msg/PredicateTruth'),
}
JOINTS = ('finger_joint', *(f'joint{n}' for n in range(1, 8)))
FACTS = ('contact(tool, table)', 'holding(something)', 'slipping(cup)')
STEP_S = 1.0
Moments = Sequence[Mapping[str, bool]]


def random_facts(count: int, *, seed: int) -> list[dict[str, bool]]:
    """Truths of three facts that have nothing to do with each other; at first all are false."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2, (count, 3))
    rows[0] = 0
    return [dict(zip(FACTS, map(bool, row), strict=True)) for row in rows]


class SeriesBag:
    """Writes what is true as physics would: each fact holds over the second before its stamp."""

    def __init__(self, *, topics: Mapping[str, str] | None = None) -> None:
        self._topics = {name: topic for name, (topic, _) in TYPES.items()} | dict(topics or {})
        self._types = get_typestore(Stores.ROS2_JAZZY)
        text = (OWN_MESSAGES / 'PredicateTruth.msg').read_text()
        self._types.register(get_types_from_msg(text, 'lb_ros/msg/PredicateTruth'))

    def write(
        self,
        path: Path,
        moments: Moments,
        *,
        seed: int = 0,
        skip: Sequence[str] = (),
        dead_after_s: Mapping[str, float] | None = None,
        silent_s: Mapping[str, tuple[float, float]] | None = None,
    ) -> Path:
        """One bag with a moment every second; sensors in `skip` are left out.

        From `dead_after_s` on, a sensor repeats its last message with a new stamp. Between the two
        times of `silent_s`, it sends nothing.
        """
        dead = {name: START_NS + round(s * 1e9) for name, s in (dead_after_s or {}).items()}
        silent = {name: (silent_s or {}).get(name, (0.0, 0.0)) for name in RATES_HZ}
        last: dict[str, Any] = {}
        rng = np.random.default_rng(seed)
        bias = rng.normal(0, 2, 6) * np.array([1, 1, 1, 0.05, 0.05, 0.05])
        found: list[tuple[int, str, Any]] = []
        for index, truth in enumerate(moments):
            begin_ns = START_NS + round(index * STEP_S * 1e9)
            for name, rate_hz in RATES_HZ.items():
                for step in range(round(rate_hz * STEP_S)):
                    stamp_ns = begin_ns + round(step * 1e9 / rate_hz)
                    since_s = (stamp_ns - START_NS) * 1e-9
                    if silent[name][0] <= since_s < silent[name][1]:
                        continue
                    if name in last and stamp_ns >= dead.get(name, stamp_ns + 1):
                        header = self._header(stamp_ns, last[name].header.frame_id)
                        last[name] = replace(last[name], header=header)
                    else:
                        last[name] = getattr(self, f'_{name}')(stamp_ns, truth, rng, bias)
                    found.append((stamp_ns, name, last[name]))
            stamp_ns = begin_ns + round(STEP_S * 1e9)
            found.append((stamp_ns, 'truth', self._truth(stamp_ns, truth)))
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            links = {
                name: writer.add_connection(
                    self._topics[name], TYPES[name][1], typestore=self._types
                )
                for name in TYPES
                if name not in skip
            }
            for stamp_ns, name, message in sorted(found, key=lambda entry: entry[0]):
                if name in links:
                    raw = self._types.serialize_cdr(message, message.__msgtype__)
                    writer.write(links[name], stamp_ns, raw)
        return path

    def _wrench(
        self, stamp_ns: int, truth: Mapping[str, bool], rng: np.random.Generator, bias: np.ndarray
    ) -> Any:
        values = bias + rng.normal(0, 0.1, 6) * np.array([1, 1, 1, 0.05, 0.05, 0.05])
        values[2] -= 8.0 * truth[FACTS[0]]
        new = self._new
        return new(
            'geometry_msgs/msg/WrenchStamped',
            header=self._header(stamp_ns, 'tool0'),
            wrench=new(
                'geometry_msgs/msg/Wrench',
                force=self._vector(values[:3]),
                torque=self._vector(values[3:]),
            ),
        )

    def _joints(
        self, stamp_ns: int, truth: Mapping[str, bool], rng: np.random.Generator, bias: np.ndarray
    ) -> Any:
        effort = rng.normal(0, 0.3, len(JOINTS))
        effort[0] += 15.0 * truth[FACTS[1]]
        return self._new(
            'sensor_msgs/msg/JointState',
            header=self._header(stamp_ns, ''),
            name=list(JOINTS),
            position=rng.normal(0, 1e-3, len(JOINTS)) + np.arange(len(JOINTS)) / 5,
            velocity=rng.normal(0, 1e-2, len(JOINTS)),
            effort=effort,
        )

    def _imu(
        self, stamp_ns: int, truth: Mapping[str, bool], rng: np.random.Generator, bias: np.ndarray
    ) -> Any:
        shake = 2.0 if truth[FACTS[2]] else 0.1
        values = rng.normal(0, shake, 6) * np.array([1, 1, 1, 0.1, 0.1, 0.1])
        values[2] += 9.8
        covariance = np.zeros(9)
        return self._new(
            'sensor_msgs/msg/Imu',
            header=self._header(stamp_ns, 'imu_link'),
            orientation=self._new('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0),
            orientation_covariance=np.array([-1.0, *covariance[1:]]),
            angular_velocity=self._vector(values[3:]),
            angular_velocity_covariance=covariance,
            linear_acceleration=self._vector(values[:3]),
            linear_acceleration_covariance=covariance,
        )

    def _truth(self, stamp_ns: int, truth: Mapping[str, bool]) -> Any:
        return self._new(
            'lb_ros/msg/PredicateTruth',
            header=self._header(stamp_ns, ''),
            predicates=list(truth),
            values=np.array(list(truth.values()), bool),
        )

    def _vector(self, values: np.ndarray) -> Any:
        x, y, z = (float(value) for value in values)
        return self._new('geometry_msgs/msg/Vector3', x=x, y=y, z=z)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, rest = divmod(stamp_ns, 1_000_000_000)
        stamp = self._new('builtin_interfaces/msg/Time', sec=seconds, nanosec=rest)
        return self._new('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)

    def _new(self, kind: str, **fields: Any) -> Any:
        return self._types.types[kind](**fields)


RECIPE = """
name: felt
text_tower: minilm-l6-v2
trainable: all
start: null
phrasings: trained
vit: {width: 32, layers: 2, heads: 2, mlp_ratio: 2.0, patch_size: 8, projection: 384}
modalities:
  wrench: {window_s: 1.0}
  joints: {window_s: 1.0}
  imu: {window_s: 1.0}
lora_rank: 4
lora_alpha: 8.0
max_steps: 150
max_minutes: 1.0e+9
batch: {wrench: 32, joints: 32, imu: 32}
patch_dropout: 0.0
learning_rate: 3.0e-3
weight_decay: 0.05
warmup_steps: 10
clip_norm: 1.0
ema: 0.95
text_jitter: 0.15
contrastive_weight: 0.02
region_weight: {}
precision: fp32
relations:
  wrench: &all {contact: 1.0, holding something: 1.0, slipping: 1.0}
  joints: *all
  imu: *all
seed: 0
validate_every_minutes: 1.0e+9
"""
