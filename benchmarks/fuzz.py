"""Fuzz the decoders: image, compressed image, sound and bag, from bytes that nobody meant.

Only a `DecodeError` (for a bag: a line in its report) may come of any input; a crash, another
exception, a run of more than five seconds or of more than two gigabytes fails. Needs atheris
(`pip install .[fuzz]`).

    python -m benchmarks.fuzz --seconds 60
    python -m benchmarks.fuzz --target compressed --seconds 600
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from benchmarks.environment import write_result

OWN = ['encoders.decode', 'train.bags', 'train.storage']
if '--here' in sys.argv:  # what is fuzzed is instrumented as it is imported
    import atheris

    instrumented = atheris.instrument_imports(include=OWN)
else:
    instrumented = contextlib.nullcontext()
with instrumented:
    from encoders.decode import DecodeError, ImageOptions, decode_audio, decode_image
    from encoders.decode.encodings import RAW_ENCODINGS
    from train.bags import BagReport, read_bag

ENCODINGS = (*RAW_ENCODINGS, 'bayer_of_mars', '')
FORMATS = ('jpeg', 'png', '', 'rgb8; jpeg compressed bgr8', '16UC1; compressedDepth png',
           '16UC1; compressedDepth rvl', '32FC1; compressedDepth png',
           '32FC1; compressedDepth rvl')  # fmt: skip
MODALITIES = ('image', 'depth', 'infrared')
LIMIT_S, LIMIT_MB = 5, 2048


def fuzz_image(data: bytes) -> None:
    """A raw image whose every field comes from the bytes."""
    if len(data) < 16:
        return
    kind, options, height, width, step = struct.unpack('<BBHHI', data[:10])
    big = data[10] & 1
    if options & 1:  # often a step that fits, so that the pixels are reached
        dtype, channels = RAW_ENCODINGS.get(ENCODINGS[kind % len(ENCODINGS)], ('u1', 1))
        height, width = height % 40, width % 40
        step = width * channels * np.dtype(dtype).itemsize + (step & 3)
    message = SimpleNamespace(
        encoding=ENCODINGS[kind % len(ENCODINGS)], height=height, width=width, step=step,
        is_bigendian=big, data=data[11:] * (1 + (data[10] >> 3)),
    )  # fmt: skip
    near = ImageOptions(infrared_kind='near_infrared', mono16_is_depth=bool(options & 2))
    for modality in MODALITIES:
        _tolerate(lambda: decode_image(message, modality=modality, options=near))  # noqa: B023


def fuzz_compressed(data: bytes) -> None:
    """A compressed image of any format."""
    if not data:
        return
    message = SimpleNamespace(format=FORMATS[data[0] % len(FORMATS)], data=data[1:])
    _tolerate(lambda: decode_image(message, modality=MODALITIES[data[0] // 8 % 3]))


def fuzz_audio(data: bytes) -> None:
    """Sound of every shape."""
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
        _tolerate(lambda: decode_audio(message))  # noqa: B023


def fuzz_bag(data: bytes) -> None:
    """A bag file with any bytes in it."""
    path = Path(tempfile.gettempdir()) / f'fuzz_{os.getpid()}.mcap'
    path.write_bytes(data)
    report = BagReport(path)
    for _, message in zip(range(200), read_bag(path, report=report), strict=False):
        if hasattr(message.message, 'encoding') or hasattr(message.message, 'format'):
            _tolerate(lambda: decode_image(message.message, modality='image'))  # noqa: B023


TARGETS: dict[str, Callable[[bytes], None]] = {
    'image': fuzz_image,
    'compressed': fuzz_compressed,
    'audio': fuzz_audio,
    'bag': fuzz_bag,
}


def _tolerate(decode: Callable[[], Any]) -> None:
    with contextlib.suppress(DecodeError):
        decode()


def seeds(target: str) -> list[bytes]:
    """Good inputs to begin with."""
    picture = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48)
    png, jpg = (cv2.imencode(e, p)[1].tobytes() for e, p in (('.png', picture), ('.jpg', picture)))
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
    from encoders.shipped import shipped

    bags = sorted((shipped('config').parent / 'lb_ros' / 'data').rglob('*.mcap'))
    return [bag.read_bytes()[:20_000] for bag in bags] + [b'\x89MCAP0\r\n']


def fuzz_here(target: str, seconds: int) -> None:
    """Fuzz in this process, which libFuzzer ends."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(target)):
            (Path(corpus) / f'{number}').write_bytes(seed)
        options = [f'-max_total_time={seconds}', f'-timeout={LIMIT_S}', '-max_len=32768']
        options += [
            '-len_control=0',
            f'-rss_limit_mb={LIMIT_MB}',
            f'-malloc_limit_mb={LIMIT_MB}',
            '-verbosity=1',
        ]
        atheris.Setup([sys.argv[0], *options, corpus], TARGETS[target])
        atheris.Fuzz()


def main() -> int:
    """Fuzz each target in a process of its own; 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--target', choices=TARGETS, action='append')
    parser.add_argument('--seconds', type=int, default=60, help='per target')
    parser.add_argument('--here', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    targets = args.target or list(TARGETS)
    if importlib.util.find_spec('atheris') is None:
        parser.error('needs atheris: pip install .[fuzz]')
    if args.here:
        fuzz_here(targets[0], args.seconds)
    results, failed = {}, False
    for target in targets:
        words = [sys.executable, '-m', 'benchmarks.fuzz', '--here', '--target', target]
        words += ['--seconds', str(args.seconds)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        done = re.search(r'Done (\d+) runs in (\d+) second', ended.stderr)
        results[target] = {
            'executions': int(done[1]) if done else 0,
            'seconds': int(done[2]) if done else args.seconds,
            'failure': '' if done and ended.returncode == 0 else ended.stderr[-2000:],
        }
        failed = failed or bool(results[target]['failure'])
        print(target, results[target], flush=True)
    total = sum(each['executions'] for each in results.values())
    print(f'{total} executions')
    write_result('fuzz', {'targets': results, 'executions': total})
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
