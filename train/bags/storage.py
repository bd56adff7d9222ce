"""Raw messages from MCAP and sqlite3 bags, in file order, without ROS and without an index.

Reading from front to back makes a truncated recording usable: everything before the cut is
delivered, and the loss is reported in one line.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

import lz4.frame
import zstandard
from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, ChunkIndex, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from train.bags.contents import LZ4, MCAP, ZSTD, Contents, contents_of

# Errors that the MCAP and decompression libraries raise on damaged bytes; lz4: RuntimeError.
DAMAGE = (McapError, zstandard.ZstdError, OSError, EOFError, LookupError, MemoryError,
          OverflowError, RuntimeError, ValueError, struct.error)  # fmt: skip
# Limit of a decompressed chunk or message: a damaged or hostile header must not allocate more.
MAX_PLAIN_BYTES = 1 << 29
CDR = 'cdr'
FOREIGN_REMEDIES = {'ros1': 'convert the ROS 1 recording: rosbags-convert --src IN.bag --dst OUT'}

SQLITE_TYPES = (str, str, int, bytes)  # topic name and type, time and bytes of a message

Problem = Callable[[str], None]
Span = tuple[int, int]  # recording times of the first and the last message, nanoseconds


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One serialised message.

    Attributes:
        topic: Topic name as recorded, usually with a leading slash.
        type_name: Full type name, for example `sensor_msgs/msg/Image`.
        log_ns: Recording time, nanoseconds since the epoch.
        raw: CDR bytes.
        definition: Concatenated `.msg` text embedded in the bag, empty if there is none.
    """

    topic: str
    type_name: str
    log_ns: int
    raw: bytes
    definition: str


class BoundedFile(BufferedReader):
    """A file whose reads allocate at most what is left of it, even if a length is damaged."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(path))
        self._count = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes; all that are left if it is negative or None."""
        left = max(0, self._count - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def open_database(file: Path) -> sqlite3.Connection:
    """Open a database read-only; its path may contain any characters."""
    # Without a write-ahead log the database cannot change, and SQLite must not create a log.
    has_log = file.with_name(f'{file.name}-wal').exists()
    mode = 'mode=ro' if has_log else 'immutable=1'
    return sqlite3.connect(f'{file.absolute().as_uri()}?{mode}', uri=True)


def read_raw(file: Path, problem: Problem, *, between: Span | None = None) -> Iterator[RawMessage]:
    """Yield every readable message of one storage file.

    Args:
        file: MCAP or sqlite3 (detected by content), uncompressed or compressed (zstd, lz4, gzip).
        problem: Called with one line for everything that could not be read.
        between: Only messages recorded in this span; None for all. In a file with an index, the
            rest is not read.
    """
    try:
        contents = contents_of(file)
    except OSError as error:
        problem(f'{file}: cannot be read ({error.strerror})')
        return
    if contents.fault:
        problem(f'{file}: {contents.fault}')
    elif contents.compression:
        with _decompressed(file, contents.compression, problem) as plain:
            inside = contents_of(plain)
            if inside.compression:
                inside = Contents(fault=f'compressed again, by {inside.compression}')
            if inside.fault:
                problem(f'{file}: once decompressed: {inside.fault}')
            else:
                yield from _read_plain(plain, file, inside, problem, between)
    else:
        yield from _read_plain(file, file, contents, problem, between)


def _read_plain(
    plain: Path, file: Path, contents: Contents, problem: Problem, between: Span | None
) -> Iterator[RawMessage]:
    """Yield the messages of an uncompressed file; `file` is its name in reports."""
    read = _read_mcap if contents.storage == MCAP else _read_sqlite

    def named(line: str) -> None:
        problem(line.replace(str(plain), str(file)))

    for message in read(plain, named, between):
        if between is not None and not between[0] <= message.log_ns <= between[1]:
            continue
        if not message.raw.startswith((ZSTD, LZ4)):  # CDR begins with a zero byte
            yield message
            continue
        try:
            yield replace(message, raw=_decompressed_bytes(message.raw))
        except (zstandard.ZstdError, RuntimeError, ValueError) as error:
            problem(f'{file}: topic {message.topic}: damaged message skipped ({error})')


@contextmanager
def _decompressed(file: Path, compression: str, problem: Problem) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix='lb_ros_') as folder:
        plain = Path(folder) / file.stem
        try:
            with _opened(file, compression) as source, plain.open('wb') as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except (EOFError, OSError, RuntimeError, zstandard.ZstdError) as error:
            problem(f'{file}: damaged compression, the rest is lost ({error})')
        yield plain


def _opened(file: Path, compression: str) -> Any:
    if compression == 'gzip':
        return gzip.open(file, 'rb')
    if compression == 'lz4':
        return lz4.frame.open(file, 'rb')
    return zstandard.ZstdDecompressor().stream_reader(
        file.open('rb'), read_across_frames=True, closefd=True
    )


