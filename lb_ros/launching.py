"""Arguments of the launch files, presets of drivers, and the nodes that follow from them.

Contains only plain values, so that it can be tested without the package `launch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from encoders.modalities import LIVE, MODALITIES, STANDARD
from encoders.shipped import shipped
from lb_ros.dds_profile import has_own_transports, is_fast_dds
from lb_ros.parameter_file import listed, read_parameter_file
from lb_ros.parameter_table import RECORDS

Value = bool | int | float | str | list[str]
TRUTHS = ('true', 'false')
SEVERITIES = ('debug', 'info', 'warn', 'error', 'fatal')
ENCODERS = tuple(f'{MODALITIES[name].sensor}_encoder' for name in LIVE)
NODES = ('bringup', *ENCODERS, 'predicates', 'microphone')


def _renamed(joints: Sequence[str], *, finger: str = '') -> str:
    """Return `joints_names` for the joints of an arm, in order, and of its gripper."""
    pairs = [f'joint{number}={joint}' for number, joint in enumerate(joints, 1)]
    return ', '.join([*pairs, f'finger_joint={finger}'] if finger else pairs)


# Topics of drivers with their default names; relative, so that a namespace applies to them too.
CAMERAS: dict[str, dict[str, str]] = {
    'realsense': {
        'camera': 'camera/camera/color/image_raw',
        'depth': 'camera/camera/depth/image_rect_raw',
    },
    'zed': {
        'camera': 'zed/zed_node/rgb/color/rect/image',
        'depth': 'zed/zed_node/depth/depth_registered',
    },
    'oak': {'camera': 'oak/rgb/image_raw', 'depth': 'oak/stereo/image_raw'},
    'orbbec': {'camera': 'camera/color/image_raw', 'depth': 'camera/depth/image_raw'},
    'usb_cam': {'camera': 'image_raw'},
}
# The dedicated drivers of Boson and Lepton publish 8 bits with automatic gain or are not released
# for ROS 2. usb_cam is, and publishes 16-bit counts (pixel_format: mono16): see docs/launch.md.
INFRAREDS: dict[str, dict[str, str]] = {
    'boson': {'infrared': 'thermal/image_raw'},
    'lepton': {'infrared': 'thermal/image_raw'},
    'optris': {'infrared': 'thermal_image'},
    'realsense_nir': {'infrared': 'camera/camera/infra1/image_rect_raw'},
}
# Meaning of the counts of drivers that do not publish centikelvin.
INFRARED_SETTINGS: dict[str, dict[str, Value]] = {
    'optris': {'infrared_kelvin_per_count': 0.1, 'infrared_kelvin_at_zero': 173.15},
    'realsense_nir': {'infrared_kind': 'near_infrared'},
}
# Force sensors and joints of arms, with the settings of their drivers; see docs/contact.md.
ARMS: dict[str, dict[str, str]] = {
    'ur': {'wrench': 'force_torque_sensor_broadcaster/wrench', 'joints': 'joint_states'},
    'franka': {
        'wrench': 'franka_robot_state_broadcaster/external_wrench_in_stiffness_frame',
        'joints': 'joint_states',
    },
    'ros2_control': {'wrench': 'force_torque_sensor_broadcaster/wrench', 'joints': 'joint_states'},
}
UR_JOINTS = (
    'shoulder_pan_joint', 'shoulder_lift_joint', 'elbow_joint', 'wrist_1_joint', 'wrist_2_joint',
    'wrist_3_joint',
)  # fmt: skip
FRANKA_JOINTS = tuple(f'fr3_joint{number}' for number in range(1, 8))
ARM_SETTINGS: dict[str, dict[str, Value]] = {
    'ur': {'joints_names': _renamed(UR_JOINTS)},
    'franka': {
        'joints_names': _renamed(FRANKA_JOINTS, finger='fr3_finger_joint1'),
        'wrench_sign': -1,
    },
}
IMUS: dict[str, dict[str, str]] = {
    'realsense': {'imu': 'camera/camera/imu'},
    'data': {'imu': 'imu/data'},
    'data_raw': {'imu': 'imu/data_raw'},
}
# Arguments that replace parameters of the same name.
REPLACING = {name: record for name, record in RECORDS.items() if record.is_argument}


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of `bringup.launch.py`; an empty default means the value in `params_file`."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


ARGUMENTS: tuple[Argument, ...] = (
    *(
        Argument(
            name,
            '',
            record.about,
            ('', *record.choices) if record.choices and type(record.default) is str else (),
        )
        for name, record in REPLACING.items()
    ),
    Argument('params_file', '', 'YAML file with parameters of all nodes; the shipped one'),
    Argument('composed', 'true', 'one process on one trunk, or one process each', TRUTHS),
    Argument('nodes', '', f'only these of {", ".join(NODES)}; by composed and modalities'),
    Argument('namespace', '', 'of all nodes and their relative topics'),
    Argument('use_sim_time', 'false', 'take the time from /clock', TRUTHS),
    Argument('log_level', 'info', 'severity from which nodes log', SEVERITIES),
    Argument('respawn', 'false', 'start a node again that has ended', TRUTHS),
    Argument('autostart', 'true', 'configure and activate; else a lifecycle manager does', TRUTHS),
    Argument('camera', '', 'topics of a camera driver', ('', *CAMERAS)),
    Argument('infrared', '', 'topics of an infrared driver', ('', *INFRAREDS)),
    Argument('arm', '', 'topics and settings of the force sensor and joints', ('', *ARMS)),
    Argument('imu', '', 'topic of an inertial unit', ('', *IMUS)),
    Argument('microphone', 'false', 'record from a sound device of this machine', TRUTHS),
    Argument(
        'dds_profile',
        'shipped',
        'Fast DDS profile: shipped (unless you have transports of your own), none, or a file',
    ),
)


@dataclass(frozen=True, slots=True)
class Process:
    """A process to start.

    Attributes:
        executable: Name of the executable in the package `lb_ros`.
        parameters: Parameters that replace those of `params_file`.
    """

    executable: str
    parameters: dict[str, Value] = field(default_factory=dict)


def plan(given: Mapping[str, str]) -> list[Process]:
    """Return the processes for the given launch arguments.

    Args:
        given: Values by name; missing arguments have their defaults.

    Raises:
        ValueError: An argument is unknown or its value is invalid; the message names it.
    """
    values = {argument.name: argument.default for argument in ARGUMENTS}
    for name in given:
        if name not in values:
            raise ValueError(f'unknown argument {name!r}, expected some of {", ".join(values)}')
    values |= given
    for argument in ARGUMENTS:
        if argument.choices and values[argument.name] not in argument.choices:
            known = ', '.join(argument.choices)
            raise ValueError(
                f'argument {argument.name}: {values[argument.name]!r} is none of {known}'
            )
    params_file(values)
    modalities = _names('modalities', values['modalities'], LIVE)
    parameters = _parameters(values)
    return [
        Process(name, parameters if name != 'microphone' else _own(parameters))
        for name in _nodes(values, modalities)
    ]


def params_file(values: Mapping[str, str]) -> Path:
    """Return the path of the parameter file that arguments name, or of the shipped one.

    Raises:
        ValueError: The file does not exist or contains no ROS parameters.
    """
    path = Path(values.get('params_file') or shipped('config/parameters.yaml'))
    try:
        read_parameter_file(path)
    except ValueError as error:
        raise ValueError(f'argument params_file: {error}') from error
    return path


def _parameters(values: Mapping[str, str]) -> dict[str, Value]:
    parameters: dict[str, Value] = {
        'use_sim_time': values['use_sim_time'] == 'true',
        'autostart': values['autostart'] == 'true',
    }
    parameters |= INFRARED_SETTINGS.get(values['infrared'], {})
    parameters |= ARM_SETTINGS.get(values['arm'], {})
    presets = {'camera': CAMERAS, 'infrared': INFRAREDS, 'arm': ARMS, 'imu': IMUS}
    topics = {
        s: t for name, each in presets.items() for s, t in each.get(values[name], {}).items()
    }
    for modality in LIVE:
        sensor = MODALITIES[modality].sensor
        driver = 'camera' if MODALITIES[modality].kind == 'clip' else sensor
        if driver in topics:
            parameters[f'{sensor}_inputs'] = [topics[driver]]
    for name, record in REPLACING.items():
        if _split(values[name]):
            parameters[name] = _typed(name, values[name], type(record.default))
    return parameters


def _typed(name: str, text: str, kind: type) -> Value:
    """Return the value of an argument in the type of its parameter."""
    if kind is tuple:
        return list(_split(text))
    try:
        return int(text) if kind is int else float(text) if kind is float else text
    except ValueError:
        wanted = 'a whole number' if kind is int else 'a number'
        raise ValueError(f'argument {name}: {text!r} is not {wanted}') from None


def _own(parameters: Mapping[str, Value]) -> dict[str, Value]:
    # For the node `microphone`, `device` is an audio device.
    return {name: parameters[name] for name in ('use_sim_time', 'autostart')}


def _nodes(values: Mapping[str, str], modalities: tuple[str, ...]) -> tuple[str, ...]:
    chosen = _names('nodes', values['nodes'], NODES)
    if not chosen and values['composed'] == 'true':
        chosen = ('bringup',)
    elif not chosen:
        wanted = modalities or _configured_modalities(params_file(values))
        chosen = (*(f'{MODALITIES[name].sensor}_encoder' for name in wanted), 'predicates')
    recorder = ('microphone',) if values['microphone'] == 'true' else ()
    return tuple(dict.fromkeys((*chosen, *recorder)))


def _configured_modalities(path: Path) -> tuple[str, ...]:
    return _names('modalities', ','.join(listed(path, 'modalities') or STANDARD), LIVE)


def _names(argument: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = _split(text)
    for name in names:
        if name not in known:
            raise ValueError(
                f'argument {argument}: unknown {name!r}, expected some of {", ".join(known)}'
            )
    return names


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.strip(' []').replace(',', ' ').split() if part)


def profile_to_set(argument: str, environment: Mapping[str, str]) -> str:
    """Return the Fast DDS profile to set in the environment; empty to leave it unchanged.

    Raises:
        ValueError: The file does not exist.
    """
    if argument == 'none' or not is_fast_dds(environment):
        return ''
    if argument == 'shipped' and has_own_transports(environment):
        return ''
    path = shipped('config/dds_profile.xml') if argument == 'shipped' else Path(argument)
    if not path.is_file():
        raise ValueError(f'argument dds_profile: there is no file {argument!r}')
    return str(path)
