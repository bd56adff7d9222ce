"""What `--help` of a node prints, from the records of modalities and parameters.

Importing this module is quick and needs no ROS.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cache

from encoders.modalities import LIVE, MODALITIES, STANDARD, Modality
from encoders.shipped import shipped
from lb_ros.parameter_file import VALUES

WIDTH = 96
SENSORS = tuple(MODALITIES[name].sensor for name in LIVE)
# Parameters of one sensor's node alone, besides those that begin with its name and an underscore.
OWN = {'microphone': ('audio_', 'capture'), 'video': ('video_',)}
OF_BRINGUP = ('modalities',)
OF_PREDICATES = ('predicates', 'evaluate_period_ms', 'history_s')
OF_ENCODERS = (
    'max_rate_hz',
    'max_age_ms',
    'max_batch',
    'expected_rate_hz',
    'rate_tolerance',
    'silent_after_s',
    'latency_budget_ms',
    'max_future_ms',
    'compilation',
    'precision',
    'worker_timeout_s',
)


@dataclass(frozen=True, slots=True)
class Interface:
    """Relative names that a process offers, each with its type.

    Attributes:
        about: What the process does.
        subscribed: Topics it reads.
        published: Topics it writes.
        served: Services and actions.
        example: Words after `ros2 run lb_ros`.
    """

    about: str
    subscribed: dict[str, str]
    published: dict[str, str]
    served: dict[str, str]
    example: str


def help_of(executable: str) -> str:
    """The text of `--help` of a node's process."""
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
    """What a process of this package reads, writes and offers."""
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
            {_embeddings(MODALITIES[name]): 'lb_ros/msg/Embedding' for name in LIVE},
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
    """Relative names of all topics, services and actions of a process."""
    one = interface_of(executable)
    names = (*one.subscribed, *one.published, *one.served)
    if executable != 'bringup':
        return names
    return tuple({n: None for m in LIVE for n in (*names, *_encoder(MODALITIES[m]).subscribed)})


def parameters_of(executable: str) -> dict[str, tuple[str, str]]:
    """Default, as it is written, and description of each parameter that matters to a process."""
    common, microphone = _documented()
    if executable == 'microphone':
        return {
            name: (default, common[name][1] if text == 'As above.' else text)
            for name, (default, text) in microphone.items()
        }
    return {name: found for name, found in common.items() if _matters(name, executable)}


def _matters(name: str, executable: str) -> bool:
    if executable == 'bringup':
        return True
    sensor = executable.removesuffix('_encoder')
    for other in SENSORS:
        if name.startswith((f'{other}_', *OWN.get(other, ()))):
            return other == sensor
    return name not in OF_BRINGUP + (OF_ENCODERS if executable == 'predicates' else OF_PREDICATES)


@cache
def _documented() -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
    """Default and comment of each parameter in config/parameters.yaml, by its two sections."""
    sections: list[dict[str, tuple[str, str]]] = []
    comment: list[str] = []
    is_new = True
    for line in shipped('config/parameters.yaml').read_text().splitlines():
        text = line.strip()
        if text == f'{VALUES}:':
            sections.append({})
            comment = []
        elif text.startswith('#'):
            comment = [] if is_new else comment  # parameters of one kind share theirs
            comment.append(text.lstrip('# '))
            is_new = False
        elif sections and (found := re.fullmatch(r'(\w+): (.*)', text)):
            sections[-1][found[1]] = (found[2], ' '.join(comment))
            is_new = True
    common, microphone = sections
    return common, microphone


def _encoder(modality: Modality) -> Interface:
    forms = {f: _COMPRESSED if f != modality.topic else _IMAGE for f in modality.topics}
    if modality.kind == 'sound':
        forms = {modality.topic: 'lb_ros/msg/AudioChunk or audio_common_msgs'}
    node = f'{modality.sensor}_encoder'
    return Interface(
        f'Encodes {modality.name} from {modality.topic} into vectors of the language space.',
        forms,
        {_embeddings(modality): 'lb_ros/msg/Embedding'},
        {f'{node}/load_model': 'lb_ros/srv/LoadModel'},
        f'{node} --ros-args -p {modality.sensor}_inputs:=front/{modality.topic.split("/")[1]}',
    )


def _embeddings(modality: Modality) -> str:
    return f'embeddings/{modality.name}'


_IMAGE = 'sensor_msgs/msg/Image'
_COMPRESSED = 'sensor_msgs/msg/CompressedImage'
_LOAD_MODEL = {'load_model': 'lb_ros/srv/LoadModel'}
_PREDICATES_PUBLISHED = {
    'predicates/scores': 'lb_ros/msg/PredicateScores',
    'predicates/state': 'lb_ros/msg/PredicateStates',
}
_PREDICATES_SERVED = {
    'query': 'lb_ros/srv/QueryText',
    'predicates/set': 'lb_ros/srv/SetPredicates',
    'predicates/add': 'lb_ros/srv/AddPredicates',
    'predicates/remove': 'lb_ros/srv/RemovePredicates',
    'predicates/list': 'lb_ros/srv/ListPredicates',
    'wait_for': 'lb_ros/action/WaitForPredicate',
}
