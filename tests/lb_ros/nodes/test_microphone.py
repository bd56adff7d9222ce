"""Recorded samples become chunks, and a machine without sound says what it lacks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from encoders import decode_audio
from lb_ros.engine.capture import load_sounddevice
from lb_ros.nodes.microphone_node import chunk_message
from lb_ros.parameter_table import MicrophoneParameters


def test_a_chunk_decodes_to_what_was_recorded() -> None:
    samples = np.arange(-300, 300, dtype=np.int16).reshape(-1, 2)
    parameters = MicrophoneParameters(sample_rate_hz=48_000, channels=2)
    message = chunk_message(samples, 1_500_000_000, parameters)
    decoded = decode_audio(message)
    np.testing.assert_array_equal(decoded.wave, samples.T)
    assert decoded.rate_hz == 48_000
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 500_000_000)


def _what_is_missing() -> str:
    """What a process that opens an unknown device must name on this machine."""
    try:
        load_sounddevice()
    except ModuleNotFoundError as error:
        return str(error)
    return 'no such device'


@pytest.mark.ros
def test_a_microphone_that_cannot_open_says_why_in_one_line(ros_domain: int) -> None:
    command = [sys.executable, '-m', 'lb_ros.start', 'microphone', '--ros-args']
    command += ['-p', 'device:=no such device']
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert _what_is_missing() in ended.stderr
    assert 'Traceback' not in ended.stderr
