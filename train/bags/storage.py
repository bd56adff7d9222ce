"""Raw messages out of MCAP and sqlite3 bags, in file order, without ROS and without an index.

Reading from front to back is what makes a truncated recording usable: everything before the cut is
delivered, and what is lost is said in one line.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

import yaml
import zstandard
from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

STORAGES = ('.mcap', '.db3')
COMPRESSED = '.zstd'
MCAP_METADATA_NAME = 'lb_ros'
CUSTOM_DATA_PREFIX = 'lb_ros.'
# What the readers of MCAP and of its compressions raise on damaged bytes; lz4 knows RuntimeError.
DAMAGE = (McapError, zstandard.ZstdError, OSError, EOFError, LookupError, MemoryError,
          OverflowError, RuntimeError, ValueError, struct.error)  # fmt: skip
# Of a chunk or a message once decompressed; a damaged or hostile header must not allocate more.
MAX_PLAIN_BYTES = 1 << 29

SQLITE_TYPES = (str, str, int, bytes)  # of a topic's name and type, a message's time and bytes

Problem = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One serialised message.

    Attributes:
        topic: Topic name as recorded, usually with a leading slash.
        type_name: Full type name, for example `sensor_msgs/msg/Image`.
        log_ns: Time of recording, nanoseconds since the epoch.
        raw: CDR bytes.
        definition: Concatenated `.msg` text embedded in the bag, empty where there is none.
    """

    topic: str
    type_name: str
    log_ns: int
    raw: bytes
    definition: str


