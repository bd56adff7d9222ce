"""Reading of logged bags without ROS: a stream of messages and a report of what was unusable."""

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
from train.bags.storage import RawMessage, Span, read_raw

OWN_MESSAGES = shipped('msg')
OWN_PREFIX = 'lb_ros/msg/'
HEADER = 'std_msgs/msg/Header'
CDR_STAMP, CDR_STAMP_END = 4, 12  # bytes; the encapsulation header comes before
# This much of a bag is enough to decide which clock stamps its topics.
SETTLE_NS, MAX_HELD, MAX_HELD_BYTES = 1_000_000_000, 2000, 1 << 26
TYPE_NAME = re.compile(r'[A-Za-z]\w*(/[A-Za-z]\w*)+', re.ASCII)


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One message of a bag.

    Attributes:
        topic: Topic name without a leading slash.
        stamp_ns: `header.stamp` if the type has one, else the recording time; nanoseconds. All
            stamps are on one clock, see `train.bags.clocks`.
        log_ns: Recording time, nanoseconds.
        message: The decoded message with ROS field names (a rosbags dataclass).
        raw: The CDR bytes.
        type_name: Full type name.
        is_aligned: Whether `stamp_ns` was derived from the recording time, on another clock.
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
        """Whether `stamp_ns` is the sender's, not the recording time."""
        has_stamp = self.stamp_ns != self.log_ns or hasattr(self.message, 'header')
        return has_stamp and not self.is_aligned


@dataclass
class BagReport:
    """What was read from a bag, and one line for everything that could not be read.

    Attributes:
        path: The bag.
        counts: Messages delivered per topic.
        dropped: Messages per topic that could not be decoded.
        notes: The collected lines behind `problems`.
    """

    path: Path
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Problems = field(default_factory=Problems)

    @property
    def problems(self) -> list[str]:
        """One line each, naming what and where; repeated messages become one line with a count."""
        return list(self.notes)

    def problem(self, line: str) -> None:
        """Add a problem once."""
        self.notes.add(line)

    def skipped(self, topic: str, reason: str) -> None:
        """Count an unusable message and add the reason; numbers in it do not matter."""
        self.dropped[topic] += 1
        self.notes.add_message(f'{self.path}: topic {topic}: {reason}; skipped')

    def noted(self, topic: str, line: str) -> None:
        """Add a note about a message that is used."""
        self.notes.add_message(f'{self.path}: topic {topic}: {line}')


class MessageTypes:
    """Message types from the bag itself, from a folder of `.msg` files, or from ROS 2 Jazzy.

    Args:
        folder: A folder with `<package>/msg/<Name>.msg` files, for bags without embedded types.
    """

    def __init__(self, folder: Path | None = None) -> None:
        # Shared by all bags, with its compiled readers, until one has a type of its own.
        self._store = _known_types()
        self._embedded: set[str] = set()
        if folder is not None:
            for package in sorted(file for file in folder.iterdir() if (file / 'msg').is_dir()):
                self._register(_types_of_folder(package / 'msg', package.name))

    def _register(self, found: dict[str, Any]) -> None:
        new = {k: v for k, v in found.items() if not self._has(k, v)}
        if not new:
            return
        if self._store is _known_types():
            known, self._store = self._store, Typestore()
            self._store.types |= known.types
            self._store.fielddefs |= known.fielddefs
        if any(name in self._store.fielddefs for name in new):
            self._store.cache.clear()
            for name in new:
                self._store.fielddefs.pop(name, None)
        self._store.register(new)

    def _has(self, name: str, described: Any) -> bool:
        """Whether a type is known; messages of this package may have gained fields since."""
        known = self._store.fielddefs.get(name)
        if known is None or not name.startswith(OWN_PREFIX):
            return known is not None
        return [tuple(field) for field in known[1]] == [tuple(field) for field in described[1]]

    def decode(self, raw: RawMessage) -> Any:
        """Decode a message.

        Raises:
            LookupError: The type is not in the bag, the folder or ROS 2 Jazzy.
            ValueError: The bytes do not match the type.
        """
        self._learn(raw)
        if raw.type_name not in self._store.types:
            raise LookupError(f'unknown message type {raw.type_name!r}')
        try:
            return self._store.deserialize_cdr(raw.raw, raw.type_name)
        except Exception as error:  # generated readers raise errors of many types
            raise ValueError(f'undecodable {raw.type_name}: {error}') from error

    def peek_stamp(self, raw: RawMessage) -> int | None:
        """The stamp of a message whose first field is a header, without decoding it; else None."""
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
            with contextlib.suppress(SyntaxError):  # rosbags turns the names into Python
                self._register(_parsed(raw.definition, raw.type_name))


@lru_cache(maxsize=1)
def _known_types() -> Typestore:
    """The types of ROS 2 Jazzy and of this package, parsed once for all bags."""
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
    except Exception:  # treated like a missing definition
        return {}
    # rosbags executes code that it generates from the names, so only valid names may reach it.
    return found if all(TYPE_NAME.fullmatch(name) for name in found) else {}


def stamp_of(message: Any) -> int | None:
    """`header.stamp` in nanoseconds; None if there is none or it is 0."""
    stamp = getattr(getattr(message, 'header', None), 'stamp', None)
    # In a type embedded in a bag, the field `header` may be anything.
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
    between: Span | None = None,
) -> Iterator[BagMessage]:
    """Stream the messages of a bag in recorded order.

    Args:
        path: rosbag2 folder (MCAP or sqlite3) or a single storage file.
        topics: Topics to deliver (leading slashes ignored); all if empty. A topic without messages
            is reported at the end.
        optional: Further topics to deliver, which are not reported if they have no messages.
        types_folder: `.msg` files for bags without embedded types.
        report: Filled while reading: counts, undecodable messages, problems.
        between: Only messages recorded in this span of time, nanoseconds; None for all. A missing
            topic is then no problem.

    Yields:
        Messages. A truncated end, a missing topic or an unknown type affects no other messages.

    Raises:
        FileNotFoundError: The bag does not exist or has no storage files.
        BagError: None of its files can be read.
    """
    report = report if report is not None else BagReport(path)
    wanted = {topic.lstrip('/') for topic in topics}
    delivered = wanted | {topic.lstrip('/') for topic in optional}
    types, clocks = MessageTypes(types_folder), Clocks()

    def note(line: str) -> None:
        report.problem(f'{path}: {line}')

    for raw in _settled(_raws(path, report, between), types, clocks):
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
    missing = wanted - set(report.counts) - set(report.dropped)
    for topic in sorted(missing if between is None else ()):
        report.problem(f'{path}: topic {topic} is not in this bag')


def _raws(path: Path, report: BagReport, between: Span | None) -> Iterator[RawMessage]:
    for file in bag_files(path, report.problem):
        yield from read_raw(file, report.problem, between=between)


def _settled(
    raws: Iterator[RawMessage], types: MessageTypes, clocks: Clocks
) -> Iterator[RawMessage]:
    """Yield all messages; the first ones are held back until the clock of the bag is known."""
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