def _decompressed_bytes(raw: bytes) -> bytes:
    """Decompress in pieces, because frames of rosbag2 may lack the decompressed size."""
    if raw.startswith(LZ4):
        opened = lz4.frame.LZ4FrameDecompressor()
        plain: bytes = opened.decompress(raw, MAX_PLAIN_BYTES)
        if not opened.eof:
            raise ValueError(f'truncated, or more than {MAX_PLAIN_BYTES >> 20} MiB')
        return plain
    parts, count = [], 0
    for part in zstandard.ZstdDecompressor().read_to_iter(raw):
        count += len(part)
        if count > MAX_PLAIN_BYTES:
            raise ValueError(f'more than {MAX_PLAIN_BYTES >> 20} MiB')
        parts.append(part)
    return b''.join(parts)


def _read_mcap(file: Path, problem: Problem, between: Span | None) -> Iterator[RawMessage]:
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    with BoundedFile(file) as stream:
        indexed = None if between is None else _indexed(stream, between, schemas, channels)
        if indexed is not None:
            records: Iterator[object] = _chunks_at(stream, indexed)
        else:
            stream.seek(0)
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
                    channel = channels[inner.channel_id]
                    if channel.message_encoding in ('', CDR):
                        yield _mcap_message(inner, channel, schemas)
                    else:
                        problem(_foreign_line(file, channel))
                elif isinstance(inner, Message):
                    problem(f'{file}: messages of a channel whose description is lost are skipped')


def _indexed(
    stream: BoundedFile, between: Span, schemas: dict[int, Schema], channels: dict[int, Channel]
) -> list[ChunkIndex] | None:
    """The chunks with messages of a span, in file order; fills in the descriptions of topics.

    None if the file has no complete index.
    """
    try:
        summary = SeekingReader(stream).get_summary()
    except DAMAGE:
        return None
    if summary is None or not summary.chunk_indexes:
        return None
    schemas |= summary.schemas
    channels |= summary.channels
    return sorted(
        (
            chunk
            for chunk in summary.chunk_indexes
            if chunk.message_start_time <= between[1] and chunk.message_end_time >= between[0]
        ),
        key=lambda chunk: chunk.chunk_start_offset,
    )


def _chunks_at(stream: BoundedFile, indexed: list[ChunkIndex]) -> Iterator[object]:
    for chunk in indexed:
        stream.seek(chunk.chunk_start_offset)
        yield next(iter(StreamReader(stream, skip_magic=True, emit_chunks=True).records))


def _open_chunk(record: object, file: Path, problem: Problem) -> list[object]:
    if not isinstance(record, Chunk):
        return [record]
    try:
        _check_plain_size(record)
        return list(breakup_chunk(record, validate_crc=True))
    except Exception as error:  # decompressors raise errors of unrelated types
        start_s = record.message_start_time / 1e9
        problem(f'{file}: damaged chunk at {start_s:.3f} s skipped ({type(error).__name__})')
        return []


def _check_plain_size(chunk: Chunk) -> None:
    claimed = chunk.uncompressed_size
    if chunk.compression == 'zstd':
        claimed = max(claimed, zstandard.frame_content_size(chunk.data))
    if claimed > MAX_PLAIN_BYTES:
        raise ValueError(f'a chunk of {claimed:,} bytes')


def _mcap_message(message: Message, channel: Channel, schemas: dict[int, Schema]) -> RawMessage:
    schema = schemas.get(channel.schema_id)
    return RawMessage(
        topic=channel.topic,
        type_name=schema.name if schema else '',
        log_ns=message.log_time,
        raw=message.data,
        definition=_definition_text(schema),
    )


def _foreign_line(file: Path, channel: Channel) -> str:
    kind = channel.message_encoding
    remedy = FOREIGN_REMEDIES.get(kind, 'record or convert them as ROS 2 messages')
    return f'{file}: topic {channel.topic}: messages are {kind}, not cdr; skipped; {remedy}'


def _definition_text(schema: Schema | None) -> str:
    return schema.data.decode('utf-8', 'replace') if schema else ''


def _read_sqlite(file: Path, problem: Problem, between: Span | None) -> Iterator[RawMessage]:
    try:
        connection = open_database(file)
        topics = {
            row[0]: (row[1], row[2])
            for row in connection.execute('SELECT id, name, type FROM topics')
        }
        definitions = _sqlite_definitions(connection)
        chosen = '' if between is None else 'WHERE timestamp BETWEEN ? AND ? '
        rows = connection.execute(
            f'SELECT topic_id, timestamp, data FROM messages {chosen}ORDER BY timestamp',
            between or (),
        )
        for topic_id, log_ns, raw in rows:
            if topic_id not in topics:
                problem(f'{file}: messages of a topic whose description is lost are skipped')
                continue
            topic, type_name = topics[topic_id]
            # SQLite does not enforce the type of a column.
            if (type(topic), type(type_name), type(log_ns), type(raw)) != SQLITE_TYPES:
                problem(f'{file}: topic {topic}: damaged message skipped (types of columns)')
                continue
            yield RawMessage(topic, type_name, log_ns, raw, definitions.get(type_name, ''))
    # SQLite may quote invalid UTF-8 of a damaged schema; a damaged length may exhaust memory.
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
    except sqlite3.OperationalError:  # bags before ROS 2 Iron have no definitions
        return {}
