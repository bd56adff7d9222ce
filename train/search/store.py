"""Moments in LanceDB: vectors with bag, topic and time, all of one language space."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoders import SpaceError
from train.score.embed import Embeddings

FORMAT = 1
MOMENTS, THUMBNAILS = 'moments', 'thumbnails'
ABOUT = b'lb_ros'
# Below this an exact search takes milliseconds, and needs no approximate index.
MIN_ROWS_TO_APPROXIMATE = 100_000
PLACE = ('bag', 'modality', 'topic', 'stamp_ns', 'start_ns', 'time_s')
METRIC = 'cosine'
# Cells need not be exact: more are looked into than hold the answers.
KMEANS_ITERATIONS, KMEANS_SAMPLE_RATE = 8, 32
# Of an approximate search; measured by benchmarks/search.py. A byte for each dimension is almost
# exact, so that few candidates are compared again; product quantisation in 48 bytes compared forty
# times the answers again and still missed one in ten.
PROBED_SHARE = 0.25
REFINE_FACTOR = 2


class NoIndexError(ValueError):
    """There is no usable index; the text names it and what is wrong."""


@dataclass(frozen=True, slots=True)
class About:
    """What all vectors of an index have in common.

    Attributes:
        space: Identity of the language space.
        model: Name of the model set that embedded them.
        dimensions: Of the vectors.
    """

    space: str
    model: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored window and how near it is to what was looked for (cosine)."""

    bag: str
    modality: str
    topic: str
    stamp_ns: int
    start_ns: int
    time_s: float
    vector: NDArray[np.float32]
    cosine: float


