"""Fuzz the decoders of images, compressed images, audio and bags with mutated inputs.

An input may only cause a `DecodeError` (for a bag: a line in its report). A crash, another
exception, more than five seconds or more than two additional gigabytes count as a failure.
libFuzzer mutates valid inputs and keeps those that reach new lines of the decoders. Needs atheris
(`pip install .[fuzz]`).

    python -m benchmarks.fuzz                      # ten million executions
    python -m benchmarks.fuzz --share 0.001
    python -m benchmarks.fuzz --target bag --share 0.1 --name fuzz_bag
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import re
import resource
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from mcap.writer import CompressionType, Writer
from rosbags.typesys import Stores, get_typestore

from benchmarks.environment import write_result

OWN = ['encoders.decode', 'train.bags.reader', 'train.bags.folder', 'train.bags.storage', 'mcap']
if '--here' in sys.argv:  # atheris instruments the fuzzed modules on import
    import atheris

    instrumented = atheris.instrument_imports(include=OWN)
else:
    instrumented = nullcontext()
with instrumented:
    from encoders.decode import DecodeError, ImageOptions, decode_audio, decode_image
    from encoders.decode.encodings import RAW_ENCODINGS
    from train.bags.folder import bag_span_ns, bag_topics, read_marks
    from train.bags.reader import BagReport, read_bag

RUNS = {'image': 4_000_000, 'compressed': 2_700_000, 'audio': 3_000_000, 'bag': 300_000}
ENCODINGS = (*RAW_ENCODINGS, 'bayer_of_mars', '')
FORMATS = ('jpeg', 'png', '', 'rgb8; jpeg compressed bgr8', '16UC1; compressedDepth png',
           '16UC1; compressedDepth rvl', '32FC1; compressedDepth png',
           '32FC1; compressedDepth rvl')  # fmt: skip
MODALITIES = ('image', 'depth', 'infrared')
LIMIT_S, LIMIT_MB, MAX_BYTES = 5, 2048, 32_768
HANG_S = 120  # wall-clock time, which includes delays by other programs


def fuzz_image(data: bytes) -> None:
    """Decode a raw image whose fields all come from the bytes."""
    if len(data) < 16:
        return
    kind, options, height, width, step = struct.unpack('<BBHHI', data[:10])
    big = data[10] & 1
    if options & 1:  # often a valid step, so that the pixels are reached
        dtype, channels = RAW_ENCODINGS.get(ENCODINGS[kind % len(ENCODINGS)], ('u1', 1))
        height, width = height % 40, width % 40
        step = width * channels * np.dtype(dtype).itemsize + (step & 3)
    message = SimpleNamespace(
        encoding=ENCODINGS[kind % len(ENCODINGS)], height=height, width=width, step=step,
        is_bigendian=big, data=data[11:] * (1 + (data[10] >> 3)),
    )  # fmt: skip
    near = ImageOptions(infrared_kind='near_infrared', mono16_is_depth=bool(options & 2))
    for modality in MODALITIES:
        with suppress(DecodeError):
            decode_image(message, modality=modality, options=near)


def fuzz_compressed(data: bytes) -> None:
    """Decode a compressed image of any format."""
    if not data:
        return
    message = SimpleNamespace(format=FORMATS[data[0] % len(FORMATS)], data=data[1:])
    with suppress(DecodeError):
        decode_image(message, modality=MODALITIES[data[0] // 8 % 3])


def fuzz_audio(data: bytes) -> None:
    """Decode audio of any shape."""
    if len(data) < 8:
        return
    kind, channels, rate_hz, number = struct.unpack('<BBIB', data[:7])
    raw = data[7:]
    even = raw[: len(raw) // 4 * 4]
    info = SimpleNamespace(format=number, channels=channels, rate=rate_hz)
    arrays = {
        'float32_data': np.frombuffer(even, '<f4') if kind & 1 else [],
        'int32_data': np.frombuffer(even, '<i4') if kind & 2 else [],
        'int16_data': np.frombuffer(even, '<i2') if kind & 4 else [],
        'int8_data': np.frombuffer(raw, 'i1') if kind & 8 else [],
        'uint8_data': np.frombuffer(raw, 'u1') if kind & 16 else [],
    }
    typed = SimpleNamespace(audio=SimpleNamespace(audio_data=SimpleNamespace(**arrays), info=info))
    chunk = SimpleNamespace(
        samples=np.frombuffer(even, '<i2'), sample_rate_hz=rate_hz, channels=channels
    )
    for message in (typed, chunk, SimpleNamespace(data=raw)):
        with suppress(DecodeError):
            decode_audio(message)


def fuzz_bag(data: bytes) -> None:
    """Read a bag file with these bytes: MCAP if the first byte is odd, otherwise sqlite3."""
    suffix = '.mcap' if data[:1] and data[0] & 1 else '.db3'
    path = Path(tempfile.gettempdir()) / f'fuzz_{os.getpid()}{suffix}'
    path.write_bytes(data[1:])
    report = BagReport(path)
    for _, message in zip(range(200), read_bag(path, report=report), strict=False):
        if hasattr(message.message, 'encoding') or hasattr(message.message, 'format'):
            with suppress(DecodeError):
                decode_image(message.message, modality='image')
    bag_topics(path)
    bag_span_ns(path)
    read_marks(path)


TARGETS: dict[str, Callable[[bytes], None]] = {
    'image': fuzz_image,
    'compressed': fuzz_compressed,
    'audio': fuzz_audio,
    'bag': fuzz_bag,
}


def seeds(target: str) -> list[bytes]:
    """Valid inputs to start from."""
    picture = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16) * 199
    png = cv2.imencode('.png', picture)[1].tobytes()
    jpg = cv2.imencode('.jpg', picture.astype(np.uint8))[1].tobytes()
    if target == 'image':
        pixels = picture.tobytes()
        return [bytes([k, 1, 8, 0, 8, 0, 0, 0, 0, 0, 8]) + pixels for k in range(len(ENCODINGS))]
    if target == 'compressed':
        rvl = bytes(12) + struct.pack('<IIII', 4, 2, 0x11223344, 0x08182838)
        bodies = (jpg, png, png, jpg, bytes(12) + png, rvl, bytes(12) + png, rvl)
        return [bytes([k + 8 * (k > 3)]) + body for k, body in enumerate(bodies)]
    if target == 'audio':
        head = struct.pack('<BBIB', 4, 1, 16_000, 8)
        return [head + picture.tobytes(), b'\x01\x02' + head[2:] + picture.tobytes()]
    messages = _messages(picture, png)
    # Without checksums, a mutated byte is not rejected immediately.
    plain = [_mcap(messages, CompressionType.NONE), _mcap(messages, CompressionType.ZSTD)]
    return [b'\1' + bag for bag in plain] + [b'\0' + _sqlite(messages), b'\1\x89MCAP0\r\n']


def _messages(picture: np.ndarray, png: bytes) -> list[tuple[str, str, bytes]]:
    """Topic, type and CDR bytes of an image, a compressed image and a text."""
    store = get_typestore(Stores.ROS2_JAZZY)
    time_of = store.types['builtin_interfaces/msg/Time']
    header = store.types['std_msgs/msg/Header'](stamp=time_of(sec=1, nanosec=2), frame_id='eye')
    made = {
        'sensor_msgs/msg/Image': {
            'header': header, 'height': 16, 'width': 16, 'encoding': '16UC1', 'is_bigendian': 0,
            'step': 32, 'data': picture.view(np.uint8).ravel(),
        },
        'sensor_msgs/msg/CompressedImage': {
            'header': header, 'format': 'png', 'data': np.frombuffer(png, np.uint8),
        },
        'std_msgs/msg/String': {'data': 'put the bowl on the plate'},
    }  # fmt: skip
    return [
        (f'/topic{k}', name, bytes(store.serialize_cdr(store.types[name](**fields), name)))
        for k, (name, fields) in enumerate(made.items())
    ]


def _mcap(messages: list[tuple[str, str, bytes]], compression: CompressionType) -> bytes:
    stream = io.BytesIO()
    writer = Writer(stream, compression=compression, enable_crcs=False)
    writer.start(profile='ros2')
    for k, (topic, name, raw) in enumerate(messages):
        schema = writer.register_schema(name, 'ros2msg', b'string data\nint32[<=3] more 4')
        channel = writer.register_channel(topic, 'cdr', schema)
        writer.add_message(channel, log_time=k, data=raw, publish_time=k)
    writer.add_metadata('lb_ros', {'split': 'train'})
    writer.finish()
    return stream.getvalue()


def _sqlite(messages: list[tuple[str, str, bytes]]) -> bytes:
    base = sqlite3.connect(':memory:')
    base.execute('PRAGMA page_size = 512')
    base.execute('CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT)')
    base.execute('CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data BLOB)')
    for k, (topic, name, raw) in enumerate(messages):
        base.execute('INSERT INTO topics VALUES(?, ?, ?)', (k, topic, name))
        base.execute('INSERT INTO messages VALUES(?, ?, ?, ?)', (k, k, k, raw))
    base.commit()
    return base.serialize()


def bounded(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Wrap a target so that it fails beyond `LIMIT_S` of CPU time or `LIMIT_MB` more memory."""
    most_kib = _peak_kib() + LIMIT_MB * 1024

    def run(data: bytes) -> None:
        began_s = time.process_time()
        target(data)
        if time.process_time() - began_s > LIMIT_S:
            raise TimeoutError(f'more than {LIMIT_S} s for {len(data)} bytes')
        if _peak_kib() > most_kib:
            raise MemoryError(f'more than {LIMIT_MB} MB for {len(data)} bytes')

    return run


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fuzz_here(target: str, runs: int) -> None:
    """Fuzz in this process; libFuzzer ends the process."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(target)):
            (Path(corpus) / f'{number}').write_bytes(seed)
        options = [
            f'-runs={runs}', f'-timeout={HANG_S}', f'-max_len={MAX_BYTES}', '-len_control=0',
            '-reduce_inputs=0', '-rss_limit_mb=0', '-print_final_stats=1', '-verbosity=1',
            f'-artifact_prefix={tempfile.gettempdir()}/',
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *options, corpus], bounded(TARGETS[target]))
        atheris.Fuzz()


def fuzz(target: str, runs: int) -> dict[str, Any]:
    """Fuzz one target in a separate process; return its statistics and its failure, if any."""
    words = [sys.executable, '-m', 'benchmarks.fuzz', '--here', '--target', target]
    # Without this, log lines for each input would fill the disk.
    environment = {**os.environ, 'OPENCV_LOG_LEVEL': 'SILENT'}
    began_s = time.monotonic()
    with tempfile.TemporaryFile('w+', errors='replace') as log:
        ended = subprocess.run(
            [*words, '--share', str(runs / RUNS[target])], stderr=log, env=environment, check=False
        )
        log.seek(0)
        lines = [line for line in log if not line.startswith(('Corrupt JPEG', 'Premature end'))]
    text = ''.join(lines)
    done = re.search(r'number_of_executed_units:\s*(\d+)', text)
    reached = re.findall(r'cov: (\d+)', text)
    return {
        'executions': int(done[1]) if done else 0,
        'seconds': round(time.monotonic() - began_s),
        'edges_reached': int(reached[-1]) if reached else 0,
        'failure': '' if done and ended.returncode == 0 else text[-2000:],
    }


def main() -> int:
    """Fuzz each target; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--target', choices=TARGETS, action='append')
    parser.add_argument('--share', type=float, default=1.0, help='of ten million executions')
    parser.add_argument('--name', default='fuzz', help='of the result file')
    parser.add_argument('--here', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    targets = args.target or list(TARGETS)
    if importlib.util.find_spec('atheris') is None:
        parser.error('needs atheris: pip install .[fuzz]')
    if args.here:
        fuzz_here(targets[0], round(args.share * RUNS[targets[0]]))
    results = {}
    for target in targets:
        results[target] = fuzz(target, round(args.share * RUNS[target]))
        print(target, results[target], flush=True)
    total = sum(each['executions'] for each in results.values())
    print(f'{total} executions')
    write_result(args.name, {'targets': results, 'executions': total})
    return int(any(each['failure'] for each in results.values()))


if __name__ == '__main__':
    sys.exit(main())
