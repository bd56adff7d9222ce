"""Text of a node's `--help`, from the records of modalities and parameters.

Importing this module is fast and does not require ROS.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from encoders.modalities import DESCRIBED, LIVE, MODALITIES, STANDARD, Modality
from lb_ros.parameter_record import ENCODERS, PREDICATES, Record
from lb_ros.parameter_table import MICROPHONE_RECORDS, RECORDS, explained, written

WIDTH = 96


@dataclass(frozen=True, slots=True)
class Interface:
    """Topics, services and actions of a process: relative names with their types.

    Attributes:
        about: Description of the process.
        subscribed: Topics that it subscribes to.
        published: Topics that it publishes.
        served: Services and actions.
        example: Arguments after `ros2 run lb_ros`.
    """

    about: str
    subscribed: dict[str, str]
    published: dict[str, str]
    served: dict[str, str]
    example: str


def help_of(executable: str) -> str:
    """Return the text of `--help` of a node's process."""
    interface = interface_of(executable)
    listed = {
        'subscribes to': interface.subscribed,
        'publishes': interface.published,
        'services and actions': interface.served,
    }
    parts = [
        f'usage: ros2 run lb_ros {executable} [-h]',
        '           [--ros-args [-p PARAMETER:=VALUE] [--params-file FILE] [-r FROM:=TO] ...]',
        '',
        *textwrap.wrap(interface.about, WIDTH),
    ]
    for heading, names in listed.items():
        lines = [f'  {name:<34} {kind}'.rstrip() for name, kind in names.items()]
        parts += ['', f'{heading}:', *lines] if lines else []
    parts += ['', 'parameters, with their defaults:']
    for name, (default, comment) in parameters_of(executable).items():
        parts += [f'  {name}: {default}']
        parts += textwrap.wrap(comment, WIDTH, initial_indent=' ' * 6, subsequent_indent=' ' * 6)
    return '\n'.join([*parts, '', f'example: ros2 run lb_ros {interface.example}'])


def interface_of(executable: str) -> Interface:
    """Return the topics, services and actions of a process of this package."""
    if executable == 'microphone':
        return Interface(
            'Publishes the sound of a device of this machine.',
            {},
            {'microphone/audio': 'lb_ros/msg/AudioChunk'},
            {},
            'microphone --ros-args -p device:=USB -p sample_rate_hz:=48000',
        )
    if executable == 'predicates':
        return Interface(
            'Compares embeddings with sentences: scores and states of predicates, and queries.',
            {t: _EMBEDDING for name in LIVE for t in _published(MODALITIES[name])},
            _PREDICATES_PUBLISHED,
            _PREDICATES_SERVED | _LOAD_MODEL,
            'predicates --ros-args -p predicates:=my_predicates.yaml',
        )
    if executable == 'bringup':
        encoders = [_encoder(MODALITIES[name]) for name in STANDARD]
        return Interface(
            'Runs encoders and predicates in one process, on one trunk; the parameter modalities '
            'chooses the encoders. Topics are those of the default.',
            {topic: kind for each in encoders for topic, kind in each.subscribed.items()},
            {topic: kind for each in encoders for topic, kind in each.published.items()}
            | _PREDICATES_PUBLISHED,
            _PREDICATES_SERVED | _LOAD_MODEL,
            'bringup --ros-args -p modalities:=depth,audio -p depth_inputs:=zed/depth',
        )
    sensor = executable.removesuffix('_encoder')
    return _encoder(next(MODALITIES[name] for name in LIVE if MODALITIES[name].sensor == sensor))


def offered(executable: str) -> tuple[str, ...]:
    """Return the relative names of all topics, services and actions of a process."""
    one = interface_of(executable)
    names = (*one.subscribed, *one.published, *one.served)
    if executable != 'bringup':
        return names
    return tuple({n: None for m in LIVE for n in (*names, *_encoder(MODALITIES[m]).subscribed)})


def parameters_of(executable: str) -> dict[str, tuple[str, str]]:
    """Return the default as text and the description of each parameter that a process uses."""
    records = MICROPHONE_RECORDS if executable == 'microphone' else RECORDS
    return {
        name: (written(record.default), explained(record))
        for name, record in records.items()
        if executable in ('microphone', 'bringup') or _matters(record, executable)
    }


def _matters(record: Record, executable: str) -> bool:
    if executable == 'predicates':
        return PREDICATES in record.processes
    sensors = [MODALITIES[name].sensor for name in record.modalities]
    return ENCODERS in record.processes and executable.removesuffix('_encoder') in sensors


def _encoder(modality: Modality) -> Interface:
    forms = {f: _COMPRESSED if f != modality.topic else _IMAGE for f in modality.topics}
    if modality.kind == 'sound':
        forms = {modality.topic: 'lb_ros/msg/AudioChunk or audio_common_msgs'}
    elif modality.kind == 'series':
        forms = {modality.topic: _SERIES[modality.name]}
    node = f'{modality.sensor}_encoder'
    example = f'{modality.sensor}_inputs:=front/{modality.topic.split("/")[-1]}'
    if modality.name == DESCRIBED:
        example = 'signals_channels:=channels.yaml'
    return Interface(
        f'Encodes {modality.name} from {modality.topic} into vectors of the language space.',
        forms,
        dict.fromkeys(_published(modality), _EMBEDDING),
        {f'{node}/load_model': 'lb_ros/srv/LoadModel'}
        | ({f'{node}/tare': 'std_srvs/srv/Trigger'} if modality.kind == 'series' else {}),
        f'{node} --ros-args -p {example}',
    )


def _published(modality: Modality) -> tuple[str, str]:
    return f'embeddings/{modality.name}', f'evidence/{modality.name}'


_EMBEDDING = 'lb_ros/msg/Embedding'
_IMAGE = 'sensor_msgs/msg/Image'
_COMPRESSED = 'sensor_msgs/msg/CompressedImage'
_SERIES = {
    'wrench': 'geometry_msgs/msg/WrenchStamped',
    'joints': 'sensor_msgs/msg/JointState',
    'imu': 'sensor_msgs/msg/Imu',
    'signals': 'the topics that signals_channels names, of any type',
}
_LOAD_MODEL = {'load_model': 'lb_ros/srv/LoadModel'}
_PREDICATES_PUBLISHED = {
    'predicates/scores': 'lb_ros/msg/PredicateScores',
    'predicates/state': 'lb_ros/msg/PredicateStates',
}
_PREDICATES_SERVED = {
    'query': 'lb_ros/srv/QueryText',
    'predicates/attention': 'lb_ros/srv/GetAttention',
    'predicates/set': 'lb_ros/srv/SetPredicates',
    'predicates/add': 'lb_ros/srv/AddPredicates',
    'predicates/remove': 'lb_ros/srv/RemovePredicates',
    'predicates/list': 'lb_ros/srv/ListPredicates',
    'predicates/teach': 'lb_ros/srv/TeachPredicate',
    'predicates/untaught': 'lb_ros/srv/UntaughtPredicate',
    'predicates/export': 'lb_ros/srv/ExportTaught',
    'predicates/import': 'lb_ros/srv/ImportTaught',
    'wait_for': 'lb_ros/action/WaitForPredicate',
}
