"""Bags as people bring them: the container, not what is in it, is unusual or broken."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import lz4.frame
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from tests.field.bags import START_NS, STEP_NS, alone, file_of, good, write, zstd
from tests.field.cases import Case

MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3
POINTER = f'version https://git-lfs.github.com/spec/v1\noid sha256:{0:064d}\nsize 16384\n'
METADATA = 'rosbag2_bagfile_information:\n  version: 9\n  storage_identifier: mcap\n'


def _file(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _cut(storage: StoragePlugin, share: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        bag = write(folder / 'cut', good(), storage=storage)
        data = file_of(bag).read_bytes()
        return alone(bag, data=data[: round(len(data) * share)])

    return make


def chunked(folder: Path) -> Path:
    """An MCAP of many small chunks, as a recorder writes them, cut off in the middle."""
    path = folder / 'robot_lost_power.mcap'
    sent = good()
    with path.open('wb') as stream:
        writer = McapWriter(stream, chunk_size=8_000)
        writer.start(profile='ros2')
        channels: dict[str, int] = {}
        for one in sent:
            if one.topic not in channels:
                kind = one.message.__msgtype__
                definition = _definition(kind)
                schema = writer.register_schema(kind, 'ros2msg', definition)
                channels[one.topic] = writer.register_channel(f'/{one.topic}', 'cdr', schema)
            writer.add_message(
                channels[one.topic], log_time=one.log_ns, data=one.raw, publish_time=one.log_ns
            )
        writer.finish()
    data = path.read_bytes()
    path.write_bytes(data[: 2 * len(data) // 3])
    return path


def _definition(kind: str) -> bytes:
    from tests.field.bags import STORE

    return STORE.generate_msgdef(kind, ros_version=2)[0].encode()


def _whole(
    storage: StoragePlugin, mode: CompressionMode | None = None, *, metadata: bool = True
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        bag = write(folder / 'whole', good(), storage=storage, mode=mode)
        if not metadata:
            (bag / 'metadata.yaml').unlink()
        return bag

    return make


def _packed(suffix: str, pack: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        bag = write(folder / 'whole', good())
        return alone(bag, name=f'bag_0.mcap{suffix}', data=pack(file_of(bag).read_bytes()))

    return make


def _zstd_folder(folder: Path) -> Path:
    bag = write(folder / 'packed', good(), storage=SQLITE)
    file = file_of(bag)
    file.with_name(f'{file.name}.zstd').write_bytes(zstd(file.read_bytes()))
    file.unlink()
    return bag


def _parts(*, missing: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        bag = folder / 'split'
        bag.mkdir()
        names = []
        for k in range(3):
            part = write(folder / f'part{k}', good(6, start_ns=START_NS + 6 * k * STEP_NS))
            names.append(f'split_{k}.mcap')
            if k >= missing:
                shutil.copy(file_of(part), bag / names[-1])
            shutil.rmtree(part)
        listed = json.dumps(names)
        (bag / 'metadata.yaml').write_text(f'{METADATA}  relative_file_paths: {listed}\n')
        return bag

    return make


def _bad_part(folder: Path) -> Path:
    bag = _parts(missing=0)(folder)
    (bag / 'split_1.mcap').write_text(POINTER)
    return bag


def _ros1(folder: Path) -> Path:
    path = folder / 'old.bag'
    store = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(path) as writer:
        link = writer.add_connection('/text', 'std_msgs/msg/String', typestore=store)
        said = store.types['std_msgs/msg/String']('hello')
        writer.write(link, START_NS, store.serialize_ros1(said, 'std_msgs/msg/String'))
    return path


def _foreign(encoding: str, schema: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f'{encoding}.mcap'
        with path.open('wb') as stream:
            writer = McapWriter(stream, compression=CompressionType.LZ4)
            writer.start()
            kind = writer.register_schema('foxglove.CompressedImage', schema, b'{}')
            channel = writer.register_channel('/camera/image', encoding, kind)
            for k in range(5):
                writer.add_message(
                    channel, log_time=START_NS + k, data=b'{"a": 1}', publish_time=0
                )
            writer.finish()
        return path

    return make


def _no_messages(folder: Path) -> Path:
    path = folder / 'silent.mcap'
    with path.open('wb') as stream:
        writer = McapWriter(stream)
        writer.start(profile='ros2')
        kind = writer.register_schema('std_msgs/msg/Bool', 'ros2msg', b'bool data')
        writer.register_channel('/camera/image', 'cdr', kind)
        writer.finish()
    return path


def _no_tables(folder: Path) -> Path:
    path = folder / 'empty.db3'
    with sqlite3.connect(path) as database:
        database.execute('CREATE TABLE notes (text TEXT)')
    return path


def _with_metadata(text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        bag = write(folder / 'odd', good())
        (bag / 'metadata.yaml').write_text(text)
        return bag

    return make


def _strange_name(folder: Path) -> Path:
    return write(folder / 'plain', good(), storage=SQLITE).rename(folder / 'run #3 50%?')


REFUSED = [
    Case('empty_file', _file('empty.mcap', b''), (r'empty\.mcap: empty \(0 bytes\)',)),
    Case('empty_database', _file('empty.db3', b''), (r'empty\.db3: empty \(0 bytes\)',)),
    Case('lfs_pointer', _file('a.mcap', POINTER.encode()), (r'a\.mcap: a git-LFS.*git lfs pull',)),
    Case('ros1', _ros1, (r'old\.bag: a ROS 1 bag; convert it: .*rosbags-convert',)),
    Case('zeros', _file('a.mcap', bytes(4096)), (r'a\.mcap: nothing but zero bytes',)),
    Case('web_page', _file('a.mcap', b'<!DOCTYPE html><html>'), (r'a\.mcap: a web page; down',)),
    Case('zip', _file('a.db3', b'PK\x03\x04' + bytes(50)), (r'a\.db3: a ZIP archive; unpack',)),
    Case('text', _file('notes.txt', b'no bag'), (r'notes\.txt: unknown storage format',)),
    Case('magic_only', _file('a.mcap', b'\x89MCAP0\r\n'), (r'a\.mcap: no message can be read',)),
    Case('half_a_magic', _file('a.mcap', b'\x89MCA'), (r'a\.mcap: truncated after 4 bytes',)),
    Case('no_messages', _no_messages, (r'silent\.mcap: no message can be read: the bag is em',)),
    Case('no_tables', _no_tables, (r'empty\.db3: no message can be read: damaged database',)),
    Case('cut_early', _cut(MCAP, 0.01), (r'cut\.mcap: no message can be read: truncated',)),
    Case('cut_database', _cut(SQLITE, 0.02), (r'cut\.db3: no message can be read: damaged',)),
    Case('zstd_of_nothing', _file('a.mcap.zstd', zstd(b'')),
         (r'a\.mcap\.zstd: no message can be read: once decompressed: empty',)),
    Case('damaged_zstd', _file('a.mcap.zstd', zstd(b'x' * 999)[:9] + b'\xff' * 99),
         (r'a\.mcap\.zstd: no message can be read: damaged compression',)),
    Case('protobuf', _foreign('protobuf', 'protobuf'),
         (r'protobuf\.mcap: no message .*camera/image: messages are protobuf, not cdr',)),
    Case('json', _foreign('json', 'jsonschema'), (r'json\.mcap: no message .*are json, not cdr',)),
    Case('ros1_in_mcap', _foreign('ros1', 'ros1msg'),
         (r'ros1\.mcap: no message .*are ros1, not cdr; .*rosbags-convert',)),
    Case('all_parts_missing', _parts(missing=3),
         (r'split: none of the files that metadata\.yaml lists is here \(split_0\.mcap',)),
]  # fmt: skip

USABLE = [
    Case('whole', _whole(MCAP), usable=True),
    Case('whole_database', _whole(SQLITE), usable=True),
    Case('lost_power', chunked, (r'robot_lost_power\.mcap: truncated or damaged at',), True),
    Case('without_metadata', _whole(MCAP, metadata=False), usable=True),
    Case('storage_zstd', _whole(MCAP, CompressionMode.STORAGE), usable=True),
    Case('messages_zstd', _whole(MCAP, CompressionMode.MESSAGE), usable=True),
    Case('messages_zstd_alone',
         _whole(MCAP, CompressionMode.MESSAGE, metadata=False), usable=True),
    Case('database_messages_zstd_alone',
         _whole(SQLITE, CompressionMode.MESSAGE, metadata=False), usable=True),
    Case('file_zstd', _whole(SQLITE, CompressionMode.FILE), usable=True),
    Case('file_zstd_alone', _whole(SQLITE, CompressionMode.FILE, metadata=False), usable=True),
    Case('zstd_under_the_plain_name', _zstd_folder, usable=True),
    Case('mcap_zstd', _packed('.zstd', zstd), usable=True),
    Case('mcap_gzip', _packed('.gz', gzip.compress), usable=True),
    Case('mcap_lz4', _packed('.lz4', lz4.frame.compress), usable=True),
    Case('one_part_missing', _parts(missing=1), (r'split_0\.mcap, .*lists, is missing',), True),
    Case('one_part_unusable', _bad_part, (r'split_1\.mcap: a git-LFS pointer.*rest of',), True),
    Case('metadata_is_a_list', _with_metadata('- 1\n- 2\n'), usable=True),
    Case('metadata_is_no_yaml', _with_metadata('{[: '), usable=True),
    Case('metadata_is_empty', _with_metadata(''), usable=True),
    Case('metadata_lists_a_number',
         _with_metadata(f'{METADATA}  relative_file_paths: 7\n  custom_data: [1]\n'), usable=True),
    Case('strange_name', _strange_name, usable=True),
]  # fmt: skip
