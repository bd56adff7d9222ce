"""Parameters of nodes: declared from their records, checked, and updated when they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from encoders import MODALITIES
from encoders.predicates.taught_file import own_taught_path, taught_path
from encoders.regions import Region, parse_regions
from encoders.shipped import shipped
from lb_ros.engine.limits import Limits
from lb_ros.parameter_record import Record
from lb_ros.parameter_table import (
    MICROPHONE_RECORDS,
    RECORDS,
    Parameters,
    groups_of,
    range_of,
    written,
)

EXPECTED = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'text (a number in quotes)',
    tuple: 'a list of texts',
}
QOS_OVERRIDES = 'qos_overrides.'  # rclpy declares them with the topic
Values = TypeVar('Values')


class Settings:
    """Parameters of a node with their current values.

    Raises:
        ValueError: A value is of the wrong type or out of range, or a modality is unknown.

    Attributes:
        values: Replaced as a whole when parameters change.
        on_change: Called with the new values.
        unconfigured: Returns whether values that take effect at `configure` may change.
    """

    def __init__(self, node: Node) -> None:
        self.values = declare_parameters(node, Parameters)
        self.on_change: Callable[[Parameters], None] = lambda values: None
        self.unconfigured: Callable[[], bool] = lambda: True
        node.add_pre_set_parameters_callback(_typed)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._take)

    def _check(self, changed: Sequence[Parameter]) -> SetParametersResult:
        for parameter in changed:
            record = RECORDS.get(parameter.name)
            if record is None or record.changes != 'configure':
                continue
            reason = ''
            if not self.unconfigured():
                reason = f'{parameter.name} can change only while the node is unconfigured'
            elif record.choices and parameter.value not in record.choices:
                reason = f'{parameter.name} must be one of {", ".join(record.choices)}'
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _take(self, changed: Sequence[Parameter]) -> None:
        new = {parameter.name: parameter.value for parameter in changed}
        ours: dict[str, Any] = {}
        for name, records in groups_of(Parameters):
            found = {r.modalities[0]: new[r.name] for r in records if r.name in new}
            if found and records[0].ending:
                ours[name] = {**getattr(self.values, name), **found}
            elif found:
                (ours[name],) = found.values()
        if ours:
            self.values = replace(self.values, **ours)
            self.on_change(self.values)


def declare_parameters(node: Node, kind: type[Values], *, modality: str = '') -> Values:
    """Declare the parameters of a class of `lb_ros.parameter_table` and read them.

    Args:
        node: Owner of the parameters.
        kind: Class of the values.
        modality: Declare only its parameters, others keep their defaults; empty for all.

    Raises:
        ValueError: A value is of the wrong type or out of range, or none of the choices.
    """
    values: dict[str, Any] = {}
    for name, records in groups_of(kind):
        if modality and modality not in records[0].modalities:
            continue
        found = [declare_parameter(node, record) for record in records]
        keys = [record.modalities[0] for record in records]
        values[name] = dict(zip(keys, found, strict=True)) if records[0].ending else found[0]
    return kind(**values)


def unknown_parameters(nodes: Sequence[Node]) -> dict[str, str]:
    """Find parameters given to a process that no node of this package has.

    Returns:
        Most similar known name by unknown name; empty if none is similar.
    """
    # A file for several processes also contains the parameters of the others.
    known = {*RECORDS, *MICROPHONE_RECORDS}
    known |= {name for node in nodes for name in node.list_parameters([], 0).names}
    # rclpy has no public access to the given values.
    given = {name for node in nodes for name in node._parameter_overrides}
    unknown = sorted(n for n in given - known if not n.startswith(QOS_OVERRIDES))
    return {n: ''.join(get_close_matches(n, sorted(known), n=1)) for n in unknown}


def declare_parameter(node: Node, record: Record) -> Any:
    """Declare one parameter unless the node has it, and return its value; a list as a tuple.

    Raises:
        ValueError: The given value is of the wrong type or out of range.
    """
    name, known = record.name, ', '.join(record.choices)
    has_it = node.has_parameter(name)
    value = node.get_parameter(name).value if has_it else _declare(node, record)
    if isinstance(record.default, tuple):
        # An empty list has no type in a YAML file or on the command line: it arrives as None.
        value = tuple(value or ())
        if not value or not all(value):
            raise ValueError(f'parameter {name}: needs at least one of {known or "topic"}')
        for each in value:
            if known and each not in record.choices:
                raise ValueError(f'parameter {name}: unknown {each!r}, expected some of {known}')
    elif known and value not in record.choices:
        raise ValueError(f'parameter {name}: must be one of {known}, not {value!r}')
    return value


def _declare(node: Node, record: Record) -> Any:
    name, default = record.name, record.default
    value = list(default) if isinstance(default, tuple) else default
    try:
        return node.declare_parameter(name, value, _descriptor(record)).value
    except InvalidParameterTypeException as error:
        expected = f'{EXPECTED[type(default)]}, for example {name}:={written(default)}'
        found = written(node._parameter_overrides[name].value)
        raise ValueError(f'parameter {name}: expected {expected}, not {found}') from error
    except InvalidParameterValueException as error:
        if record.limits is None:  # refused by a callback of the node; `error` has its reason
            raise ValueError(f'parameter {name}: {error}') from error
        found, limits = written(node._parameter_overrides[name].value), range_of(record.limits)
        raise ValueError(f'parameter {name}: must be {limits}, not {found}') from error


def _typed(changed: Sequence[Parameter]) -> list[Parameter]:
    """Convert integers to float for float parameters: `ros2 param set` sends 5 as an integer."""
    floats = {name for name, record in RECORDS.items() if isinstance(record.default, float)}
    return [
        Parameter(each.name, value=float(each.value))
        if each.type_ is Parameter.Type.INTEGER and each.name in floats
        else each
        for each in changed
    ]


def inputs_of(parameters: Parameters, modality: str) -> tuple[str, ...]:
    """Return the topics of a modality's sensors; of described channels, the name of all."""
    return tuple(dict.fromkeys(parameters.inputs.get(modality, (MODALITIES[modality].topic,))))