class BoundedFile(BufferedReader):
    """A file of which no more is allocated than is left, whatever a damaged length claims."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(path))
        self._count = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, all that are left where it is negative or None."""
        left = max(0, self._count - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def bag_files(path: Path) -> list[Path]:
    """Storage files of a bag in play order.

    Args:
        path: A rosbag2 folder, or a single `.mcap` or `.db3` file.

    Raises:
        FileNotFoundError: The path does not exist or holds no storage file.
    """
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such bag')
    if path.is_file():
        return [path]
    metadata = read_metadata_yaml(path)
    listed = [path / name for name in metadata.get('relative_file_paths', [])]
    present = [file for file in listed if file.exists()]
    found = present or sorted(file for file in path.glob('*') if _suffix(file) in STORAGES)
    if not found:
        raise FileNotFoundError(f'{path}: no .mcap or .db3 file in this folder')
    return found


def read_metadata_yaml(folder: Path) -> dict[str, Any]:
    """The `rosbag2_bagfile_information` mapping of a bag folder; empty where unreadable."""
    try:
        loaded = yaml.safe_load((folder / 'metadata.yaml').read_text())
    except (OSError, yaml.YAMLError):
        return {}
    found = (loaded or {}).get('rosbag2_bagfile_information', {})
    return found if isinstance(found, dict) else {}


def read_marks(path: Path) -> dict[str, str]:
    """Marks that the writer of a bag left about its origin: suite, split, seed, scene.

    They come from `custom_data` keys `lb_ros.*` of metadata.yaml, or from an MCAP metadata record
    named `lb_ros`. A bag without marks gives an empty mapping.
    """
    if path.is_dir():
        custom = read_metadata_yaml(path).get('custom_data') or {}
        marks = {
            str(key).removeprefix(CUSTOM_DATA_PREFIX): str(value)
            for key, value in dict(custom).items()
            if str(key).startswith(CUSTOM_DATA_PREFIX)
        }
        if marks:
            return marks
    for file in bag_files(path):
        if file.suffix == '.mcap':
            marks = _mcap_marks(file)
            if marks:
                return marks
    return {}


def _mcap_marks(file: Path) -> dict[str, str]:
    marks: dict[str, str] = {}
    try:
        with BoundedFile(file) as stream:
            for record in SeekingReader(stream).iter_metadata():
                if record.name == MCAP_METADATA_NAME:
                    marks.update(record.metadata)
                elif record.name == 'rosbag2':
                    marks.update(_serialized_marks(record.metadata))
    except DAMAGE:
        return marks
    return marks


def _serialized_marks(metadata: dict[str, str]) -> dict[str, str]:
    try:
        loaded = yaml.safe_load(metadata.get('serialized_metadata', '')) or {}
    except yaml.YAMLError:
        return {}
    information = loaded.get('rosbag2_bagfile_information') or loaded
    custom = information.get('custom_data') or {}
    return {
        str(key).removeprefix(CUSTOM_DATA_PREFIX): str(value)
        for key, value in custom.items()
        if str(key).startswith(CUSTOM_DATA_PREFIX)
    }


def bag_topics(path: Path) -> dict[str, str]:
    """Topics of a bag that hold messages, without leading slashes, with their types.

    Found in the index where the bag has one; a truncated bag is read through.

    Raises:
        FileNotFoundError: There is no such bag.
    """
    found: dict[str, str] = {}
    for file in bag_files(path):
        indexed = _indexed_topics(file) if file.suffix == '.mcap' else None
        if indexed is None:
            indexed = {raw.topic: raw.type_name for raw in read_raw(file, lambda line: None)}
        found |= {topic.lstrip('/'): kind for topic, kind in indexed.items()}
    return found


def bag_span_ns(path: Path) -> tuple[int, int] | None:
    """Time of the first and the last message, nanoseconds; None where the bag does not say."""
    spans = [_span_ns(file) for file in bag_files(path)]
    known = [span for span in spans if span is not None]
    if len(known) < len(spans):
        return None
    return min(begin for begin, _ in known), max(end for _, end in known)


def _span_ns(file: Path) -> tuple[int, int] | None:
    try:
        if file.suffix == '.mcap':
            with BoundedFile(file) as stream:
                summary = SeekingReader(stream).get_summary()
            statistics = summary.statistics if summary else None
            if statistics is None:
                return None
            return statistics.message_start_time, statistics.message_end_time
        connection = sqlite3.connect(f'file:{file}?mode=ro', uri=True)
        row = connection.execute('SELECT min(timestamp), max(timestamp) FROM messages').fetchone()
        return None if row[0] is None else (int(row[0]), int(row[1]))
    except (*DAMAGE, sqlite3.Error):
        return None


def _indexed_topics(file: Path) -> dict[str, str] | None:
    try:
        with BoundedFile(file) as stream:
            summary = SeekingReader(stream).get_summary()
    except DAMAGE:
        return None
    if summary is None or not summary.channels:
        return None
    kinds = {schema.id: schema.name for schema in summary.schemas.values()}
    # A recorder lists every topic that it subscribed to, also those on which nothing came.
    counts = summary.statistics.channel_message_counts if summary.statistics else None
    return {
        channel.topic: kinds.get(channel.schema_id, '')
        for channel in summary.channels.values()
        if counts is None or counts.get(channel.id)
    }


def read_raw(file: Path, problem: Problem) -> Iterator[RawMessage]:
    """Every readable message of one storage file.

    Args:
        file: A `.mcap` or `.db3` file, also as rosbag2 compresses it (`.db3.zstd`).
        problem: Called with one clear line for everything that could not be read.

    Raises:
        ValueError: The file is of no known storage format.
    """
    suffix = _suffix(file)
    if suffix not in STORAGES:
        raise ValueError(f'{file}: unknown storage format {suffix!r}, expected .mcap or .db3')
    read = _read_mcap if suffix == '.mcap' else _read_sqlite
    if file.suffix == COMPRESSED:
        return _read_decompressed(file, read, problem)
    if _messages_are_compressed(file):
        return _decompressed_messages(file, read, problem)
    return read(file, problem)


def _suffix(file: Path) -> str:
    return Path(file.stem).suffix if file.suffix == COMPRESSED else file.suffix


def _read_decompressed(
    file: Path, read: Callable[[Path, Problem], Iterator[RawMessage]], problem: Problem
) -> Iterator[RawMessage]:
    with _decompressed(file, problem) as plain:
        yield from read(plain, problem)


@contextmanager
def _decompressed(file: Path, problem: Problem) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix='lb_ros_') as folder:
        plain = Path(folder) / file.stem
        try:
            with file.open('rb') as source, plain.open('wb') as target:
                zstandard.ZstdDecompressor().copy_stream(source, target)
        except (OSError, zstandard.ZstdError) as error:
            problem(f'{file}: damaged compression, the rest is lost ({error})')
        yield plain


def _messages_are_compressed(file: Path) -> bool:
    metadata = read_metadata_yaml(file.parent)
    return str(metadata.get('compression_mode', '')).upper() == 'MESSAGE'


def _decompressed_messages(
    file: Path, read: Callable[[Path, Problem], Iterator[RawMessage]], problem: Problem
) -> Iterator[RawMessage]:
    for message in read(file, problem):
        try:
            plain = _decompressed_bytes(message.raw)
        except (zstandard.ZstdError, ValueError) as error:
            problem(f'{file}: topic {message.topic}: damaged message skipped ({error})')
            continue
        yield replace(message, raw=plain)


