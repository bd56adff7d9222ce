"""Speed of scoring a bag, in seconds of the bag per second: four sensors at 10 Hz each.

The bag is the bundled one with its images restamped to 10 Hz, repeated to the requested length.
Wall-clock time depends on other load; CPU time is largely independent of it.

    python -m benchmarks.scoring
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import tempfile
import time
from pathlib import Path

import torch
from mcap.writer import Writer

from benchmarks.environment import write_result
from encoders import Binder, load_predicates
from encoders.shipped import shipped
from encoders.vision.choices import PRECISIONS
from train.bags.folder import bag_files
from train.bags.reader import BagReport
from train.bags.storage import RawMessage, read_raw
from train.score.cli import default_threads
from train.score.embed import BagSource
from train.score.score import outputs_for, score_bag
from train.score.windows import SensorTopics

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
TOPICS = (
    '/camera/image/compressed', '/depth/image/compressedDepth', '/infrared/image',
    '/microphone/audio',
)  # fmt: skip
STAMP_OFFSET = 4  # bytes of CDR before header.stamp


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--precision', choices=PRECISIONS, default='auto')
    parser.add_argument('--seconds', type=float, default=60.0)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(default_threads())
    binder = Binder.load(args.model, dtype=args.precision)
    predicates = load_predicates(shipped('config/predicates.yaml'))
    with tempfile.TemporaryDirectory() as folder:
        bag = write_bag(Path(folder) / 'ten_hertz.mcap', args.seconds)
        source = BagSource.of(bag, binder, topics=SensorTopics(), max_rate_hz=15.0)
        (out,) = outputs_for([bag], Path(folder) / 'out', annotated=False, drawn=False)
        began_s, cpu_s = time.perf_counter(), time.process_time()
        result = score_bag(binder, predicates, source, out=out, report=BagReport(bag))
        took_s, used_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    measured = {
        'model': args.model,
        'precision': binder.precision,
        'seconds': round(result.seconds, 1),
        'windows': result.windows,
        'predicates': len(predicates),
        'took_s': round(took_s, 2),
        'cpu_s': round(used_s, 2),
        'times_real_time': round(result.seconds / took_s, 2),
        'cpu_ms_per_window': round(used_s * 1e3 / result.windows, 2),
        'times_real_time_if_all_cores_were_free': round(cores * result.seconds / used_s, 2),
        'load_average': os.getloadavg(),
    }
    path = write_result('scoring', measured)
    print(f'{json.dumps(measured, indent=2)}\nwritten to {path}')


def write_bag(path: Path, seconds: float) -> Path:
    """Write a bag of four sensors at 10 Hz for some seconds."""
    messages: dict[str, list[RawMessage]] = {topic: [] for topic in TOPICS}
    for file in bag_files(shipped('lb_ros/data/demo_bag')):
        for message in read_raw(file, print):
            if message.topic in messages:
                messages[message.topic].append(message)
    with path.open('wb') as stream:
        writer = Writer(stream)
        writer.start(profile='ros2', library='lb_ros')
        channels = {}
        for topic, (first, *_) in messages.items():
            schema = writer.register_schema(first.type_name, 'ros2msg', first.definition.encode())
            channels[topic] = writer.register_channel(topic, 'cdr', schema)
        for index in range(round(seconds * 1e9 / PERIOD_NS)):
            stamp_ns = START_NS + index * PERIOD_NS
            for topic, several in messages.items():
                raw = bytearray(several[index % len(several)].raw)
                struct.pack_into('<iI', raw, STAMP_OFFSET, *divmod(stamp_ns, 1_000_000_000))
                writer.add_message(channels[topic], stamp_ns, bytes(raw), stamp_ns)
        writer.finish()
    return path


if __name__ == '__main__':
    main()
