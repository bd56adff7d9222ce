"""Language pairs of bags as they go wrong and as they differ."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from tests.train.pairs.pair_bags import (
    MOMENTS,
    START_S,
    TYPES,
    pairs_of,
    picture,
    said,
    write_texts,
)
from tests.train.runs import run
from train.bags.reader import read_bag
from train.pairs.record import decode
from train.pairs.shards import open_pair_set
from train.pairs.sidecar import read_sidecar


def test_a_jump_in_time_cuts_no_window_in_two(tmp_path: Path) -> None:
    frames = [10.0 + 0.5 * k for k in range(8)] + [2.0 + 0.5 * k for k in range(8)]
    path = tmp_path / 'bag'
    kind = 'sensor_msgs/msg/Image'
    with Writer(path, version=9) as writer:
        link = writer.add_connection('/camera/image', kind, typestore=TYPES)
        for order, seconds in enumerate(frames):
            raw = TYPES.serialize_cdr(picture(seconds, shade=order), kind)
            writer.write(link, round((START_S + 0.5 * order) * 1e9), raw)
    sidecar_path = tmp_path / 'all.csv'
    sidecar_path.write_text(f'start,end,text\n{START_S},{START_S + 100},running\n')
    pairs, report = pairs_of(
        path, modalities=('image',), every_s=1.0, window_s=2.0, sidecar=read_sidecar(sidecar_path)
    )
    shades = [int(decode('image', pair.files).max()) for pair in pairs]
    assert shades == [2, 4, 6, 10, 12, 14]
    assert report.jumps == 1
    assert report.clipped == 2  # the first window of each segment is longer than what came before
    assert any('time jumps by -11.5 s' in line for line in report.problems)


def test_texts_without_a_stamp_follow_the_clock_of_the_sensors(tmp_path: Path) -> None:
    """A simulator stamps its pictures with its own time; texts have the recorder's."""
    texts = {'/annotations': [(1.0, 'reach'), (3.0, 'grasp')]}
    frames = [0.5 * k for k in range(9)]
    bag = write_texts(tmp_path / 'bag', texts, frames_s=frames, log_offset_s=86_400.0)
    pairs, _ = pairs_of(bag, modalities=('image',), every_s=1.0)
    assert [{text for text, _ in window} for window in said(pairs)] == [
        {'reach'}, {'reach'}, {'grasp'}, {'grasp'}
    ]  # fmt: skip


def test_bags_that_go_wrong_are_reported_and_never_fatal(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bags = tmp_path / 'bags'
    bags.mkdir()
    drawn.write(bags / 'good', MOMENTS)
    drawn.write(bags / 'blind', MOMENTS, skip=('/depth/image',))
    drawn.write(bags / 'silent', MOMENTS, skip=('/ground_truth/predicates',))
    cut = drawn.write(tmp_path / 'whole', MOMENTS)
    file = next(cut.glob('*.mcap'))
    (bags / 'cut.mcap').write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (bags / 'noise.mcap').write_bytes(random.Random(0).randbytes(3000))
    (bags / 'noise.db3').write_bytes(random.Random(1).randbytes(3000))
    with (bags / 'imu.mcap').open('wb') as stream:
        writer = McapWriter(stream)
        writer.start(profile='ros2')
        schema = writer.register_schema('maker_msgs/msg/Imu', 'ros2msg', b'')
        channel = writer.register_channel('/imu', 'cdr', schema)
        writer.add_message(channel, log_time=5, data=b'\0\1\0\0\1', publish_time=5)
        writer.finish()
    out = tmp_path / 'pairs'
    command = ['train', 'pairs', '--data', bags, '--out', out, '--modalities', 'depth', 'audio']
    assert run(monkeypatch, *command, '--json') == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report == open_pair_set(out).manifest['report']
    assert report['pairs'] == sum(report['samples'].values()) - report['samples']['depth'] >= 24
    assert report['dropped']['windows without depth'] >= 12
    assert report['bags_used'] + report['bags_skipped'] == 7
    assert report['bags_used'] in (2, 3)  # of a bag of one chunk the cut leaves nothing
    for name in ('silent', 'cut.mcap', 'noise.mcap', 'noise.db3', 'imu.mcap'):
        assert any(name in line for line in report['problems']), name
    assert 'silent: nothing is said in it; the bag is skipped' in printed.err


def test_evaluation_bags_need_an_explicit_option(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS[:2], marks={'split': 'evaluation'})
    command = ['train', 'pairs', '--data', bag, '--out', tmp_path / 'pairs']
    assert run(monkeypatch, *command) == 2
    assert run(monkeypatch, *command, '--evaluation') == 0
    assert open_pair_set(tmp_path / 'pairs').manifest['split'] == 'evaluation'


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags_of_humble_are_read(tmp_path: Path, mode: CompressionMode) -> None:
    string = 'std_msgs/msg/String'
    writer = Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        link = writer.add_connection('/task/text', string, typestore=TYPES)
        for index in range(5):
            message = TYPES.types[string](data=f'message {index}')
            writer.write(link, index + 1, TYPES.serialize_cdr(message, string))
    found = [m.message.data for m in read_bag(tmp_path / 'bag')]
    assert found == [f'message {index}' for index in range(5)]


def test_types_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Humble embeds no types in a database: a folder says what a message of one's own is."""
    (tmp_path / 'types' / 'my_msgs' / 'msg').mkdir(parents=True)
    (tmp_path / 'types' / 'my_msgs' / 'msg' / 'Note.msg').write_text('string text\n')
    bag = write_texts(tmp_path / 'bag', {'/task/text': [(0.0, 'x')]}, frames_s=[0, 1])
    own = tmp_path / 'own.mcap'
    with own.open('wb') as stream:
        writer = McapWriter(stream)
        writer.start(profile='ros2')
        note = writer.register_schema('my_msgs/msg/Note', 'ros2msg', b'')
        image = writer.register_schema('sensor_msgs/msg/Image', 'ros2msg', b'')
        notes = writer.register_channel('/operator/notes', 'cdr', note)
        images = writer.register_channel('/camera/image', 'cdr', image)
        text = b'looks odd\0'
        data = b'\0\1\0\0' + len(text).to_bytes(4, 'little') + text
        writer.add_message(notes, log_time=START_S * 10**9, data=data, publish_time=0)
        for message in read_bag(bag, topics=['camera/image']):
            raw = message.raw
            writer.add_message(images, log_time=message.log_ns, data=raw, publish_time=0)
        writer.finish()
    pairs, report = pairs_of(own, modalities=('image',))
    assert pairs == []
    assert report.dropped['undecodable messages on operator/notes'] == 1
    pairs, _ = pairs_of(own, modalities=('image',), types_folder=tmp_path / 'types')
    assert said(pairs) == [{('looks odd', 'note')}]