def regions_of(parameters: Parameters, modality: str = '') -> tuple[Region, ...]:
    """Return the parts of a modality's view; of all views if it is empty.

    Raises:
        ValueError: One is malformed.
    """
    try:
        found = parse_regions(parameters.regions)
    except ValueError as error:
        raise ValueError(f'parameter regions: {error}') from None
    return tuple(region for region in found if modality in ('', region.modality))


def check_regions(parameters: Parameters) -> None:
    """Refuse parts of views that `bringup` does not encode.

    Raises:
        ValueError: One is malformed, or its modality is not in the parameter modalities.
    """
    for region in regions_of(parameters):
        if region.modality not in parameters.modalities:
            raise ValueError(
                f'parameter regions: {region.name} is of {region.modality}, which is not in the '
                f'parameter modalities ({", ".join(parameters.modalities)})'
            )


def thread_count(parameters: Parameters) -> int:
    """Return the number of CPU threads for the encoders.

    By default one core is left to the messages: a thread that waits for a core holds up all others
    at every layer.
    """
    return parameters.threads or max(1, len(os.sched_getaffinity(0)) - 1)


def batch_limit(parameters: Parameters) -> int:
    """Return the largest number of sensors in one call.

    By default all on a GPU, where a call of several takes hardly longer than one of one. On a CPU
    it takes nearly as long as all of them, and each would wait for the others: one at a time.
    """
    if parameters.max_batch:
        return parameters.max_batch
    if parameters.device.startswith('cpu'):
        return 1
    return sum(sample_counts(parameters, parameters.modalities).values())


def sample_counts(parameters: Parameters, modalities: Iterable[str]) -> dict[str, int]:
    """Return the largest number of samples of each modality in a call, parts included."""
    return {
        name: len(inputs_of(parameters, name)) + len(regions_of(parameters, name))
        for name in modalities
    }


def limits_of(parameters: Parameters) -> Limits:
    """Return the rate and age limits and the priorities of sensors."""
    return Limits(
        max_rate_hz=parameters.max_rate_hz,
        max_age_ms=parameters.max_age_ms,
        rates_hz=parameters.rates_hz,
        priorities=parameters.priorities,
    )


def predicates_file(parameters: Parameters) -> Path:
    """Return the path of the configured predicates file, or of the shipped one."""
    if parameters.predicates:
        return Path(parameters.predicates)
    return shipped('config/predicates.yaml')


def taught_file(parameters: Parameters) -> Path:
    """Return the path of the file that keeps what was taught."""
    if parameters.taught:
        return Path(parameters.taught)
    return taught_path(Path(parameters.predicates)) if parameters.predicates else own_taught_path()


def _descriptor(record: Record) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=record.about, read_only=record.changes == 'start')
    if record.changes == 'configure':
        descriptor.additional_constraints = 'changes only while the node is unconfigured'
    if record.limits is not None:
        low, high = record.limits
        if isinstance(record.default, int):
            limits = IntegerRange(from_value=int(low), to_value=int(high))
            descriptor.integer_range = [limits]
        else:
            limits = FloatingPointRange(from_value=float(low), to_value=float(high))
            descriptor.floating_point_range = [limits]
    return descriptor
