"""`lb-ros watch`: scores and states of running nodes, as they come."""

from __future__ import annotations

import json
import sys
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rich.console import Console
from rich.live import Live

from lb_ros.dds_profile import use_dds_profile
from lb_ros.demo.listener import Listener
from lb_ros.demo.recording import Recording
from lb_ros.demo.table import live_table


def watch(*, as_json: bool, seconds: float) -> int:
    """Show until interrupted or for so many seconds; 1 where nothing ever arrived."""
    use_dds_profile()
    rclpy.init()
    recording = Recording()
    listener = Listener(recording)
    executor = SingleThreadedExecutor()
    executor.add_node(listener)
    console = Console()
    end_s, seen = time.monotonic() + seconds, 0
    try:
        with Live(console=console, auto_refresh=False, transient=as_json) as live:
            while time.monotonic() < end_s:
                executor.spin_once(timeout_sec=0.25)
                if not recording.answers or len(recording.latencies_ms) == seen:
                    continue
                seen = len(recording.latencies_ms)
                if as_json:
                    print(json.dumps(_newest(recording)), flush=True)
                else:
                    table = live_table(recording, _modalities(recording), limit=console.height - 6)
                    live.update(table, refresh=True)
    except KeyboardInterrupt:
        pass
    finally:
        executor.shutdown()
        listener.destroy_node()
        rclpy.try_shutdown()
    if not recording.answers:
        print('lb-ros watch: no scores arrived; is bringup running?', file=sys.stderr)
        return 1
    return 0


def _modalities(recording: Recording) -> list[str]:
    newest = (answers[-1].probability for answers in recording.answers.values())
    return list(dict.fromkeys(name for found in newest for name in found if name != 'fused'))


def _newest(recording: Recording) -> dict[str, dict[str, float]]:
    return {name: answers[-1].probability for name, answers in recording.answers.items()}
