"""Read logged bags without ROS: one streaming function and a report of what could not be used."""

from __future__ import annotations

import contextlib
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from encoders.shipped import shipped
from train.bags.clocks import DAY_NS, Clocks
from train.bags.folder import bag_files
from train.bags.problems import Problems
from train.bags.storage import RawMessage, read_raw

OWN_MESSAGES = shipped('msg')
HEADER = 'std_msgs/msg/Header'
CDR_STAMP, CDR_STAMP_END = 4, 12  # bytes; the encapsulation header comes before
# So much of a bag shows on which clocks its topics are stamped.
SETTLE_NS, MAX_HELD, MAX_HELD_BYTES = 1_000_000_000, 2000, 1 << 26
TYPE_NAME = re.compile(r'[A-Za-z]\w*(/[A-Za-z]\w*)+', re.ASCII)


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One message of a bag.

    Attributes:
        topic: Topic name without a leading slash.
        stamp_ns: `header.stamp` where the type has one, else the time of recording; nanoseconds.
            All on one clock, see `train.bags.clocks`.
        log_ns: Time of recording, nanoseconds.
        message: The decoded message with ROS field names (a rosbags dataclass).
        raw: The CDR bytes.
        type_name: Full type name.
        is_aligned: Whether `stamp_ns` was taken from the time of recording, on another clock.
    """

    topic: str
    stamp_ns: int
    log_ns: int
    message: Any
    raw: bytes
    type_name: str
    is_aligned: bool = False

    @property
    def is_stamped(self) -> bool:
        """Whether `stamp_ns` is the sender's, not the time of recording."""
        has_stamp = self.stamp_ns != self.log_ns or hasattr(self.message, 'header')
        return has_stamp and not self.is_aligned


@dataclass
class BagReport:
    """What was read from a bag, and one line for everything that was not.

    Attributes:
        path: The bag.
        counts: Messages delivered per topic.
        dropped: Messages per topic that could not be decoded.
        notes: What `problems` are made of.
    """

    path: Path
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Problems = field(default_factory=Problems)

    @property
    def problems(self) -> list[str]:
        """One line each, naming what and where; a flood of messages is one line with a count."""
        return list(self.notes)

    def problem(self, line: str) -> None:
        """Note a problem once."""
        self.notes.add(line)

    def skipped(self, topic: str, reason: str) -> None:
        """Count a message that cannot be used, and note why, whatever the numbers in it."""
        self.dropped[topic] += 1
        self.notes.add_message(f'{self.path}: topic {topic}: {reason}; skipped')

    def noted(self, topic: str, line: str) -> None:
        """Note something about a message that is used."""
        self.notes.add_message(f'{self.path}: topic {topic}: {line}')


class MessageTypes:
    """Message types from the bag itself, from a folder of `.msg` files, or of ROS 2 Jazzy.

    Args:
        folder: A folder holding `<package>/msg/<Name>.msg`, for bags that embed no types.
    """

    def __init__(self, folder: Path | None = None) -> None:
        known = _known_types()
        self._store = Typestore()
        self._store.types |= known.types
        self._store.fielddefs |= known.fielddefs
        self._embedded: set[str] = set()
        if folder is not None:
            for package in sorted(file for file in folder.iterdir() if (file / 'msg').is_dir()):
                self._register(_types_of_folder(package / 'msg', package.name))

    def _register(self, found: dict[str, Any]) -> None:
        self._store.register({k: v for k, v in found.items() if k not in self._store.types})

    def decode(self, raw: RawMessage) -> Any:
        """The decoded message.

        Raises:
            LookupError: Neither the bag nor the folder nor ROS 2 Jazzy knows the type.
            ValueError: The bytes do not match the type.
        """
        self._learn(raw)
        if raw.type_name not in self._store.types:
            raise LookupError(f'unknown message type {raw.type_name!r}')
        try:
            return self._store.deserialize_cdr(raw.raw, raw.type_name)
        except Exception as error:  # generated readers raise whatever the bytes provoke
            raise ValueError(f'undecodable {raw.type_name}: {error}') from error

    def peek_stamp(self, raw: RawMessage) -> int | None:
        """The stamp of a message that begins with a header, without decoding it; else None."""
        self._learn(raw)
        fields = self._store.fielddefs.get(raw.type_name, (None, ()))[1]
        if not fields or fields[0][1][1] != HEADER or len(raw.raw) < CDR_STAMP_END:
            return None
        order = '<' if raw.raw[1] & 1 else '>'
        seconds, nanoseconds = struct.unpack_from(f'{order}iI', raw.raw, CDR_STAMP)
        return seconds * 1_000_000_000 + nanoseconds or None

    def _learn(self, raw: RawMessage) -> None:
        if raw.definition and raw.type_name not in self._embedded:
            self._embedded.add(raw.type_name)
            with contextlib.suppress(SyntaxError):  # it is made Python, with the names it has
                self._register(_parsed(raw.definition, raw.type_name))