def _decompressed_bytes(raw: bytes) -> bytes:
    """Decompressed in pieces: frames of rosbag2 may not say how large they are."""
    parts, count = [], 0
    for part in zstandard.ZstdDecompressor().read_to_iter(raw):
        count += len(part)
        if count > MAX_PLAIN_BYTES:
            raise ValueError(f'more than {MAX_PLAIN_BYTES >> 20} MiB')
        parts.append(part)
    return b''.join(parts)


def _read_mcap(file: Path, problem: Problem) -> Iterator[RawMessage]:
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    with BoundedFile(file) as stream:
        records = iter(StreamReader(stream, emit_chunks=True).records)
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except DAMAGE as error:
                where = f'{stream.tell():,} of {file.stat().st_size:,} bytes'
                problem(
                    f'{file}: truncated or damaged at {where}: the last chunk is lost '
                    f'({type(error).__name__})'
                )
                return
            for inner in _open_chunk(record, file, problem):
                if isinstance(inner, Schema):
                    schemas[inner.id] = inner
                elif isinstance(inner, Channel):
                    channels[inner.id] = inner
                elif isinstance(inner, Message) and inner.channel_id in channels:
                    yield _mcap_message(inner, channels, schemas)
                elif isinstance(inner, Message):
                    problem(f'{file}: messages of a channel whose description is lost are skipped')


def _open_chunk(record: object, file: Path, problem: Problem) -> list[object]:
    if not isinstance(record, Chunk):
        return [record]
    try:
        _check_plain_size(record)
        return list(breakup_chunk(record, validate_crc=True))
    except Exception as error:  # decompressors raise their own unrelated types
        start_s = record.message_start_time / 1e9
        problem(f'{file}: damaged chunk at {start_s:.3f} s skipped ({type(error).__name__})')
        return []


def _check_plain_size(chunk: Chunk) -> None:
    claimed = chunk.uncompressed_size
    if chunk.compression == 'zstd':
        claimed = max(claimed, zstandard.frame_content_size(chunk.data))
    if claimed > MAX_PLAIN_BYTES:
        raise ValueError(f'a chunk of {claimed:,} bytes')


def _mcap_message(
    message: Message, channels: dict[int, Channel], schemas: dict[int, Schema]
) -> RawMessage:
    channel = channels[message.channel_id]
    schema = schemas.get(channel.schema_id)
    return RawMessage(
        topic=channel.topic,
        type_name=schema.name if schema else '',
        log_ns=message.log_time,
        raw=message.data,
        definition=_definition_text(schema),
    )


def _definition_text(schema: Schema | None) -> str:
    return schema.data.decode('utf-8', 'replace') if schema else ''


def _read_sqlite(file: Path, problem: Problem) -> Iterator[RawMessage]:
    try:
        connection = sqlite3.connect(f'file:{file}?mode=ro', uri=True)
        topics = {
            row[0]: (row[1], row[2])
            for row in connection.execute('SELECT id, name, type FROM topics')
        }
        definitions = _sqlite_definitions(connection)
        rows = connection.execute(
            'SELECT topic_id, timestamp, data FROM messages ORDER BY timestamp'
        )
        for topic_id, log_ns, raw in rows:
            if topic_id not in topics:
                problem(f'{file}: messages of a topic whose description is lost are skipped')
                continue
            topic, type_name = topics[topic_id]
            # A column of sqlite holds values of any type.
            if (type(topic), type(type_name), type(log_ns), type(raw)) != SQLITE_TYPES:
                problem(f'{file}: topic {topic}: damaged message skipped (types of columns)')
                continue
            yield RawMessage(topic, type_name, log_ns, raw, definitions.get(type_name, ''))
    # What sqlite quotes of a damaged schema need not be text; a damaged length asks for memory.
    except (sqlite3.Error, UnicodeDecodeError, MemoryError) as error:
        problem(f'{file}: damaged database, the rest is lost ({error})')


def _sqlite_definitions(connection: sqlite3.Connection) -> dict[str, str]:
    try:
        rows = connection.execute(
            'SELECT topic_type, encoded_message_definition FROM message_definitions'
        )
        return {
            kind: text for kind, text in rows if isinstance(kind, str) and isinstance(text, str)
        }
    except sqlite3.OperationalError:  # bags before ROS 2 Iron hold no definitions
        return {}
