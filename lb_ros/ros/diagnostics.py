"""`/diagnostics`: one entry per input and one for the engine, by default once per second."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from lb_ros.engine.health import Level, Status
from lb_ros.engine.worker import EncodingWorker
from lb_ros.parameter_table import RECORDS
from lb_ros.ros.parameters import declare_parameter
from lb_ros.ros.timers import every

ENGINE = 'lb_ros/engine'


def publish_diagnostics(node: Node, collect: Callable[[], Sequence[Status | None]]) -> None:
    """Publish entries every `diagnostics_period_s` (a parameter) for the life of a node.

    Args:
        node: Publishes the entries; its full name becomes the hardware id.
        collect: Returns the entries; None entries are omitted.
    """
    publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)

    def publish() -> None:
        message = DiagnosticArray()
        message.header.stamp = node.get_clock().now().to_msg()
        owner = node.get_fully_qualified_name()
        message.status = [status_message(s, owner) for s in collect() if s is not None]
        if message.status:
            publisher.publish(message)

    period_s = declare_parameter(node, RECORDS['diagnostics_period_s'])
    if period_s <= 0:
        raise ValueError(f'parameter diagnostics_period_s: must be positive, not {period_s}')
    every(node, period_s, publish)


def status_message(status: Status, owner: str) -> DiagnosticStatus:
    """Return an entry as a message."""
    return DiagnosticStatus(
        level=bytes([status.level]),
        name=status.name,
        message=status.message,
        hardware_id=owner,
        values=[KeyValue(key=key, value=value) for key, value in status.values.items()],
    )


def engine_status(worker: EncodingWorker | None) -> Status | None:
    """Return the entry of the worker: model, counters, memory measures, and its liveness."""
    if worker is None:
        return None
    memory, busy = worker.memory, worker.busy_with()
    level, message = Level.OK, 'ok'
    if not worker.is_alive:
        level, message = Level.ERROR, 'the worker has ended'
    elif memory.shed:
        level, message = Level.ERROR, f'out of memory, shed: {", ".join(memory.shed)}'
    elif memory.batch < memory.max_batch:
        level, message = Level.WARN, f'out of memory: {memory.batch} samples at once'
    counters = worker.counters().values()
    values = {
        'model': worker.binder.model,
        'language_space': worker.binder.space,
        'busy_with': '' if busy is None else busy[0],
        'batch': str(memory.batch),
        'max_batch': str(memory.max_batch),
        'shed': ', '.join(memory.shed),
        'out_of_memory': str(memory.out_of_memory),
        'received': str(sum(c.received for c in counters)),
        'encoded': str(sum(c.encoded for c in counters)),
        'dropped': str(sum(c.dropped for c in counters)),
        'capped': str(sum(c.capped for c in counters)),
        'stale': str(sum(c.stale for c in counters)),
        'failed': str(sum(c.failed for c in counters)),
        'unheard': ', '.join(worker.unheard()),
        **worker.stages.values(),
        'resident_mib': f'{resident_mib():.0f}',
    }
    return Status(level, ENGINE, message, values)


def resident_mib() -> float:
    """Return the resident memory of this process in MiB."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
