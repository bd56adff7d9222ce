"""What tokens cost: memory of those that are kept for the past, and their way between processes.

python -m benchmarks.tokens [--seconds 20]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.environment import write_result
from encoders.model_sets.evidence import Evidence
from encoders.predicates.history import MB, History, Observation
from lb_ros.dds_profile import use_dds_profile

SENSORS = 'image', 'depth', 'infrared'
RATE_HZ, SPAN_S, FILL_S = 15, 30.0, 60.0
DIMENSIONS = 384
SHAPES = {'lb-mini': (197, 96), 'wide': (257, 192)}
LIMITS_MB = {'vectors only': 0.0, 'history_tokens_mb 64': 64.0, 'no limit': 1e6}
START_S = 60.0


def measured_apart(work: Callable[..., Any], *words: Any) -> Any:
    """The result of a function in a new process, so that nothing else counts."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(work, words)


def history(shape: tuple[int, int], limit_mb: float) -> dict[str, float]:
    """Fill a history for longer than it keeps; memory that it takes and what is still in it."""
    rng = np.random.default_rng(0)
    kept = History(span_s=SPAN_S, tokens_bytes=round(limit_mb * MB))
    before = _resident_mb()
    for index in range(round(FILL_S * RATE_HZ)):
        for sensor in SENSORS:
            tokens = rng.integers(0, 9, shape).astype(np.float16) if limit_mb else None
            evidence = Evidence(rng.random(DIMENSIONS, np.float32), tokens)
            stamp_ns = index * round(1e9 / RATE_HZ)
            kept.add((sensor, ''), Observation(evidence, stamp_ns))
    taken = _resident_mb() - before
    everything = kept.everything()
    newest_ns = everything[-1][1].stamp_ns
    read = [o.stamp_ns for _, o in everything if o.evidence.tokens is not None]
    return {
        'resident_mb': round(taken, 1),
        'tokens_mb': round(kept.used_bytes / MB, 1),
        'samples': len(everything),
        'vectors_s': round((newest_ns - everything[0][1].stamp_ns) * 1e-9, 1),
        'tokens_s': round((newest_ns - min(read)) * 1e-9, 1) if read else 0.0,
    }


def _resident_mb() -> float:
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096 / MB


def send(shape: tuple[int, int], seconds: float, domain: int) -> dict[str, float]:
    """Publish evidence of all sensors; number of messages and processor time of each."""
    node, publishers = _node('sender', domain)
    from lb_ros.engine.arrival import Encoded
    from lb_ros.ros.embeddings import add_tokens, embedding_message

    tokens = np.random.default_rng(0).standard_normal(shape).astype(np.float16)
    vector = np.ones(DIMENSIONS, np.float32)
    wait_s = time.monotonic() + START_S
    while time.monotonic() < wait_s and any(
        not publisher.get_subscription_count() for publisher in publishers.values()
    ):
        time.sleep(0.05)
    count, spent_s, next_s = 0, 0.0, time.monotonic()
    while count < seconds * RATE_HZ:
        began_s = time.process_time()
        for name, publisher in publishers.items():
            now_ns = time.time_ns()
            encoded = Encoded(name, name, 'x', 'y', vector, now_ns, now_ns, '', 1.0, *4 * [0.0])
            message = embedding_message(encoded, source=name)
            add_tokens(message, tokens, readout='z')
            publisher.publish(message)
        spent_s += time.process_time() - began_s
        count += 1
        next_s += 1 / RATE_HZ
        time.sleep(max(0.0, next_s - time.monotonic()))
    time.sleep(1.0)
    node.destroy_node()
    return {'sent': count * len(publishers), 'send_ms': 1e3 * spent_s / count / len(publishers)}


def receive(seconds: float, domain: int) -> dict[str, float]:
    """Subscribe as `predicates` does; delays from publishing to tokens in an array."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from lb_ros.engine.arrival import Encoded
    from lb_ros.nodes.evidence_topics import EvidenceTopics

    delays_ms: list[float] = []

    def take(encoded: Encoded) -> None:
        assert encoded.tokens is not None
        delays_ms.append((time.time_ns() - encoded.stamp_ns) * 1e-6)

    node, _ = _node('receiver', domain, publishes=False)
    topics = EvidenceTopics(node, take, modalities=SENSORS)
    topics.follow(SENSORS)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end_s = time.monotonic() + START_S + seconds
    quiet_s = end_s
    while time.monotonic() < min(end_s, quiet_s):
        before = len(delays_ms)
        executor.spin_once(timeout_sec=0.1)
        if len(delays_ms) > before:
            quiet_s = time.monotonic() + 3.0
    node.destroy_node()
    rclpy.try_shutdown()
    return {
        'received': len(delays_ms),
        'median_ms': round(statistics.median(delays_ms), 2),
        'p95_ms': round(statistics.quantiles(delays_ms, n=20)[-1], 2),
    }


def _node(name: str, domain: int, *, publishes: bool = True) -> tuple[Any, dict[str, Any]]:
    use_dds_profile()
    import rclpy

    from lb_ros.msg import Embedding
    from lb_ros.ros.qos import ALIVE

    rclpy.init(domain_id=domain)
    node = rclpy.create_node(name)
    topics = SENSORS if publishes else ()
    return node, {s: node.create_publisher(Embedding, f'evidence/{s}', ALIVE) for s in topics}


def transport(shape: tuple[int, int], seconds: float) -> dict[str, float]:
    """Tokens of all sensors from one process to another."""
    from tests.domains import own_domain

    with own_domain() as domain, multiprocessing.get_context('spawn').Pool(2) as pool:
        receiver = pool.apply_async(receive, (seconds, domain))
        sender = pool.apply_async(send, (shape, seconds, domain))
        limit_s = 3 * START_S + seconds
        found = {**sender.get(limit_s), **receiver.get(limit_s)}
    return found | {'delivered_fraction': found['received'] / found['sent']}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=20.0, help='length of each transport')
    args = parser.parse_args()
    result = {
        'command': f'python -m benchmarks.tokens --seconds {args.seconds:g}',
        'rate_hz': RATE_HZ,
        'sensors': len(SENSORS),
        'shapes': {name: list(shape) for name, shape in SHAPES.items()},
        'bytes_per_sample': {name: 2 * a * b for name, (a, b) in SHAPES.items()},
        'history': {
            name: {
                limit: measured_apart(history, shape, megabytes)
                for limit, megabytes in LIMITS_MB.items()
            }
            for name, shape in SHAPES.items()
        },
        'transport': {name: transport(shape, args.seconds) for name, shape in SHAPES.items()},
    }
    print(json.dumps(result, indent=2))
    print(write_result('tokens', result))


if __name__ == '__main__':
    main()
