"""Pairs on disk: tar shards in the layout of webdataset, and a manifest.

Every webdataset reader can read the layout: the files of a sample are adjacent and share the name
up to the first dot. This module reads them by position with the standard library instead of
webdataset, because a resumed or distributed training must get exactly the samples of an
uninterrupted one, which the shuffled streams of webdataset do not guarantee.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoders.atomic import atomic_file, write_atomically
from train.pairs.options import DEFAULT_PAIRS
from train.pairs.record import Pair

FORMAT = 1
MANIFEST = 'manifest.json'
RECORD = 'json'


class ShardError(ValueError):
    """A folder of pairs is damaged or cannot be written; the message names the file."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar file as listed in the manifest."""

    name: str
    pairs: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Place:
    """Positions of the files of one pair: extension to (start, size) in a shard."""

    shard: Path
    key: str
    files: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class PairSet:
    """A folder of shards.

    Attributes:
        folder: Path of the folder.
        manifest: Content of the manifest.
        places: Positions of all pairs, in order.
    """

    folder: Path
    manifest: Mapping[str, Any]
    places: tuple[Place, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.places)

    def read(self, index: int) -> Pair:
        """Read one pair.

        Raises:
            ShardError: Its record is damaged.
        """
        return self._read(self.places[index], set(self.places[index].files))

    def outline(self, index: int) -> Pair:
        """Read one pair with empty files, for its sentences and facts.

        Raises:
            ShardError: Its record is damaged.
        """
        return self._read(self.places[index], {RECORD})

    def _read(self, place: Place, wanted: set[str]) -> Pair:
        files: dict[str, bytes] = {}
        with place.shard.open('rb') as stream:
            for name, (start, size) in place.files.items():
                stream.seek(start)
                files[name] = stream.read(size) if name in wanted else b''
        try:
            values = json.loads(files.pop(RECORD))
            return Pair.from_described(place.key, values, files)
        except (KeyError, TypeError, ValueError) as error:
            raise ShardError(f'{place.shard}: pair {place.key}: {error}') from error


def write_shards(
    folder: Path,
    pairs: Iterable[Pair],
    *,
    described: Mapping[str, Any] | None = None,
    pairs_per_shard: int = DEFAULT_PAIRS,
    name: str = 'pairs',
) -> list[Shard]:
    """Write shards `NAME-000000.tar` and so on; each appears only when it is complete.

    Args:
        folder: Created if it does not exist.
        pairs: Pairs in the order in which they are stored.
        described: Content of the manifest next to the shards; None to write no manifest.
        pairs_per_shard: Number of pairs in a shard.
        name: First part of the file names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Shard] = []
    waiting: list[Pair] = []
    for pair in pairs:
        waiting.append(pair)
        if len(waiting) == pairs_per_shard:
            shards.append(_write_shard(folder / f'{name}-{len(shards):06d}.tar', waiting))
            waiting = []
    if waiting:
        shards.append(_write_shard(folder / f'{name}-{len(shards):06d}.tar', waiting))
    if described is not None:
        write_manifest(folder, shards, described)
    return shards


def write_manifest(folder: Path, shards: Iterable[Shard], described: Mapping[str, Any]) -> None:
    """Write the manifest, after all shards: a folder without one is incomplete."""
    listed = [{k: getattr(shard, k) for k in Shard.__slots__} for shard in shards]
    values = {'format': FORMAT, **described, 'shards': listed}
    write_atomically(folder / MANIFEST, (json.dumps(values, indent=1) + '\n').encode())


def is_pair_set(path: Path) -> bool:
    """Whether a folder holds shards with a manifest."""
    return (path / MANIFEST).is_file() and any(path.glob('*.tar'))


def open_pair_set(folder: Path) -> PairSet:
    """Open a folder that `write_shards` wrote.

    Raises:
        ShardError: The manifest or a shard is missing, damaged, or of another size.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        if manifest['format'] != FORMAT:
            raise ValueError(f'format {manifest["format"]}, expected {FORMAT}')
        shards = [Shard(**entry) for entry in manifest['shards']]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ShardError(f'{path}: {error}') from error
    places = [place for shard in shards for place in _places(folder / shard.name, shard)]
    return PairSet(folder, manifest, tuple(places))


def data_identity(manifest: Mapping[str, Any]) -> str:
    """Hash of all shards of a set: equal for equal data."""
    listed = json.dumps([[s['name'], s['sha256']] for s in manifest['shards']])
    return hashlib.sha256(listed.encode()).hexdigest()


def _write_shard(path: Path, pairs: Iterable[Pair]) -> Shard:
    count = 0
    with atomic_file(path) as file, tarfile.open(fileobj=file, mode='w|') as tar:
        for pair in pairs:
            record = json.dumps(pair.described(), ensure_ascii=False).encode()
            texts = '\n'.join(text.text for text in pair.texts).encode()
            for name, data in {**pair.files, 'txt': texts, RECORD: record}.items():
                entry = tarfile.TarInfo(f'{pair.key}.{name}')
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
            count += 1
    digest = hashlib.sha256()
    with path.open('rb') as stream:
        for block in iter(lambda: stream.read(1 << 20), b''):
            digest.update(block)
    return Shard(path.name, count, path.stat().st_size, digest.hexdigest())


def _places(path: Path, shard: Shard) -> list[Place]:
    if not path.is_file():
        raise ShardError(f'{path}: missing')
    if path.stat().st_size != shard.bytes:
        raise ShardError(f'{path}: {path.stat().st_size:,} bytes, expected {shard.bytes:,}')
    found: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path) as tar:
            for entry in tar:
                key, _, name = entry.name.partition('.')
                if name != 'txt':
                    found.setdefault(key, {})[name] = (entry.offset_data, entry.size)
    except tarfile.TarError as error:
        raise ShardError(f'{path}: {error}') from error
    if len(found) != shard.pairs or any(RECORD not in files for files in found.values()):
        raise ShardError(f'{path}: {len(found)} pairs, expected {shard.pairs} with a record each')
    return [Place(path, key, files) for key, files in found.items()]
