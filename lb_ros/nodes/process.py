"""Start one node, or several nodes in one process with a shared model set (`bringup`)."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode
from rclpy.signals import SignalHandlerOptions

from encoders import LIVE, MODALITIES
from encoders.decode.followed import Followed
from encoders.regions import modality_of
from lb_ros.dds_profile import is_fast_dds, use_dds_profile
from lb_ros.engine.arrival import Encoded
from lb_ros.engine.watchdog import leave
from lb_ros.nodes.bringup_node import BringupNode
from lb_ros.nodes.encoder_node import EncoderNode
from lb_ros.nodes.microphone_node import MicrophoneNode
from lb_ros.nodes.model_service import offer_load_model
from lb_ros.nodes.predicates_node import PredicatesNode
from lb_ros.nodes.shared_model import SharedModel
from lb_ros.parameter_table import Parameters
from lb_ros.ros.dead_segments import remove_dead_segments
from lb_ros.ros.diagnostics import engine_status, publish_diagnostics
from lb_ros.ros.executor import SensorsFirstExecutor
from lb_ros.ros.parameters import (
    Settings,
    check_regions,
    inputs_of,
    limits_of,
    regions_of,
    unknown_parameters,
)
from lb_ros.ros_arguments import doubts, read_arguments, typed_arguments
from lb_ros.stopping import interrupt_on_stop

WAKE_S = 0.5


@dataclass(frozen=True, slots=True)
class Started:
    """The nodes of a process.

    Attributes:
        nodes: All nodes of the process.
        leader: Node whose startup failure ends the process.
        autostart: Whether the process configures and activates the leader.
        model: Model set that they share; None for a process that uses none.
    """

    nodes: tuple[LifecycleNode, ...]
    leader: BringupNode | EncoderNode | PredicatesNode | MicrophoneNode
    autostart: bool
    model: SharedModel | None


@dataclass(frozen=True, slots=True)
class NodeSink:
    """The nodes of a process as the `lb_ros.engine.sink.Sink` of its worker.

    Attributes:
        encoders: Nodes that publish embeddings, by modality.
        predicates: Node that scores all embeddings; None if it runs in another process.
    """

    encoders: Mapping[str, EncoderNode]
    predicates: PredicatesNode | None

    def wants(self, sensor: str) -> bool:
        """Return whether a predicate, a query or a subscriber uses a sensor's embeddings."""
        asked = self.predicates is not None and self.predicates.needs(sensor)
        return asked or self.encoders[modality_of(sensor)].is_heard(sensor)

    def wants_tokens(self, sensor: str) -> bool:
        """Return whether a predicate, a query or a subscriber uses a sensor's tokens."""
        asked = self.predicates is not None and self.predicates.needs(sensor)
        return asked or self.encoders[modality_of(sensor)].tokens_are_heard(sensor)

    def receive(self, batch: Sequence[Encoded]) -> None:
        """Publish embeddings, then evaluate the predicates once for all of them."""
        for encoded in batch:
            self.encoders[modality_of(encoded.modality)].publish(encoded)
        if self.predicates is not None:
            self.predicates.receive(batch)

    def fail(self, status: int, line: str) -> None:
        """End the process after a failure of the device; states become UNKNOWN first."""
        if self.predicates is not None:
            self.predicates.give_up(line)
        leave(status, line)


class StartError(RuntimeError):
    """A node with `autostart` could not start; the message gives the reason."""


def main(name: str, args: list[str] | None = None) -> None:
    """Run the node `name` until it is interrupted; exit 1 with one line if it cannot start.

    Args:
        name: One of `lb_ros.launching.NODES`.
        args: ROS arguments; None for the command line.

    Raises:
        ValueError: An argument is invalid.
    """
    use_dds_profile()
    if freed_bytes := remove_dead_segments() if is_fast_dds(os.environ) else 0:
        freed = f'{freed_bytes / 1e6:.0f} MB of shared memory that killed processes had left'
        print(f'{name}: freed {freed}', file=sys.stderr)
    arguments = read_arguments(name, sys.argv[1:] if args is None else args)
    try:
        with typed_arguments(arguments) as words:
            rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # ROS refuses an argument that our checks accept
        print(f'{name}: {error}', file=sys.stderr)
        raise SystemExit(1) from None
    executor = SensorsFirstExecutor()
    started: Started | None = None
    try:
        # All ways to stop raise the same exception, so that everything is closed.
        interrupt_on_stop()
        started = _build_or_tell(name)
        for doubt in doubts(arguments):
            started.leader.get_logger().warning(doubt)
        _warn_of_unknown_parameters(started)
        _run(started, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ValueError, ModuleNotFoundError, StartError) as error:
        print(f'{name}: {error}', file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        if started is not None:
            _close(started)
        executor.shutdown()
        for node in started.nodes if started is not None else ():
            node.destroy_node()
        rclpy.try_shutdown()


def _run(started: Started, executor: SensorsFirstExecutor) -> None:
    for node in started.nodes:
        executor.add_node(node)
    leader = started.leader
    if started.autostart:
        executor.create_task(_autostart(started))
    while rclpy.ok():
        # Signals are handled only between waits; a node without timers would wait forever.
        executor.spin_once(timeout_sec=WAKE_S)
        failure = leader.transitions.failure
        if started.autostart and failure and leader.transitions.state == 'unconfigured':
            raise StartError(failure)


def _warn_of_unknown_parameters(started: Started) -> None:
    for name, meant in unknown_parameters(started.nodes).items():
        advice = f'; is {meant} meant?' if meant else ''
        started.leader.get_logger().warning(f'parameter {name} is not known{advice}')


async def _autostart(started: Started) -> None:
    leader = started.leader
    for node in started.nodes:
        node.transitions.starting = True
    try:
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            if not await leader.transitions.change(transition, waits=True):
                return
    finally:
        for node in started.nodes:
            node.transitions.starting = False
        leader.transitions.wake()
    if started.model is not None:
        started.model.save_memory()
    leader.get_logger().info(f'{leader.get_name()} is ready')


def _close(started: Started) -> None:
    for node in started.nodes:
        node.transitions.close()
    if started.model is None:
        return
    started.model.close()
    with contextlib.suppress(OSError):  # the reader of the output may have gone
        print(json.dumps({'counters': started.model.counters()}), flush=True)


def _build_or_tell(name: str) -> Started:
    try:
        return _build(name)
    except RuntimeError as error:  # RCLError: the middleware refuses
        raise StartError(' '.join(str(error).split('\n'))) from error


def _build(name: str) -> Started:
    if name == 'bringup':
        return _bringup()
    if name == 'predicates':
        return _predicates_alone()
    if name == 'microphone':
        microphone = MicrophoneNode()
        return Started((microphone,), microphone, microphone.parameters.autostart, None)
    modality = next(m for m in LIVE if f'{MODALITIES[m].sensor}_encoder' == name)
    return _encoder_alone(modality)


def _predicates_alone() -> Started:
    node = PredicatesNode()
    settings = Settings(node)
    model = _model(node, settings, NodeSink({}, node), modalities=None)
    node.connect(model, settings)
    _follow(settings, model, node)
    settings.unconfigured = lambda: node.transitions.state == 'unconfigured'
    return Started((node,), node, settings.values.autostart, model)


def _encoder_alone(modality: str) -> Started:
    node = EncoderNode(modality)
    settings = Settings(node)
    model = _model(node, settings, NodeSink({modality: node}, None), modalities=(modality,))
    _connect(node, model, settings)
    _follow(settings, model, None)
    settings.unconfigured = lambda: node.transitions.state == 'unconfigured'
    offer_load_model(node, model, settings)
    publish_diagnostics(node, lambda: [engine_status(model.worker)])
    return Started((node,), node, settings.values.autostart, model)


def _bringup() -> Started:
    leader = BringupNode()
    settings = leader.settings
    values = settings.values
    encoders = {name: EncoderNode(name) for name in values.modalities}
    predicates = PredicatesNode()
    sink = NodeSink(encoders, predicates)
    model = _model(leader, settings, sink, modalities=values.modalities)
    publish_diagnostics(leader, lambda: [engine_status(model.worker)])
    predicates.connect(model, settings, listen=False)
    check_regions(values)
    for encoder in encoders.values():
        _connect(encoder, model, settings)
    members: list[EncoderNode | PredicatesNode] = [*encoders.values(), predicates]
    leader.lead(members)
    _follow(settings, model, predicates)
    return Started((*members, leader), leader, values.autostart, model)


def _connect(node: EncoderNode, model: SharedModel, settings: Settings) -> None:
    name, values = node.modality.name, settings.values
    limit_ms = values.region_max_age_ms
    regions = [Followed(region, max_age_ms=limit_ms) for region in regions_of(values, name)]
    node.connect(model, settings, inputs=inputs_of(values, name), regions=regions)


def _model(
    node: LifecycleNode, settings: Settings, sink: NodeSink, *, modalities: Sequence[str] | None
) -> SharedModel:
    log = node.get_logger().warning
    return SharedModel(
        lambda: settings.values, sink, modalities=modalities, log=log, on_fatal=sink.fail
    )


def _follow(settings: Settings, model: SharedModel, predicates: PredicatesNode | None) -> None:
    def take(values: Parameters) -> None:
        worker = model.worker
        if worker is not None:
            worker.limit(limits_of(values))
        if predicates is not None:
            predicates.changed(values)

    settings.on_change = take
