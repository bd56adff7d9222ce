"""Table of all parameters of all nodes, one record each.

Declarations on nodes, `--help` and launch arguments follow from the records, and
`python scripts/write_parameters.py` writes `config/parameters.yaml` and the table of
`docs/nodes.md` from them. Each dataclass field has its record; an instance of the class holds the
values of a node. Importing this module is fast and does not require ROS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

import yaml

from encoders.modalities import DESCRIBED, LIVE, MODALITIES, STANDARD
from encoders.vision.choices import ENGINES
from lb_ros.parameter_record import PREDICATES, Record
from lb_ros.parameter_record import each as _each
from lb_ros.parameter_record import one as _one
from lb_ros.parameter_record import own as _own

TRANSPORTS = AUTO, RAW, COMPRESSED = 'auto', 'raw', 'compressed'
# Modalities of which a sensor has one topic; the file of `signals_channels` names several.
OF_ONE_TOPIC = tuple(name for name in LIVE if name != DESCRIBED)
PICTURES = tuple(name for name in LIVE if MODALITIES[name].kind in ('image', 'clip'))


@dataclass(frozen=True, slots=True)
class Parameters:
    """Values of the parameters of a process; fields of `_each` are mappings by modality."""

    model: str = _one(
        'lb-mini',
        'Model set: the name of a shipped or pulled one, or its folder.',
        changes='configure',
        is_argument=True,
    )
    predicates: str = _one(
        '',
        'YAML file with predicates; empty for the shipped config/predicates.yaml.',
        changes='configure',
        is_argument=True,
        processes=(PREDICATES,),
    )
    taught: str = _one(
        '',
        'File that keeps what was taught, one for each robot; empty: next to the predicates file '
        '(NAME.taught.safetensors), for the shipped predicates in the data folder of the user.',
        changes='configure',
        processes=(PREDICATES,),
    )
    modalities: tuple[str, ...] = _one(
        STANDARD,
        'Encoders that `bringup` runs: of image, depth, infrared, audio, and touch, video, '
        'wrench, joints, imu and signals where the set has them.',
        choices=LIVE,
        is_argument=True,
        processes=(),
    )
    inputs: Mapping[str, tuple[str, ...]] = _each(
        'inputs',
        lambda modality: (modality.topic,),
        'Topics of the sensors. Several of one kind share the trunk, and their answers are '
        'averaged.',
        is_argument=True,
        modalities=OF_ONE_TOPIC,
    )
    signals_channels: str = _own(
        '',
        'YAML file that describes the channels of signals_encoder in words, with their topics and '
        'fields; empty: the channels of the training.',
        changes='configure',
        is_argument=True,
        modalities=(DESCRIBED,),
    )
    regions: str = _one(
        '',
        'Parts of views that are sensors of their own, separated by spaces or ;, as in '
        'gripper=depth:0.3,0.2,0.4,0.4, which is depth@gripper: left, top, width and height in '
        'shares of the image, 0..1, of the first topic of the modality. cup=depth:box:TOPIC '
        'follows boxes (RegionOfInterest), cup=depth:mask:TOPIC masks (Image).',
        is_argument=True,
    )
    region_max_age_ms: float = _own(
        500.0,
        'Boxes and masks that arrived longer ago do not count, milliseconds.',
        limits=(1, 60_000),
        modalities=PICTURES,
    )
    device: str = _one(
        'cpu',
        'Torch device of the encoders, for example cpu or cuda:0.',
        changes='configure',
        is_argument=True,
    )
    precision: str = _own(
        'auto',
        'Of the encoders: fp32, bf16 or fp16; auto takes bf16 on a processor with AVX512-BF16 or '
        'AMX and on a GPU that has it, else fp32.',
        choices=('auto', 'fp32', 'bf16', 'fp16'),
        changes='configure',
    )
    compilation: str = _own(
        'auto',
        'Compile the usual calls when configured, and on a GPU capture them as graphs, which '
        'takes long the first time: always, never, or auto: on a GPU.',
        choices=('auto', 'always', 'never'),
        changes='configure',
    )
    engine: str = _own(
        'torch',
        'What runs the encoders: torch; onnxruntime, on a CPU in fp32; tensorrt, on an NVIDIA GPU '
        'in fp16 or fp32; or auto: ONNX Runtime for the encoders that it runs faster than torch '
        'here. The first time, each encoder is exported, which takes up to a minute.',
        choices=ENGINES,
        changes='configure',
    )
    threads: int = _one(
        0,
        'CPU threads of the encoders; 0 for one per core, but one, which is left to the messages.',
        limits=(0, 256),
        changes='configure',
    )
    max_rate_hz: float = _own(
        15.0,
        'Upper limit of embeddings per second and sensor; 0 for none.',
        limits=(0, 1000),
        changes='live',
    )
    rates_hz: Mapping[str, float] = _each(
        'max_rate_hz',
        lambda modality: 0.0,
        'The same for the sensors of one kind alone; 0: that of max_rate_hz. What comes above the '
        'limit is counted as capped.',
        limits=(0, 1000),
        changes='live',
    )
    priorities: Mapping[str, int] = _each(
        'priority',
        lambda modality: 0,
        'Where not all that are due fit one call, or memory runs out, sensors of a higher number '
        'come first and are shed last.',
        limits=(-100, 100),
        changes='live',
    )
    max_age_ms: float = _own(
        1000.0,
        'A message that waited longer is dropped and counted as stale, milliseconds.',
        limits=(1, 60_000),
        changes='live',
    )
    evaluate_period_ms: float = _one(
        20.0,
        'Shortest time between two evaluations of the predicates, milliseconds.',
        limits=(1, 10_000),
        changes='live',
        processes=(PREDICATES,),
    )
    readout_budget_ms: float = _one(
        20.0,
        'Predicates are read from tokens, where the model set has a readout, in order of addition '
        'while reading one sample of every modality takes no longer than this, milliseconds; the '
        'others are read from the vector and say so in their reasons. The first 64 are always '
        'read from tokens.',
        limits=(0, 10_000),
        processes=(PREDICATES,),
    )
    history_s: float = _one(
        30.0,
        'How far back a query may ask, seconds.',
        limits=(0, 3600),
        changes='live',
        processes=(PREDICATES,),
    )
    history_tokens_mb: float = _one(
        64.0,
        'Memory for the tokens of past evidence, megabytes, where the set has a readout; queries '
        'about older evidence read its vector. lb-mini: 38 KB for each sample of a sensor.',
        limits=(0, 100_000),
        changes='live',
        processes=(PREDICATES,),
    )
    overlay_why: str = _own(
        '',
        'Name of a predicate, or a sentence: overlays show where the readout looks for it; empty '
        'for none.',
        changes='live',
        modalities=PICTURES,
    )
    autostart: bool = _one(
        True, 'Configure and activate at the start; false leaves both to a lifecycle manager.'
    )
    answer_within_s: float = _one(
        4.0,
        '`configure` and `activate` are answered after this at the latest and go on, seconds; '
        '0 to wait. A lifecycle manager of nav2 gives up after 5 seconds.',
        limits=(0, 600),
        changes='live',
    )
    max_batch: int = _own(
        0,
        'Sensors that are encoded in one call; 0: one on a CPU, all that are due on a GPU.',
        limits=(0, 64),
    )
    worker_timeout_s: float = _own(
        60.0,
        'A worker that is busy for longer ends its process, which `respawn` starts again, '
        'seconds; 0 for never.',
        limits=(0, 3600),
    )
    model_root: str = _one(
        '/',
        'Folder from below which the service `load_model` may load, in addition to shipped and '
        'pulled sets and those next to `model`; empty for no other, / for any.',
    )


@dataclass(frozen=True, slots=True)
class SensorParameters:
    """Values of the input parameters of one sensor's node."""

    expected_rate_hz: float = _own(
        0.0, 'Messages per second that each input should bring; 0 for any.'
    )
    rate_tolerance: float = _own(0.1, 'Share by which the rate may be off, 0..1.')
    silent_after_s: float = _own(
        2.0, 'An input without a message for this long is reported as stale, seconds.'
    )
    latency_budget_ms: float = _own(
        500.0, 'From the arrival of a message to its embedding; longer is reported, milliseconds.'
    )
    max_future_ms: float = _own(
        250.0, 'A message whose stamp is further ahead than this is dropped, milliseconds.'
    )
    transport: str = _own(
        AUTO,
        'Which form of the pictures is read: raw, compressed, or auto: a compressed form only '
        'while the raw topic has no publisher.',
        choices=TRANSPORTS,
        is_argument=True,
        modalities=PICTURES,
    )
    depth_mono16: bool = _own(
        False,
        'Whether `mono16` on a depth topic is millimetres; grey cameras send it as well.',
        modalities=('depth',),
    )
    infrared_kind: str = _own(
        'thermal',
        'What the infrared camera sees: thermal (heat) or near_infrared (light of its own lamp). '
        'Pictures that show no temperatures (near infrared, 8 bits, automatic gain, implausible '
        'values) have no vote where the encoder reads temperatures, as that of lb-mini does.',
        choices=('thermal', 'near_infrared'),
        is_argument=True,
        modalities=('infrared',),
    )
    infrared_kelvin_per_count: float = _own(
        0.01,
        'Kelvin per 16-bit thermal count; 0 where counts are no temperature. Lepton and Boson '
        'with TLinear: 0.01 in high gain, 0.1 in low gain; Optris: 0.1.',
        is_argument=True,
        modalities=('infrared',),
    )
    infrared_kelvin_at_zero: float = _own(
        0.0,
        'Temperature of count 0, kelvin; Optris: 173.15.',
        is_argument=True,
        modalities=('infrared',),
    )
    infrared_low_count: int = _own(
        0,
        'Count that becomes black where counts are no temperature.',
        is_argument=True,
        modalities=('infrared',),
    )
    infrared_high_count: int = _own(
        65535,
        'Count that becomes white where counts are no temperature.',
        is_argument=True,
        modalities=('infrared',),
    )
    infrared_telemetry_rows: int = _own(
        0,
        'Rows at the bottom of an infrared image that hold no picture.',
        is_argument=True,
        modalities=('infrared',),
    )
    video_window_s: float = _own(
        2.0,
        'Time that a clip spans, from its first to its last frame, seconds.',
        limits=(0.1, 60),
        modalities=('video',),
    )
    wrench_frame_id: str = _own(
        '',
        'Frame that wrenches should name; another one is reported. Empty: the frame in which the '
        'model set was trained, if it names one.',
        is_argument=True,
        modalities=('wrench',),
    )
    imu_frame_id: str = _own(
        '',
        'The same for inertial units.',
        is_argument=True,
        modalities=('imu',),
    )
    joints_names: str = _own(
        '',
        'Names of joints where the robot has others than the model set: '
        'NAME_IN_THE_SET=NAME_OF_THE_ROBOT, separated by commas.',
        is_argument=True,
        modalities=('joints',),
    )
    wrench_sign: int = _own(
        1,
        'Factor of forces and torques: -1 for drivers that publish what the tool exerts on the '
        'environment (Franka), 1 for the others.',
        limits=(-1, 1),
        is_argument=True,
        modalities=('wrench',),
    )
    audio_rate_hz: int = _own(
        16_000,
        'Samples per second and channel of sound messages that do not say it, hertz.',
        modalities=('audio',),
    )
    audio_channels: int = _own(1, 'Interleaved channels of such messages.', modalities=('audio',))
    audio_sample_format: str = _own(
        'S16LE',
        'Format of such messages: S16LE or another of the ROS package audio_common.',
        modalities=('audio',),
    )
    diagnostics_period_s: float = _own(1.0, 'Time between two entries in /diagnostics, seconds.')