@lru_cache(maxsize=1)
def _known_types() -> Typestore:
    """Those of ROS 2 Jazzy and our own, parsed once however many bags are read."""
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(_types_of_folder(OWN_MESSAGES, 'lb_ros'))
    return store


def _types_of_folder(folder: Path, package: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in sorted(folder.glob('*.msg')):
        found |= get_types_from_msg(file.read_text(), f'{package}/msg/{file.stem}')
    return found


@lru_cache(maxsize=256)
def _parsed(definition: str, type_name: str) -> dict[str, Any]:
    if definition.startswith('=' * 80 + '\nIDL: '):
        return {}
    try:
        found = get_types_from_msg(definition, type_name)
    except Exception:  # an unparsable definition equals a missing one
        return {}
    # rosbags runs what it makes of the names, so nothing but names may reach it.
    return found if all(TYPE_NAME.fullmatch(name) for name in found) else {}


def stamp_of(message: Any) -> int | None:
    """`header.stamp` in nanoseconds, or None where there is none or it is 0."""
    stamp = getattr(getattr(message, 'header', None), 'stamp', None)
    # A type that a bag embeds may call anything its header.
    seconds, nanoseconds = (getattr(stamp, name, None) for name in ('sec', 'nanosec'))
    if not isinstance(seconds, int) or not isinstance(nanoseconds, int):
        return None
    return seconds * 1_000_000_000 + nanoseconds or None


def read_bag(
    path: Path,
    *,
    topics: Sequence[str] = (),
    optional: Sequence[str] = (),
    types_folder: Path | None = None,
    report: BagReport | None = None,
) -> Iterator[BagMessage]:
    """Stream the messages of a bag in recorded order.

    Args:
        path: rosbag2 folder (MCAP or sqlite3) or a single storage file.
        topics: Deliver only these (leading slashes ignored); all where empty. One that never came
            is reported at the end.
        optional: Deliver these as well; nobody misses one that never came.
        types_folder: `.msg` files for bags that embed no types.
        report: Filled while reading: counts, undecodable messages, problems.

    Yields:
        Messages; a truncated tail, a missing topic or an unknown type costs only itself.

    Raises:
        FileNotFoundError: The bag does not exist or is empty of storage files.
        BagError: None of its files can be read.
    """
    report = report if report is not None else BagReport(path)
    wanted = {topic.lstrip('/') for topic in topics}
    delivered = wanted | {topic.lstrip('/') for topic in optional}
    types, clocks = MessageTypes(types_folder), Clocks()

    def note(line: str) -> None:
        report.problem(f'{path}: {line}')

    for raw in _settled(_raws(path, report), types, clocks):
        topic = raw.topic.lstrip('/')
        if delivered and topic not in delivered:
            continue
        try:
            message = types.decode(raw)
        except LookupError as error:
            report.dropped[topic] += 1
            report.problem(f'{path}: topic {topic}: {error}; its messages are skipped')
            continue
        except ValueError as error:
            report.skipped(topic, str(error))
            continue
        report.counts[topic] += 1
        stamp_ns, aligned = clocks.place(topic, stamp_of(message), raw.log_ns, problem=note)
        yield BagMessage(topic, stamp_ns, raw.log_ns, message, raw.raw, raw.type_name, aligned)
    for topic in sorted(wanted - set(report.counts) - set(report.dropped)):
        report.problem(f'{path}: topic {topic} is not in this bag')


def _raws(path: Path, report: BagReport) -> Iterator[RawMessage]:
    for file in bag_files(path, report.problem):
        yield from read_raw(file, report.problem)


def _settled(
    raws: Iterator[RawMessage], types: MessageTypes, clocks: Clocks
) -> Iterator[RawMessage]:
    """All messages; the first of them are held back until they show which clock the bag is on."""
    held: list[RawMessage] = []
    size, stamped_ns = 0, None
    for raw in raws:
        held.append(raw)
        size += len(raw.raw)
        stamp_ns = types.peek_stamp(raw)
        clocks.observe(raw.topic.lstrip('/'), stamp_ns, raw.log_ns)
        if stamped_ns is None or abs(raw.log_ns - stamped_ns) > DAY_NS:
            stamped_ns = None if stamp_ns is None else raw.log_ns
        enough = stamped_ns is not None and raw.log_ns - stamped_ns >= SETTLE_NS
        if enough or size > MAX_HELD_BYTES or len(held) >= MAX_HELD:
            break
    clocks.settle()
    yield from held
    held.clear()
    yield from raws
