"""A bag as a folder or file: its storage files, marks, topics and time span."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from mcap.reader import SeekingReader

from train.bags.contents import MCAP, contents_of
from train.bags.storage import CDR, DAMAGE, BoundedFile, Problem, open_database, read_raw

STORAGES = ('.mcap', '.db3')
COMPRESSIONS = ('.zstd', '.zst', '.lz4', '.gz')
ROS_1 = '.bag'
MCAP_METADATA_NAME = 'lb_ros'
CUSTOM_DATA_PREFIX = 'lb_ros.'
# Both are safe; libyaml's parser is ten times faster.
YAML_LOADER: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


class BagError(ValueError):
    """Nothing in a bag can be read; the text names the file, the cause and the remedy."""


class MissingBagError(BagError, FileNotFoundError):
    """A bag or all of its files are missing."""


def is_storage(file: Path) -> bool:
    """Whether the name of a file is that of a bag or part of one; False for hidden files."""
    name = file.stem if file.suffix in COMPRESSIONS else file.name
    return Path(name).suffix in (*STORAGES, ROS_1) and not file.name.startswith('.')


def _ignore(line: str) -> None:
    """Drop a problem that is reported when the messages are read."""


def bag_files(path: Path, problem: Problem = _ignore) -> list[Path]:
    """Return the storage files of a bag in playback order.

    Args:
        path: A rosbag2 folder, or a single storage file, which may be compressed.
        problem: Called with one line for every part that is missing or cannot be read.

    Raises:
        FileNotFoundError: The path does not exist or holds no storage file.
        BagError: None of its files can be read.
    """
    if not path.exists():
        raise MissingBagError(f'{path}: no such bag')
    found = [path] if path.is_file() else _parts(path, problem)
    faults = {file: _fault(file) for file in found}
    lines = [f'{file}: {fault}' for file, fault in faults.items() if fault]
    if len(lines) == len(found):
        others = f' (and {len(lines) - 1} other files)' if len(lines) > 1 else ''
        raise BagError(lines[0] + others)
    for line in lines:
        problem(f'{line}; the rest of the bag is read')
    return [file for file in found if not faults[file]]


def _fault(file: Path) -> str:
    try:
        return contents_of(file).fault
    except OSError as error:
        return f'cannot be read ({error.strerror})'


def _parts(folder: Path, problem: Problem) -> list[Path]:
    """Files of a folder: those listed in its metadata, otherwise all, sorted by number."""
    listed = read_metadata_yaml(folder).get('relative_file_paths')
    names = [str(name) for name in listed] if isinstance(listed, list) else []
    found = {name: _listed(folder, name) for name in names}
    missing = [name for name, file in found.items() if file is None]
    present = [file for file in found.values() if file is not None]
    if not present:
        present = sorted(
            (f for f in folder.iterdir() if is_storage(f) and f.is_file()), key=_order
        )
    if not present and missing:
        raise MissingBagError(
            f'{folder}: none of the files that metadata.yaml lists is here '
            f'({", ".join(missing)}); copy them as well'
        )
    if not present:
        raise MissingBagError(f'{folder}: no .mcap or .db3 file in this folder')
    for name in missing if len(missing) < len(names) else ():
        problem(f'{folder}: {name}, which metadata.yaml lists, is missing; the rest is read')
    return present


def _listed(folder: Path, name: str) -> Path | None:
    """A listed file by its name, without its folder, or with or without the compression suffix."""
    plain = re.sub(rf'({"|".join(map(re.escape, COMPRESSIONS))})$', '', Path(name).name)
    names = (name, Path(name).name, *(plain + suffix for suffix in ('', *COMPRESSIONS)))
    return next((folder / each for each in names if (folder / each).is_file()), None)


def _order(file: Path) -> list[tuple[int, str]]:
    """Sort key by name, with numbers compared by value: `bag_10` comes after `bag_9`."""
    return [(int(part), '') if part.isdigit() else (-1, part)
            for part in re.split(r'(\d+)', file.name)]  # fmt: skip


def read_metadata_yaml(folder: Path) -> dict[str, Any]:
    """The `rosbag2_bagfile_information` mapping of a bag folder; empty if it cannot be read."""
    try:
        loaded = yaml.load((folder / 'metadata.yaml').read_text(), Loader=YAML_LOADER)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return _mapping(_mapping(loaded).get('rosbag2_bagfile_information'))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _marks(custom: Any) -> dict[str, str]:
    return {
        str(key).removeprefix(CUSTOM_DATA_PREFIX): str(value)
        for key, value in _mapping(custom).items()
        if str(key).startswith(CUSTOM_DATA_PREFIX)
    }


def read_marks(path: Path) -> dict[str, str]:
    """Return the marks that the writer of a bag left about its origin: suite, split, seed, scene.

    Marks are stored under `custom_data` keys `lb_ros.*` of metadata.yaml, or in an MCAP metadata
    record named `lb_ros`. The mapping is empty if a bag has no marks or cannot be read.

    Raises:
        FileNotFoundError: There is no such bag.
    """
    if path.is_dir():
        marks = _marks(read_metadata_yaml(path).get('custom_data'))
        if marks:
            return marks
    try:
        files = bag_files(path)
    except BagError:
        return {}
    return next((marks for marks in map(_mcap_marks, _mcaps(files)) if marks), {})


def _mcaps(files: Iterable[Path]) -> list[Path]:
    return [file for file in files if contents_of(file).storage == MCAP]


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
        loaded = _mapping(yaml.safe_load(metadata.get('serialized_metadata', '')))
    except yaml.YAMLError:
        return {}
    information = _mapping(loaded.get('rosbag2_bagfile_information')) or loaded
    return _marks(information.get('custom_data'))


def bag_topics(path: Path, problem: Problem = _ignore) -> dict[str, str]:
    """Return the topics of a bag that have messages, without leading slashes, with their types.

    Topics come from the index if the bag has one; a truncated bag is read completely.

    Args:
        path: Bag folder or file.
        problem: Called with one line for everything that could not be read.

    Raises:
        FileNotFoundError: There is no such bag.
        BagError: None of its files can be read.
    """
    found: dict[str, str] = {}
    for file in bag_files(path, problem):
        indexed = _indexed_topics(file)
        if indexed is None:
            indexed = {raw.topic: raw.type_name for raw in read_raw(file, problem)}
        found |= {topic.lstrip('/'): kind for topic, kind in indexed.items()}
    return found


def topics_to_read(path: Path, problem: Problem) -> dict[str, str]:
    """Return the same as `bag_topics`, but raise if there is no readable message.

    Raises:
        FileNotFoundError: There is no such bag.
        BagError: No message of the bag can be read; the text gives the reason.
    """
    causes: list[str] = []
    found = bag_topics(path, causes.append)
    if not found:
        for file in bag_files(path):
            for _ in read_raw(file, causes.append):
                break
        empty = ['the bag is empty; were its topics published while it was recorded?']
        raise nothing_in(path, 'no message can be read', dict.fromkeys(causes) or empty)
    for line in causes:
        problem(line)
    return found


def nothing_in(path: Path, what: str, problems: Iterable[str]) -> BagError:
    """The error for a bag without usable messages, with all known reasons."""
    causes = [line.removeprefix(f'{path}: ') for line in problems]
    return BagError(f'{path}: {what}: {"; ".join(causes) or "no sensor topic holds a message"}')


def bag_span_ns(path: Path) -> tuple[int, int] | None:
    """Recording times of the first and the last message, nanoseconds; None if unknown."""
    try:
        spans = [_span_ns(file) for file in bag_files(path)]
    except BagError:
        return None
    known = [span for span in spans if span is not None]
    if len(known) < len(spans):
        return None
    return min(begin for begin, _ in known), max(end for _, end in known)


def _span_ns(file: Path) -> tuple[int, int] | None:
    contents = contents_of(file)
    try:
        if contents.storage == MCAP:
            with BoundedFile(file) as stream:
                summary = SeekingReader(stream).get_summary()
            statistics = summary.statistics if summary else None
            if statistics is None or not statistics.message_count:
                return None
            return statistics.message_start_time, statistics.message_end_time
        if contents.compression:
            return None
        connection = open_database(file)
        row = connection.execute('SELECT min(timestamp), max(timestamp) FROM messages').fetchone()
        return None if row[0] is None else (int(row[0]), int(row[1]))
    except (*DAMAGE, sqlite3.Error):
        return None


def _indexed_topics(file: Path) -> dict[str, str] | None:
    if contents_of(file).storage != MCAP:
        return None
    try:
        with BoundedFile(file) as stream:
            summary = SeekingReader(stream).get_summary()
    except DAMAGE:
        return None
    if summary is None or not summary.channels:
        return None
    kinds = {schema.id: schema.name for schema in summary.schemas.values()}
    # A recorder lists every topic that it subscribed to, even those without messages.
    counts = summary.statistics.channel_message_counts if summary.statistics else None
    return {
        channel.topic: kinds.get(channel.schema_id, '')
        for channel in summary.channels.values()
        if channel.message_encoding in ('', CDR) and (counts is None or counts.get(channel.id))
    }