@dataclass(frozen=True, slots=True)
class CaptureParameters:
    """Values of the parameters of `microphone_encoder` about a local audio device."""

    capture: bool = _own(
        False,
        'Whether microphone_encoder records from a device of its machine.',
        changes='live',
        modalities=('audio',),
    )
    capture_device: str = _own(
        '',
        "Part of the name of that device; empty for the system's default.",
        modalities=('audio',),
    )


@dataclass(frozen=True, slots=True)
class MicrophoneParameters:
    """Values of the parameters of the node `microphone`."""

    device: str = _one('', "Part of the name of an input device; empty for the system's default.")
    sample_rate_hz: int = _one(16_000, 'Samples per second and channel.')
    channels: int = _one(1, 'Channels, 1 or more.')
    chunk_ms: int = _one(100, 'Length of a message, milliseconds.')
    frame_id: str = _one('microphone', 'Frame of the microphone.')
    autostart: bool = _one(
        True, 'Configure and activate at the start; false leaves both to a lifecycle manager.'
    )


def range_of(limits: tuple[float, float]) -> str:
    """Return limits as text, for example `0..256`."""
    return '{:g}..{:g}'.format(*limits)


def explained(record: Record) -> str:
    """Return a parameter's description, its limits, and when it may change."""
    limits = '' if record.limits is None else f' Range: {range_of(record.limits)}.'
    return record.about + limits + ('' if record.changes == 'start' else f' [{record.changes}]')


def written(value: object) -> str:
    """Return a value as written in a YAML file."""
    value = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(value, default_flow_style=True).removesuffix('\n').removesuffix('\n...')


def groups_of(kind: type) -> Iterator[tuple[str, tuple[Record, ...]]]:
    """Yield the name of each field of a class and its records: one, or one per modality."""
    defaults = kind()
    for each in fields(kind):
        record: Record = each.metadata['record']
        default = getattr(defaults, each.name)
        if not record.ending:
            yield each.name, (replace(record, name=each.name, default=default),)
            continue
        names = {name: f'{MODALITIES[name].sensor}_{record.ending}' for name in default}
        yield (
            each.name,
            tuple(
                replace(record, name=names[name], default=default[name], modalities=(name,))
                for name in default
            ),
        )


def _by_name(*kinds: type) -> dict[str, Record]:
    found = [one for kind in kinds for _, records in groups_of(kind) for one in records]
    return {record.name: record for record in found}


# Records of all nodes except `microphone`, and of that node.
RECORDS = _by_name(Parameters, SensorParameters, CaptureParameters)
MICROPHONE_RECORDS = _by_name(MicrophoneParameters)
