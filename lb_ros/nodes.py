"""Start one node, or several in one process on one trunk (`bringup`)."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from dataclasses import asdict

import rclpy
import torch
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from encoders import (
    MODALITIES,
    SENSED,
    Binder,
    ModelSetError,
    PredicateError,
    load_predicates,
)
from lb_ros.dds_profile import use_dds_profile
from lb_ros.diagnostics import engine_status, publish_diagnostics
from lb_ros.encoder_node import EncoderNode
from lb_ros.encoding import Encoded, EncodingWorker
from lb_ros.microphone import MicrophoneNode
from lb_ros.parameters import (
    Parameters,
    batch_limit,
    declare_parameters,
    predicates_file,
    thread_count,
)
from lb_ros.predicates_node import PredicatesNode
from lb_ros.start import STOP_SIGNALS
from lb_ros.watchdog import Watchdog, leave

NODES = (
    'bringup',
    'predicates',
    'microphone',
    *(f'{MODALITIES[name].sensor}_encoder' for name in SENSED),
)
WAKE_S = 0.2


def main(name: str, args: list[str] | None = None) -> None:
    """Run the node `name` until it is interrupted; exits 1 with one line if it cannot start.

    Args:
        name: One of `NODES`.
        args: ROS arguments; the command line where None.
    """
    use_dds_profile()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # a ROS argument or a parameter file is wrong
        print(f'{name}: {error}', file=sys.stderr)
        raise SystemExit(1) from None
    executor = SingleThreadedExecutor()
    worker: EncodingWorker | None = None
    nodes: list[Node] = []
    try:
        # Both ways of being stopped leave through the same door, so that everything is closed.
        for signum in STOP_SIGNALS:
            signal.signal(signum, _interrupt)
        nodes, worker = _build(name)
        for node in nodes:
            executor.add_node(node)
        nodes[-1].get_logger().info(f'{name} is ready')
        while rclpy.ok():
            # A signal is only noticed between waits; a node without timers would wait forever.
            executor.spin_once(timeout_sec=WAKE_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ModelSetError, PredicateError, KeyError, ValueError, ModuleNotFoundError) as error:
        print(f'{name}: {error.args[0] if error.args else error}', file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        if worker is not None:
            worker.close()
            with contextlib.suppress(OSError):  # nobody may be left to read it
                print(json.dumps({'counters': _counters(worker)}), flush=True)
        executor.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()


def _counters(worker: EncodingWorker) -> dict[str, dict[str, int]]:
    return {name: asdict(counters) for name, counters in worker.counters().items()}


def _interrupt(signum: int, frame: object) -> None:
    # Once is enough: a terminal and a launch file both pass Ctrl-C on, and the second one must
    # not break off the closing.
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _build(name: str) -> tuple[list[Node], EncodingWorker | None]:
    if name == 'predicates':
        return [_predicates_alone()], None
    if name == 'bringup':
        return _bringup()
    if name == 'microphone':
        return [MicrophoneNode()], None
    modality = next(m for m in SENSED if f'{MODALITIES[m].sensor}_encoder' == name)
    encoder = EncoderNode(modality)
    parameters = declare_parameters(encoder)
    binder = _load(parameters, (modality,))
    worker = _worker(binder, {modality: encoder}, parameters, predicates=None)
    return [encoder], worker


def _predicates_alone() -> Node:
    probe = Node('predicates')
    parameters = declare_parameters(probe)
    probe.destroy_node()
    binder = _load(parameters, None)
    predicates = load_predicates(predicates_file(parameters))
    return PredicatesNode(binder, predicates, parameters=parameters)


def _bringup() -> tuple[list[Node], EncodingWorker]:
    settings = Node('bringup')
    parameters = declare_parameters(settings)
    binder = _load(parameters, parameters.modalities)
    predicates = PredicatesNode(
        binder,
        load_predicates(predicates_file(parameters)),
        parameters=parameters,
        listen=False,
    )
    encoders = {name: EncoderNode(name) for name in parameters.modalities}
    worker = _worker(binder, encoders, parameters, predicates=predicates)
    return [*encoders.values(), predicates, settings], worker


def _load(parameters: Parameters, modalities: tuple[str, ...] | None) -> Binder:
    torch.set_num_threads(thread_count(parameters))
    try:
        torch.empty(0, device=parameters.device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA fails an assertion
        reason = str(error).splitlines()[0]
        raise ValueError(f'parameter device: {parameters.device!r}: {reason}') from error
    return Binder.load(parameters.model, modalities=modalities, device=parameters.device)


def _worker(
    binder: Binder,
    encoders: dict[str, EncoderNode],
    parameters: Parameters,
    *,
    predicates: PredicatesNode | None,
) -> EncodingWorker:
    def publish(encoded: Encoded) -> None:
        if predicates is not None:
            predicates.receive(encoded)
        encoders[encoded.modality].publish(encoded)

    def fatal(status: int, line: str) -> None:
        if predicates is not None:
            predicates.give_up(line)
        leave(status, line)

    log = next(iter(encoders.values())).get_logger().warning
    worker = EncodingWorker(
        binder,
        publish=publish,
        log=log,
        max_rate_hz=parameters.max_rate_hz,
        max_age_ms=parameters.max_age_ms,
        max_batch=batch_limit(parameters),
        on_fatal=fatal,
    )
    publish_diagnostics(next(iter(encoders.values())), lambda: [engine_status(worker)])
    if parameters.worker_timeout_s:
        Watchdog(worker.busy_with, limit_s=parameters.worker_timeout_s)
    for encoder in encoders.values():
        encoder.connect(worker, max_age_ms=parameters.max_age_ms)
    if predicates is not None:
        predicates.on_model = worker.use
    return worker
