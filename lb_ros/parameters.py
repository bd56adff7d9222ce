"""The parameters of all nodes, declared in one place; config/parameters.yaml explains them."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from encoders import SENSED
from encoders.shipped import shipped


@dataclass(frozen=True, slots=True)
class Parameters:
    """Values of a node's parameters.

    Attributes:
        model: Name of a shipped model set, or a folder.
        predicates: YAML file with predicates; empty for the shipped ones.
        modalities: Encoders to run (bringup only).
        device: Torch device of the encoders.
        threads: CPU threads of the encoders; 0 for one per core.
        max_rate_hz: Upper limit of embeddings per sensor; 0 for none.
        max_age_ms: Messages that waited longer than this are dropped as stale.
        evaluate_period_ms: Shortest time between two evaluations of the predicates.
        max_batch: Samples that are encoded in one call; 0: one on a CPU, else one per modality.
        worker_timeout_s: A worker that is busy for longer is stuck and ends the process; 0: never.
    """

    model: str = 'lb-mini'
    predicates: str = ''
    modalities: tuple[str, ...] = SENSED
    device: str = 'cpu'
    threads: int = 0
    max_rate_hz: float = 15.0
    max_age_ms: float = 1000.0
    evaluate_period_ms: float = 20.0
    max_batch: int = 0
    worker_timeout_s: float = 60.0


RANGES = {
    'threads': (0, 256),
    'max_rate_hz': (0.0, 1000.0),
    'max_age_ms': (1.0, 60_000.0),
    'evaluate_period_ms': (1.0, 10_000.0),
    'max_batch': (0, 64),
    'worker_timeout_s': (0.0, 3600.0),
}


def declare_parameters(node: Node) -> Parameters:
    """Declare all parameters on a node, read-only, and read them.

    Raises:
        ValueError: A value is of the wrong type or out of range, or a modality is unknown.
    """
    values: dict[str, Any] = {}
    for field in fields(Parameters):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        declared = declare_parameter(node, field.name, default, _descriptor(field.name))
        values[field.name] = tuple(declared) if isinstance(declared, (list, tuple)) else declared
    known = ', '.join(SENSED)
    # An empty list has no type in a YAML file or on the command line, so it arrives as None.
    if not values['modalities']:
        raise ValueError(f'parameter modalities: needs at least one of {known}')
    for name in values['modalities']:
        if name not in SENSED:
            raise ValueError(f'parameter modalities: unknown {name!r}, expected some of {known}')
    return Parameters(**values)


def declare_parameter(
    node: Node, name: str, default: object, descriptor: ParameterDescriptor
) -> Any:
    """Declare one parameter and read it.

    Raises:
        ValueError: The value it was given is of the wrong type or out of range.
    """
    try:
        return node.declare_parameter(name, default, descriptor).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ValueError(f'parameter {name}: {error}') from error


def thread_count(parameters: Parameters) -> int:
    """CPU threads to compute with."""
    return parameters.threads or len(os.sched_getaffinity(0))


def batch_limit(parameters: Parameters) -> int:
    """Samples that are encoded in one call; on a CPU, several would only delay the first."""
    if parameters.max_batch:
        return parameters.max_batch
    return 1 if parameters.device == 'cpu' else len(parameters.modalities)


def predicates_file(parameters: Parameters) -> Path:
    """The file of predicates: the configured one, or the one that is shipped."""
    if parameters.predicates:
        return Path(parameters.predicates)
    return shipped('config/predicates.yaml')


def _descriptor(name: str) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(read_only=True)
    if name in RANGES:
        low, high = RANGES[name]
        if isinstance(low, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor
