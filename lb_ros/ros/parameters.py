"""The parameters of all nodes, declared in one place; config/parameters.yaml lists them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from encoders import LIVE, MODALITIES, STANDARD
from encoders.shipped import shipped
from encoders.vision.choices import COMPILATIONS, PRECISIONS
from lb_ros.engine.limits import Limits
from lb_ros.parameter_file import parameter_types

EXPECTED = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'text (a number in quotes)',
    list: 'a list of texts',
}
QOS_OVERRIDES = 'qos_overrides.'  # rclpy declares them with the topic


@dataclass(frozen=True, slots=True)
class Parameters:
    """Values of a node's parameters; `DESCRIPTIONS` says what each is.

    By modality: `inputs` are its topics, parameters `<sensor>_inputs`; for `rates_hz` and
    `priorities` see `PER_SENSOR`.
    """

    model: str = 'lb-mini'
    predicates: str = ''
    modalities: tuple[str, ...] = STANDARD
    inputs: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {name: (MODALITIES[name].topic,) for name in LIVE}
    )
    device: str = 'cpu'
    precision: str = 'auto'
    compilation: str = 'auto'
    threads: int = 0
    max_rate_hz: float = 15.0
    rates_hz: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(LIVE, 0.0))
    priorities: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(LIVE, 0))
    max_age_ms: float = 1000.0
    evaluate_period_ms: float = 20.0
    history_s: float = 30.0
    autostart: bool = True
    answer_within_s: float = 4.0
    max_batch: int = 0
    worker_timeout_s: float = 60.0
    model_root: str = '/'


DESCRIPTIONS = {
    'model': 'Name of a model set, or its folder',
    'predicates': 'YAML file with predicates; empty for the shipped ones',
    'modalities': 'Encoders to run (bringup only)',
    'device': 'Torch device of the encoders, for example cpu or cuda:0',
    'precision': 'fp32, bf16, fp16, or auto: bf16 where the device multiplies it, else fp32',
    'compilation': 'Make the usual calls ready at configure: always, never, or auto: on a GPU',
    'threads': 'CPU threads of the encoders; 0 for one per core',
    'max_rate_hz': 'Upper limit of embeddings per second and sensor; 0 for none',
    'max_age_ms': 'Messages that waited longer are dropped as stale, milliseconds',
    'evaluate_period_ms': 'Shortest time between evaluations of the predicates, milliseconds',
    'history_s': 'How far back a query may ask, seconds',
    'autostart': 'Configure and activate at the start; false leaves it to a lifecycle manager',
    'answer_within_s': 'A change of state is answered after this and goes on, seconds; 0 to wait',
    'max_batch': 'Samples encoded in one call; 0: one per sensor',
    'worker_timeout_s': 'A worker busy for longer ends the process, seconds; 0: never',
    'model_root': 'Folder from below which load_model may load, too; empty for none',
}
RANGES = {
    'threads': (0, 256),
    'max_rate_hz': (0.0, 1000.0),
    'max_age_ms': (1.0, 60_000.0),
    'evaluate_period_ms': (1.0, 10_000.0),
    'history_s': (0.0, 3600.0),
    'answer_within_s': (0.0, 600.0),
    'max_batch': (0, 64),
    'worker_timeout_s': (0.0, 3600.0),
}
# Those that every kind of sensor has: field of `Parameters` to the end of the parameter's name.
PER_SENSOR = {'rates_hz': 'max_rate_hz', 'priorities': 'priority'}


def sensor_parameter(field_name: str, modality: str) -> str:
    """Name of the parameter for one kind of sensor, for example `camera_priority`."""
    return f'{MODALITIES[modality].sensor}_{PER_SENSOR[field_name]}'


for _name in LIVE:
    _rate, _priority = (sensor_parameter(each, _name) for each in PER_SENSOR)
    DESCRIPTIONS[_rate] = f'Upper limit for {_name} alone; 0: that of max_rate_hz'
    DESCRIPTIONS[_priority] = f'Of {_name}; the highest is encoded first and shed last'
    RANGES |= {_rate: RANGES['max_rate_hz'], _priority: (-100, 100)}

# The others are read-only. These take effect at once ...
AT_ONCE = (
    'max_rate_hz',
    'max_age_ms',
    'evaluate_period_ms',
    'history_s',
    'answer_within_s',
    *(sensor_parameter(each, name) for each in PER_SENSOR for name in LIVE),
)
# ... and these when the node is configured.
AT_CONFIGURE = ('model', 'predicates', 'device', 'precision', 'compilation', 'threads')


class Settings:
    """The parameters of a node, with the values they have now.

    Raises:
        ValueError: A value is of the wrong type or out of range, or a modality is unknown.

    Attributes:
        values: Replaced as a whole when parameters change.
        on_change: Called with the new values.
        unconfigured: Asked whether values that take effect at `configure` may change.
    """

    def __init__(self, node: Node) -> None:
        self.values = declare_parameters(node)
        self.on_change: Callable[[Parameters], None] = lambda values: None
        self.unconfigured: Callable[[], bool] = lambda: True
        node.add_pre_set_parameters_callback(_typed)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._take)

    def _check(self, changed: Sequence[Parameter]) -> SetParametersResult:
        for parameter in changed:
            if parameter.name in AT_CONFIGURE and not self.unconfigured():
                reason = f'{parameter.name} can change only while the node is unconfigured'
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _take(self, changed: Sequence[Parameter]) -> None:
        ours = {p.name: p.value for p in changed if p.name in AT_ONCE + AT_CONFIGURE}
        if ours:
            for each in PER_SENSOR:
                names = {sensor_parameter(each, name): name for name in LIVE}
                new = {names[key]: ours.pop(key) for key in names if key in ours}
                ours[each] = {**getattr(self.values, each), **new}
            self.values = replace(self.values, **ours)
            self.on_change(self.values)


def declare_parameters(node: Node) -> Parameters:
    """Declare all parameters on a node and read them.

    Raises:
        ValueError: A value is of the wrong type or out of range, or a modality is unknown.
    """
    values: dict[str, Any] = {}
    for each in fields(Parameters):
        if each.name == 'inputs':
            values[each.name] = {name: _declare_inputs(node, name) for name in LIVE}
        elif each.name in PER_SENSOR:
            values[each.name] = _declare_per_sensor(node, each.name)
        elif isinstance(each.default, tuple):
            values[each.name] = _declare_list(
                node,
                each.name,
                each.default,
                what=', '.join(LIVE),
                about=DESCRIPTIONS[each.name],
            )
        else:
            descriptor = _descriptor(each.name)
            values[each.name] = declare_parameter(node, each.name, each.default, descriptor)
    for name, choices in (('precision', PRECISIONS), ('compilation', COMPILATIONS)):
        if values[name] not in choices:
            expected, found = ', '.join(choices), values[name]
            raise ValueError(f'parameter {name}: must be one of {expected}, not {found!r}')
    known = ', '.join(LIVE)
    for name in values['modalities']:
        if name not in LIVE:
            raise ValueError(f'parameter modalities: unknown {name!r}, expected some of {known}')
    return Parameters(**values)


def unknown_parameters(nodes: Sequence[Node]) -> dict[str, str]:
    """Parameters that were given to a process and that no node of this package has.

    Returns:
        Name to the one that was probably meant, or to nothing.
    """
    # A file for several processes gives each those of the others as well.
    files = yaml.safe_load(shipped('config/parameters.yaml').read_text()).values()
    known = {name for file in files for name in file['ros__parameters']}
    known |= {name for node in nodes for name in node.list_parameters([], 0).names}
    # rclpy offers no public way to see what was given.
    given = {name for node in nodes for name in node._parameter_overrides}
    unknown = sorted(n for n in given - known if not n.startswith(QOS_OVERRIDES))
    return {n: ''.join(get_close_matches(n, sorted(known), n=1)) for n in unknown}


def _declare_inputs(node: Node, modality: str) -> tuple[str, ...]:
    entry = MODALITIES[modality]
    about = f'Topics of {modality}; several share the trunk'
    return _declare_list(node, f'{entry.sensor}_inputs', (entry.topic,), what='topic', about=about)


def _declare_per_sensor(node: Node, field_name: str) -> dict[str, Any]:
    defaults = getattr(Parameters(), field_name)
    names = {modality: sensor_parameter(field_name, modality) for modality in LIVE}
    return {
        modality: declare_parameter(node, name, defaults[modality], _descriptor(name))
        for modality, name in names.items()
    }


def _declare_list(
    node: Node, name: str, default: tuple[str, ...], *, what: str, about: str
) -> tuple[str, ...]:
    descriptor = ParameterDescriptor(description=about, read_only=True)
    # An empty list has no type in a YAML file or on the command line: it arrives as None.
    declared = tuple(declare_parameter(node, name, list(default), descriptor) or ())
    if not declared or not all(declared):
        raise ValueError(f'parameter {name}: needs at least one of {what}')
    return declared


def declare_parameter(
    node: Node, name: str, default: object, descriptor: ParameterDescriptor
) -> Any:
    """Declare one parameter and read it.

    Raises:
        ValueError: The value it was given is of the wrong type or out of range.
    """
    try:
        return node.declare_parameter(name, default, descriptor).value
    except InvalidParameterTypeException as error:
        expected = f'{EXPECTED[type(default)]}, for example {name}:={_written(default)}'
        found = _written(node._parameter_overrides[name].value)
        raise ValueError(f'parameter {name}: expected {expected}, not {found}') from error
    except InvalidParameterValueException as error:
        limits = _limits(descriptor)
        if not limits:  # refused by a callback of the node, which gives the reason
            raise ValueError(f'parameter {name}: {error}') from error
        found = _written(node._parameter_overrides[name].value)
        raise ValueError(f'parameter {name}: must be {limits}, not {found}') from error


def _typed(changed: Sequence[Parameter]) -> list[Parameter]:
    """Whole numbers for parameters that are floats as floats: `ros2 param set` sends integers."""
    types = parameter_types()
    return [
        Parameter(each.name, value=float(each.value))
        if each.type_ is Parameter.Type.INTEGER and types.get(each.name) is float
        else each
        for each in changed
    ]


def _written(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix('\n').removesuffix('\n...')


def _limits(descriptor: ParameterDescriptor) -> str:
    ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
    return ' or '.join(f'{r.from_value:g}..{r.to_value:g}' for r in ranges)


def inputs_of(parameters: Parameters, modality: str) -> tuple[str, ...]:
    """Topics of a modality's sensors."""
    return tuple(dict.fromkeys(parameters.inputs[modality]))


def thread_count(parameters: Parameters) -> int:
    """CPU threads to compute with."""
    return parameters.threads or len(os.sched_getaffinity(0))


def batch_limit(parameters: Parameters) -> int:
    """Samples that are encoded in one call: of all sensors, where nothing else is configured."""
    return parameters.max_batch or sum(
        len(inputs_of(parameters, name)) for name in parameters.modalities
    )


def limits_of(parameters: Parameters) -> Limits:
    """What sensors may use, and who comes first."""
    return Limits(
        max_rate_hz=parameters.max_rate_hz,
        max_age_ms=parameters.max_age_ms,
        rates_hz=parameters.rates_hz,
        priorities=parameters.priorities,
    )


def predicates_file(parameters: Parameters) -> Path:
    """The file of predicates: the configured one, or the one that is shipped."""
    if parameters.predicates:
        return Path(parameters.predicates)
    return shipped('config/predicates.yaml')


def _descriptor(name: str) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=DESCRIPTIONS[name], read_only=name not in AT_ONCE + AT_CONFIGURE
    )
    if name in AT_CONFIGURE:
        descriptor.additional_constraints = 'changes only while the node is unconfigured'
    if name in RANGES:
        low, high = RANGES[name]
        if isinstance(low, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor
