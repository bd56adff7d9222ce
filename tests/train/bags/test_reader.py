"""Bags as they come from robots: whole, cut off, damaged, of unknown types."""

from __future__ import annotations

import sqlite3
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import StoragePlugin

from train.bags.folder import bag_files, bag_span_ns, bag_topics, read_marks
from train.bags.reader import BagReport, read_bag

MOMENTS = [{'hot(stove)': index % 2 == 0} for index in range(60)]
TRUTH_TOPIC = 'ground_truth/predicates'


def stamps(bag: Path, report: BagReport) -> list[int]:
    return [m.stamp_ns for m in read_bag(bag, topics=[TRUTH_TOPIC], report=report)]


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_both_storages_give_all_messages_in_order(
    drawn: Any, tmp_path: Path, storage: StoragePlugin
) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS, storage=storage)
    report = BagReport(bag)
    messages = list(read_bag(bag, report=report))
    assert report.problems == []
    assert set(report.counts.values()) == {60}
    assert [m.log_ns for m in messages] == sorted(m.log_ns for m in messages)
    truth = [m.message for m in messages if m.topic == TRUTH_TOPIC]
    assert [bool(t.values[0]) for t in truth] == [t['hot(stove)'] for t in MOMENTS]


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_span_of_time_gives_the_messages_recorded_in_it(
    drawn: Any, tmp_path: Path, storage: StoragePlugin
) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS, storage=storage)
    whole = list(read_bag(bag))
    first, last = whole[40].log_ns, whole[90].log_ns
    report = BagReport(bag)
    found = list(read_bag(bag, report=report, between=(first, last)))
    expected = [m for m in whole if first <= m.log_ns <= last]
    assert [(m.topic, m.stamp_ns, m.raw) for m in found] == [
        (m.topic, m.stamp_ns, m.raw) for m in expected
    ]
    # That a topic is silent for a while is no problem.
    nothing = list(read_bag(bag, topics=[TRUTH_TOPIC], report=report, between=(0, 1)))
    assert nothing == [] and report.problems == []


def test_only_wanted_topics_come_and_a_missing_one_is_named(drawn: Any, tmp_path: Path) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS[:3])
    report = BagReport(bag)
    topics = {m.topic for m in read_bag(bag, topics=['/depth/image', 'touch'], report=report)}
    assert topics == {'depth/image'}
    assert report.problems == [f'{bag}: topic touch is not in this bag']


def chunked_mcap(path: Path) -> Path:
    """Ten chunks of a few messages each, as a recorder writes them."""
    with path.open('wb') as stream:
        writer = McapWriter(stream, chunk_size=400)
        writer.start(profile='ros2')
        schema = writer.register_schema('std_msgs/msg/String', 'ros2msg', b'string data')
        channel = writer.register_channel('/task/text', 'cdr', schema)
        for index in range(60):
            text = f'message {index:03d}'.encode() + b'\0'
            data = b'\0\1\0\0' + len(text).to_bytes(4, 'little') + text
            writer.add_message(channel, log_time=index * 10**9, data=data, publish_time=0)
        writer.finish()
    return path


def test_a_span_of_a_bag_without_an_index_is_found_as_well(tmp_path: Path) -> None:
    file = chunked_mcap(tmp_path / 'bag.mcap')
    whole = list(read_bag(file))
    span = (whole[10].log_ns, whole[20].log_ns)
    expected = [m.raw for m in whole if span[0] <= m.log_ns <= span[1]]
    assert [m.raw for m in read_bag(file, between=span)] == expected
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    assert [m.raw for m in read_bag(file, between=span)] == expected


def texts(path: Path, report: BagReport) -> list[str]:
    return [m.message.data for m in read_bag(path, report=report)]


def test_a_cut_off_recording_loses_only_its_last_chunk(tmp_path: Path) -> None:
    bag = chunked_mcap(tmp_path / 'whole.mcap')
    report = BagReport(bag)
    whole = texts(bag, report)
    assert (len(whole), report.problems) == (60, [])
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(bag.read_bytes()[: bag.stat().st_size // 3])
    report = BagReport(cut)
    found = texts(cut, report)
    assert 10 < len(found) < 60
    assert found == whole[: len(found)]
    assert len(report.problems) == 1
    assert str(cut) in report.problems[0]
    assert 'truncated' in report.problems[0]


def test_a_bag_cut_anywhere_never_stops_the_reader(tmp_path: Path) -> None:
    content = chunked_mcap(tmp_path / 'whole.mcap').read_bytes()
    cut = tmp_path / 'cut.mcap'
    rng = np.random.default_rng(0)
    for size in rng.integers(1, len(content) - 1, 30):
        cut.write_bytes(content[:size])
        report = BagReport(cut)
        found = texts(cut, report)
        assert found == [f'message {index:03d}' for index in range(len(found))]
        assert len(found) == 60 or report.problems


def test_an_unknown_type_costs_only_its_topic(tmp_path: Path) -> None:
    bag = tmp_path / 'odd.mcap'
    with bag.open('wb') as stream:
        writer = McapWriter(stream)
        writer.start(profile='ros2')
        odd = writer.register_schema('maker_msgs/msg/Secret', 'ros2msg', b'')
        known = writer.register_schema('std_msgs/msg/Bool', 'ros2msg', b'bool data')
        channels = [writer.register_channel(t, 'cdr', s) for t, s in (('/a', odd), ('/b', known))]
        for channel in channels * 2:
            writer.add_message(channel, log_time=5, data=b'\0\1\0\0\1', publish_time=5)
        writer.finish()
    report = BagReport(bag)
    messages = list(read_bag(bag, report=report))
    assert [m.message.data for m in messages] == [True, True]
    assert [m.stamp_ns for m in messages] == [5, 5]
    assert report.dropped == {'a': 2}
    assert report.problems == [
        f"{bag}: topic a: unknown message type 'maker_msgs/msg/Secret'; its messages are skipped"
    ]


def test_marks_are_read_back(drawn: Any, tmp_path: Path) -> None:
    marks = {'suite': 'libero_90', 'split': 'train', 'seed': '7'}
    assert read_marks(drawn.write(tmp_path / 'marked', MOMENTS[:1], marks=marks)) == marks
    assert read_marks(drawn.write(tmp_path / 'plain', MOMENTS[:1])) == {}


@pytest.mark.parametrize(
    ('record', 'values'),
    [
        ('lb_ros', {'split': 'evaluation'}),
        ('rosbag2', {'serialized_metadata': 'custom_data: {lb_ros.split: evaluation}'}),
    ],
)
def test_marks_in_a_storage_file_survive_the_loss_of_metadata_yaml(
    tmp_path: Path, record: str, values: dict[str, str]
) -> None:
    bag = tmp_path / 'alone.mcap'
    with bag.open('wb') as stream:
        writer = McapWriter(stream)
        writer.start(profile='ros2')
        writer.add_metadata(record, values)
        writer.finish()
    assert read_marks(bag) == {'split': 'evaluation'}


def test_paths_without_a_bag_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='nowhere'):
        list(read_bag(tmp_path / 'nowhere'))
    with pytest.raises(FileNotFoundError, match=r'no \.mcap or \.db3'):
        list(read_bag(tmp_path))
    text = tmp_path / 'notes.txt'
    text.write_text('no bag')
    with pytest.raises(ValueError, match='unknown storage format'):
        list(read_bag(text))


def mcap_of(path: Path, name: str, definition: bytes, raw: bytes, **options: Any) -> Path:
    """A bag of one message."""
    with path.open('wb') as stream:
        writer = McapWriter(stream, enable_crcs=False, **options)
        writer.start(profile='ros2')
        schema = writer.register_schema(name, 'ros2msg', definition)
        channel = writer.register_channel('/a', 'cdr', schema)
        writer.add_message(channel, log_time=5, data=raw, publish_time=5)
        writer.finish()
    return path


def test_false_lengths_allocate_nothing_and_lose_only_the_rest(tmp_path: Path) -> None:
    none = CompressionType.NONE
    bag = mcap_of(tmp_path / 'a.mcap', 'std_msgs/msg/Bool', b'', b'\0\1\0\0\1', compression=none)
    content = bag.read_bytes()
    # Each number of eight bytes becomes huge in turn; one is the length of
    # the chunk, one that of what is in it.
    tracemalloc.start()
    for at in range(8, len(content) - 8, 4):
        bag.write_bytes(content[:at] + b'\xff' * 7 + b'\x7f' + content[at + 8 :])
        report = BagReport(bag)
        assert len(list(read_bag(bag, report=report))) <= 1
        bag_topics(bag)
        bag_span_ns(bag)
        read_marks(bag)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 50e6


@pytest.mark.parametrize('says_so', ['frame', 'chunk'])
def test_a_chunk_of_terabytes_is_skipped_before_reading(tmp_path: Path, says_so: str) -> None:
    small = zstandard.ZstdCompressor(write_content_size=False).compress(b'')
    bomb = b'\x28\xb5\x2f\xfd\xe0' + struct.pack('<Q', 1 << 40) + bytes(8)
    data, size = (bomb, 0) if says_so == 'frame' else (small, 1 << 40)
    chunk = struct.pack('<QQQII4sQ', 0, 0, size, 0, 4, b'zstd', len(data)) + data
    bag = tmp_path / 'bomb.mcap'
    magic = b'\x89MCAP0\r\n'
    bag.write_bytes(magic + struct.pack('<BQ', 6, len(chunk)) + chunk + magic)
    report = BagReport(bag)
    assert list(read_bag(bag, report=report)) == []
    assert 'damaged chunk at 0.000 s skipped (ValueError)' in report.problems[0]


def test_a_header_without_a_time_has_the_time_of_recording(tmp_path: Path) -> None:
    odd = b'uint8 stamp'
    definition = b'maker_msgs/Header header\n' + b'=' * 80 + b'\nMSG: maker_msgs/Header\n' + odd
    bag = mcap_of(tmp_path / 'odd.mcap', 'maker_msgs/msg/Odd', definition, b'\0\1\0\0\7')
    (message,) = read_bag(bag)
    assert (message.message.header.stamp, message.stamp_ns) == (7, 5)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ("UPDATE topics SET name = x'ff00'", 'types of columns'),
        ("UPDATE topics SET type = x'05'", 'types of columns'),
        ("UPDATE messages SET timestamp = 'late'", 'types of columns'),
        ('UPDATE messages SET data = 5', 'types of columns'),
        ('UPDATE messages SET topic_id = 77', 'description is lost'),
        ("UPDATE topics SET name = CAST(x'b5' AS TEXT)", 'damaged database'),
        ('DROP TABLE messages', 'damaged database'),
    ],
)
def test_a_damaged_database_is_one_line_of_the_report(
    drawn: Any, tmp_path: Path, change: str, says: str
) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS[:1], storage=StoragePlugin.SQLITE3)
    (file,) = bag_files(bag)
    with sqlite3.connect(file) as database:
        database.execute(change)
    report = BagReport(bag)
    assert list(read_bag(bag, report=report)) == []
    assert any(says in line for line in report.problems), report.problems


@pytest.mark.parametrize('name', ['overlong_record', 'damaged_chunk', 'strange_type'])
def test_inputs_found_by_fuzzing_are_reported_and_not_fatal(name: str) -> None:
    path = Path(__file__).parents[2] / 'data' / f'{name}.mcap'
    report = BagReport(path)
    assert all(message.raw for message in read_bag(path, report=report))
    assert any('damaged' in line for line in report.problems), report.problems
    for read in (bag_span_ns, bag_topics, read_marks):
        read(path)  # as much as there is; nothing is raised


def test_a_damaged_length_in_a_database_is_one_line() -> None:
    report = BagReport(Path(__file__).parents[2] / 'data' / 'damaged_length.db3')
    assert list(read_bag(report.path, report=report)) == []
    assert len(report.problems) == 1
    assert 'damaged database' in report.problems[0]