class MomentStore:
    """An index on disk, or on object storage by its URI.

    Raises:
        NoIndexError: There is none, or it is of another format.
        ModuleNotFoundError: LanceDB is not installed; the text says how to get it.
    """

    def __init__(self, uri: str, about: About | None = None) -> None:
        self.uri = uri
        self._db = _lancedb().connect(uri)
        names = set(self._db.list_tables().tables)
        if MOMENTS not in names:
            if about is None:
                raise NoIndexError(f'{uri}: no index; make one with: lb-ros index BAGS -o {uri}')
            self._create(about)
        self._moments = self._db.open_table(MOMENTS)
        self._thumbnails = self._db.open_table(THUMBNAILS)
        stored = json.loads((self._moments.schema.metadata or {}).get(ABOUT, b'{}'))
        if stored.pop('format', None) != FORMAT:
            raise NoIndexError(f'{uri}: not an index of format {FORMAT}')
        self.about = About(**stored)

    def _create(self, about: About) -> None:
        described = {
            'format': FORMAT,
            'space': about.space,
            'model': about.model,
            'dimensions': about.dimensions,
        }
        text = pa.string()
        moments = [
            ('vector', pa.list_(pa.float32(), about.dimensions)),
            ('bag', text), ('bag_key', text), ('modality', text), ('topic', text),
            ('stamp_ns', pa.int64()), ('start_ns', pa.int64()), ('time_s', pa.float64()),
        ]  # fmt: skip
        thumbnails = [('bag', text), ('modality', text), ('stamp_ns', pa.int64()),
                      ('jpeg', pa.binary())]  # fmt: skip
        metadata = {ABOUT: json.dumps(described)}
        # The moments last: without them there is no index yet.
        self._db.create_table(THUMBNAILS, schema=pa.schema(thumbnails), mode='overwrite')
        self._db.create_table(MOMENTS, schema=pa.schema(moments, metadata=metadata))

    def check_space(self, space: str) -> None:
        """Refuse vectors of another language space.

        Raises:
            SpaceError: They are.
        """
        if space != self.about.space:
            raise SpaceError(
                f'{self.uri} is of language space {self.about.space!r} (model '
                f'{self.about.model}), but this model is of {space!r}; use the model of the index'
            )

    def __len__(self) -> int:
        return int(self._moments.count_rows())

    def bags(self) -> dict[str, str]:
        """Path of every bag to the key it was stored under."""
        found = self._moments.search().select(['bag', 'bag_key']).to_arrow()
        return dict(zip(found['bag'].to_pylist(), found['bag_key'].to_pylist(), strict=True))

    def add_bag(
        self,
        bag: str,
        key: str,
        embeddings: Embeddings,
        *,
        start_log_ns: int,
        thumbnails: Sequence[tuple[int, str, bytes]],
    ) -> None:
        """Store a bag, whole or, if this is interrupted, not at all; replaces an older version.

        Args:
            bag: Its path.
            key: Tells versions of the bag, and choices of topics, apart.
            embeddings: Of its windows.
            start_log_ns: When its recording began.
            thumbnails: (stamp, modality, JPEG).
        """
        named = f'bag = {_quoted(bag)}'
        if self._thumbnails.count_rows(named):
            self._thumbnails.delete(named)
        known = self._moments.count_rows(named) > 0
        if thumbnails:
            stamps, modalities, jpegs = zip(*thumbnails, strict=True)
            columns = {'bag': [bag] * len(stamps), 'modality': modalities, 'stamp_ns': stamps,
                       'jpeg': jpegs}  # fmt: skip
            self._thumbnails.add(pa.table(columns, schema=self._thumbnails.schema))
        rows = len(embeddings)
        flat = pa.array(embeddings.vectors.astype(np.float32).ravel())
        table = pa.table(
            {
                'vector': pa.FixedSizeListArray.from_arrays(flat, self.about.dimensions),
                'bag': [bag] * rows,
                'bag_key': [key] * rows,
                'modality': embeddings.modality,
                'topic': embeddings.topic,
                'stamp_ns': embeddings.stamp_ns,
                'start_ns': embeddings.start_ns,
                'time_s': (embeddings.log_ns - start_log_ns) * 1e-9,
            },
            schema=self._moments.schema,
        )
        self._moments.add(table)
        if known:
            self._moments.delete(f'{named} AND bag_key != {_quoted(key)}')

    def optimise(self) -> None:
        """Merge small files, and bring the indices up to date where there is much to search."""
        self._thumbnails.optimize()
        self._moments.optimize()
        rows = len(self)
        indexed = {name for index in self._moments.list_indices() for name in index.columns}
        if 'modality' not in indexed and rows:
            self._moments.create_index('modality', config=_lancedb().index.Bitmap())
        if rows < MIN_ROWS_TO_APPROXIMATE or 'vector' in indexed:
            return
        config = _lancedb().index.IvfSq(
            distance_type=METRIC,
            num_partitions=partitions(rows),
            max_iterations=KMEANS_ITERATIONS,
            sample_rate=KMEANS_SAMPLE_RATE,
        )
        self._moments.create_index('vector', config=config)

    def nearest(
        self, query: NDArray[np.float32], modality: str, *, limit: int, exact: bool = False
    ) -> list[Entry]:
        """The windows of a modality whose vectors have the largest product with a query `[D]`."""
        search = self._moments.search(query.astype(np.float32), vector_column_name='vector')
        search = search.distance_type(METRIC).where(_is(modality), prefilter=True).limit(limit)
        if exact:
            search = search.bypass_vector_index()
        else:
            probes = max(1, math.ceil(PROBED_SHARE * partitions(len(self))))
            search = search.nprobes(probes).refine_factor(REFINE_FACTOR)
        return _entries(search.to_arrow(), query)

    def around(
        self, moments: Sequence[tuple[str, int]], *, within_ns: int, modalities: Sequence[str]
    ) -> list[Entry]:
        """All windows of some modalities near moments, (bag, stamp) each."""
        if not moments:
            return []
        near = ' OR '.join(
            f'(bag = {_quoted(bag)} AND stamp_ns >= {stamp - within_ns} '
            f'AND stamp_ns <= {stamp + within_ns})'
            for bag, stamp in moments
        )
        listed = ', '.join(_quoted(m) for m in modalities)
        search = self._moments.search().where(f'({near}) AND modality IN ({listed})')
        return _entries(search.to_arrow(), None)

    def at(self, bag: str, time_s: float, *, within_s: float) -> list[Entry]:
        """All windows of a bag near a moment of it."""
        low, high = time_s - within_s, time_s + within_s
        where = f'bag = {_quoted(bag)} AND time_s >= {low} AND time_s <= {high}'
        return _entries(self._moments.search().where(where).to_arrow(), None)

    def sample(self, modality: str, *, count: int = 2000) -> NDArray[np.float32]:
        """Vectors of a modality, spread over the index, `[<= count, D]`."""
        stride = max(1, len(self) // (4 * count))
        where = f'{_is(modality)} AND (stamp_ns / 1000000) % {stride} = 0'
        found = self._moments.search().where(where).select(['vector']).limit(count).to_arrow()
        return _matrix(found)

    def thumbnail(self, bag: str, modality: str, stamp_ns: int) -> bytes | None:
        """The picture nearest to a moment; None where there is none within 2 s."""
        where = (
            f'bag = {_quoted(bag)} AND {_is(modality)} AND '
            f'stamp_ns >= {stamp_ns - 2_000_000_000} AND stamp_ns <= {stamp_ns + 2_000_000_000}'
        )
        rows = self._thumbnails.search().where(where).to_list()
        if not rows:
            return None
        return bytes(min(rows, key=lambda row: abs(row['stamp_ns'] - stamp_ns))['jpeg'])


def partitions(rows: int) -> int:
    """Cells of the approximate index: half the square root of the number of rows."""
    return max(1, round(math.sqrt(rows) / 2))


def _entries(table: pa.Table, query: NDArray[np.float32] | None) -> list[Entry]:
    vectors = _matrix(table)
    cosines = np.zeros(len(vectors)) if query is None else vectors @ query
    rows = table.drop_columns(['vector']).to_pylist()
    return [
        Entry(**{name: row[name] for name in PLACE}, vector=vector, cosine=float(cosine))
        for row, vector, cosine in zip(rows, vectors, cosines, strict=True)
    ]


def _matrix(table: pa.Table) -> NDArray[np.float32]:
    column = table['vector'].combine_chunks()
    return np.asarray(column.flatten(), np.float32).reshape(len(column), column.type.list_size)


def _is(modality: str) -> str:
    return f'modality = {_quoted(modality)}'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _lancedb() -> Any:
    try:
        import lancedb
        import lancedb.index
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'index and search need LanceDB: pip install "lb_ros[search]" (or lancedb)'
        ) from error
    return lancedb


def index_exists(uri: str) -> bool:
    """Whether a folder holds an index."""
    return (Path(uri) / f'{MOMENTS}.lance').exists()
