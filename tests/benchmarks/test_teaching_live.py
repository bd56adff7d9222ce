"""What the benchmark of presses counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.teaching_live import Listener

pytestmark = pytest.mark.ros


def test_evidence_is_counted_once_however_often_it_is_evaluated() -> None:
    from lb_ros.msg import PredicateScores

    node: Any = SimpleNamespace(create_subscription=lambda kind, topic, take, depth: None)
    listener = Listener(node, 'lid')
    for stamp_s, latency_ms in ((1, 20.0), (1, 90.0), (2, 30.0), (2, 220.0), (3, 25.0)):
        message = PredicateScores(latency_ms=latency_ms)
        message.header.stamp.sec = stamp_s
        listener.take(message)
    assert listener.latencies_ms == [20.0, 30.0, 25.0]
