"""Moments in LanceDB: vectors with bag, topic and time, all in one language space.

Stored vectors and queries are embeddings plus `CODE_SIZE` dimensions that identify the sensor.
This keeps the order of cosines within a sensor, but each cell of the approximate index holds only
one sensor, so that a search visits only cells of its sensor. Without the code, a sentence, whose
vector is far from those of all sensors, would be searched in cells of the wrong sensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoders import SENSED, SpaceError
from train.score.parts import Embeddings

FORMAT = 2
MOMENTS, THUMBNAILS = 'moments', 'thumbnails'
FACTS = 'facts'  # a column of moments
ABOUT = b'lb_ros'
# Below this an exact search takes milliseconds and needs no approximate index.
MIN_ROWS_TO_APPROXIMATE = 100_000
PLACE = ('bag', 'modality', 'topic', 'stamp_ns', 'start_ns', 'time_s')
METRIC = 'cosine'
CODE_SIZE, CODE_VALUE = 8, 0.4
# Length of a coded vector relative to its embedding; other sensors are never close.
CODED_LENGTH = math.sqrt(1 + CODE_SIZE * CODE_VALUE**2)
# Cells need not be exact, because a search visits more cells than those with the answers.
KMEANS_ITERATIONS, KMEANS_SAMPLE_RATE = 8, 32
# For approximate search. Sentences need a larger share of the cells than examples. Quantisation to
# one byte per dimension is not exact, so that some candidates are compared again.
PROBED_SHARE = 0.16
REFINE_FACTOR = 5
# An open index sees additions and merges of other processes within this time.
REFRESH = timedelta(seconds=1)
# Other processes may still read or write versions younger than this.
KEPT_VERSIONS = timedelta(seconds=10)


class NoIndexError(ValueError):
    """There is no usable index; the message names it and the problem."""


@dataclass(frozen=True, slots=True)
class About:
    """Properties shared by all vectors of an index.

    Attributes:
        space: Identity of the language space.
        model: Name of the model set that embedded them.
        dimensions: Dimensions of the vectors without code.
        facts: Number of facts whose log-odds are stored with each window; 0 for none.
        facts_id: Identity of these facts, see `FactReader.identity`.
    """

    space: str
    model: str
    dimensions: int
    facts: int = 0
    facts_id: str = ''


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored window, its cosine to the query, and the log-odds of the facts `[F]`."""

    bag: str
    modality: str
    topic: str
    stamp_ns: int
    start_ns: int
    time_s: float
    vector: NDArray[np.float32]
    cosine: float
    facts: NDArray[np.float32] | None = None


class MomentStore:
    """An index on disk, or on object storage by its URI.

    Raises:
        NoIndexError: There is no index, or it has another format.
        ModuleNotFoundError: LanceDB is not installed; the message explains how to install it.
    """

    def __init__(self, uri: str, about: About | None = None) -> None:
        self.uri = uri
        self._db = _lancedb().connect(uri, read_consistency_interval=REFRESH)
        self._shares: dict[tuple[int, str], float] = {}
        names = set(self._db.list_tables().tables)
        if MOMENTS not in names:
            if about is None:
                raise NoIndexError(f'{uri}: no index; make one with: lb-ros index BAGS -o {uri}')
            self._create(about)
        self._moments = self._db.open_table(MOMENTS)
        self._thumbnails = self._db.open_table(THUMBNAILS)
        stored = json.loads((self._moments.schema.metadata or {}).get(ABOUT, b'{}'))
        if stored.pop('format', None) != FORMAT:
            raise NoIndexError(f'{uri}: not an index of format {FORMAT}; make it anew')
        self.about = About(**stored)

    def _create(self, about: About) -> None:
        described = {'format': FORMAT, **asdict(about)}
        text = pa.string()
        moments = [
            ('vector', pa.list_(pa.float16(), about.dimensions + CODE_SIZE)),
            ('bag', text), ('bag_key', text), ('modality', text), ('topic', text),
            ('stamp_ns', pa.int64()), ('start_ns', pa.int64()), ('time_s', pa.float64()),
        ]  # fmt: skip
        thumbnails = [('bag', text), ('modality', text), ('stamp_ns', pa.int64()),
                      ('jpeg', pa.binary())]  # fmt: skip
        if about.facts:
            moments.append((FACTS, pa.list_(pa.float16(), about.facts)))
        metadata = {ABOUT: json.dumps(described)}
        # Create the moments last, because the index exists once they do.
        self._db.create_table(THUMBNAILS, schema=pa.schema(thumbnails), mode='overwrite')
        self._db.create_table(MOMENTS, schema=pa.schema(moments, metadata=metadata))

    def check_space(self, space: str) -> None:
        """Check that vectors are of the language space of the index.

        Raises:
            SpaceError: They are not.
        """
        if space != self.about.space:
            raise SpaceError(
                f'{self.uri} is of language space {self.about.space!r} (model '
                f'{self.about.model}), but this model is of {space!r}; use the model of the index'
            )

    def __len__(self) -> int:
        return int(self._moments.count_rows())

    def bags(self) -> dict[str, str]:
        """Path of every bag to the key under which it was stored."""
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
        """Store a bag, or nothing if interrupted; replaces an older version.

        Args:
            bag: Path of the bag.
            key: Distinguishes versions of the bag and selections of topics.
            embeddings: Embeddings of its windows.
            start_log_ns: Start of its recording.
            thumbnails: (stamp, modality, JPEG).
        """
        named = f'bag = {_quoted(bag)}'
        if self._thumbnails.count_rows(named):
            self._thumbnails.delete(named)
        known = self._moments.count_rows(named) > 0
        if thumbnails:
            stamps, modalities, jpegs = zip(*thumbnails, strict=True)
            shown = {'bag': [bag] * len(stamps), 'modality': modalities, 'stamp_ns': stamps,
                     'jpeg': jpegs}  # fmt: skip
            self._thumbnails.add(pa.table(shown, schema=self._thumbnails.schema))
        rows = len(embeddings)
        coded = _coded(embeddings.vectors, embeddings.modality) / CODED_LENGTH
        columns = {
            'vector': _lists(coded),
            'bag': [bag] * rows,
            'bag_key': [key] * rows,
            'modality': embeddings.modality,
            'topic': embeddings.topic,
            'stamp_ns': embeddings.stamp_ns,
            'start_ns': embeddings.start_ns,
            'time_s': (embeddings.log_ns - start_log_ns) * 1e-9,
        }
        if self.about.facts:
            facts = embeddings.facts
            columns[FACTS] = _lists(np.zeros((rows, self.about.facts)) if facts is None else facts)
        self._moments.add(pa.table(columns, schema=self._moments.schema))
        if known:
            self._moments.delete(f'{named} AND bag_key != {_quoted(key)}')

    def optimise(self) -> None:
        """Merge small files, and create or update the search indices if there are enough rows.

        Older versions, which need as much space again, are deleted.
        """
        self._thumbnails.optimize(cleanup_older_than=KEPT_VERSIONS)
        self._moments.optimize()
        rows = len(self)
        indexed = {name for index in self._moments.list_indices() for name in index.columns}
        if 'modality' not in indexed and rows:
            self._moments.create_index('modality', config=_lancedb().index.Bitmap())
        if rows >= MIN_ROWS_TO_APPROXIMATE and 'vector' not in indexed:
            config = _lancedb().index.IvfSq(
                distance_type=METRIC,
                num_partitions=partitions(rows),
                max_iterations=KMEANS_ITERATIONS,
                sample_rate=KMEANS_SAMPLE_RATE,
            )
            self._moments.create_index('vector', config=config)
        self._moments.optimize(cleanup_older_than=KEPT_VERSIONS)

    def nearest(
        self, query: NDArray[np.float32], modality: str, *, limit: int, exact: bool = False
    ) -> list[Entry]:
        """The windows of a modality with the largest dot products with a query `[D]`."""
        coded = _coded(query[None].astype(np.float32), np.array([modality]))[0]
        search = self._moments.search(coded, vector_column_name='vector')
        search = search.distance_type(METRIC).where(_is(modality), prefilter=True).limit(limit)
        if exact:
            search = search.bypass_vector_index()
        else:
            search = search.nprobes(self._probes(modality)).refine_factor(REFINE_FACTOR)
        return self._entries(search.to_arrow(), query)

    def likely(
        self, weights: NDArray[np.float32], modality: str, *, limit: int
    ) -> list[tuple[float, Entry]]:
        """The windows of a modality with the largest weighted sum of facts, with this sum.

        Every window is compared, because facts have no approximate index.
        """
        search = self._moments.search(weights, vector_column_name=FACTS).distance_type('dot')
        search = search.where(_is(modality), prefilter=True).limit(limit).bypass_vector_index()
        entries = self._entries(search.to_arrow(), None)
        return [(float(e.facts @ weights), e) for e in entries if e.facts is not None]

    def _probes(self, modality: str) -> int:
        """Number of cells to visit: a share of the cells that hold the modality."""
        rows = len(self)
        if (rows, modality) not in self._shares:
            count = self._moments.count_rows(_is(modality))
            self._shares = {k: v for k, v in self._shares.items() if k[0] == rows}
            self._shares[rows, modality] = count / max(rows, 1)
        share = self._shares[rows, modality]
        return max(1, math.ceil(PROBED_SHARE * share * partitions(rows)))

    def around(
        self, moments: Sequence[tuple[str, int]], *, within_ns: int, modalities: Sequence[str]
    ) -> list[Entry]:
        """All windows of some modalities near moments, each given as (bag, stamp)."""
        if not moments:
            return []
        near = ' OR '.join(
            f'(bag = {_quoted(bag)} AND stamp_ns >= {stamp - within_ns} '
            f'AND stamp_ns <= {stamp + within_ns})'
            for bag, stamp in moments
        )
        listed = ', '.join(_quoted(m) for m in modalities)
        search = self._moments.search().where(f'({near}) AND modality IN ({listed})')
        return self._entries(search.to_arrow(), None)

    def at(self, bag: str, time_s: float, *, within_s: float) -> list[Entry]:
        """All windows of a bag near a time."""
        low, high = time_s - within_s, time_s + within_s
        where = f'bag = {_quoted(bag)} AND time_s >= {low} AND time_s <= {high}'
        return self._entries(self._moments.search().where(where).to_arrow(), None)

    def sample(self, modality: str, *, count: int = 2000) -> NDArray[np.float32]:
        """Vectors of a modality, spread over the index, `[<= count, D]`."""
        return self._embeddings(self._sampled(modality, 'vector', count))

    def sample_facts(self, modality: str, *, count: int = 2000) -> NDArray[np.float32]:
        """Facts of a modality, spread over the index, `[<= count, F]`."""
        return _rows(self._sampled(modality, FACTS, count)[FACTS])

    def _sampled(self, modality: str, column: str, count: int) -> pa.Table:
        stride = max(1, len(self) // (4 * count))
        where = f'{_is(modality)} AND (stamp_ns / 1000000) % {stride} = 0'
        return self._moments.search().where(where).select([column]).limit(count).to_arrow()

    def _entries(self, table: pa.Table, query: NDArray[np.float32] | None) -> list[Entry]:
        vectors = self._embeddings(table)
        cosines = np.zeros(len(vectors)) if query is None else vectors @ query
        facts = _rows(table[FACTS]) if self.about.facts else [None] * len(vectors)
        rows = table.select(list(PLACE)).to_pylist()
        return [
            Entry(**row, vector=vector, cosine=float(cosine), facts=known)
            for row, vector, cosine, known in zip(rows, vectors, cosines, facts, strict=True)
        ]

    def _embeddings(self, table: pa.Table) -> NDArray[np.float32]:
        return _rows(table['vector'])[:, : self.about.dimensions] * np.float32(CODED_LENGTH)

    def thumbnail(self, bag: str, modality: str, stamp_ns: int) -> bytes | None:
        """The image nearest to a stamp; None if there is none within 2 s."""
        where = (
            f'bag = {_quoted(bag)} AND {_is(modality)} AND '
            f'stamp_ns >= {stamp_ns - 2_000_000_000} AND stamp_ns <= {stamp_ns + 2_000_000_000}'
        )
        rows = self._thumbnails.search().where(where).to_list()
        if not rows:
            return None
        return bytes(min(rows, key=lambda row: abs(row['stamp_ns'] - stamp_ns))['jpeg'])


def partitions(rows: int) -> int:
    """Number of cells of the approximate index: the square root of the number of rows."""
    return max(1, round(math.sqrt(rows)))


def _coded(vectors: NDArray[np.float32], modalities: NDArray[np.str_]) -> NDArray[np.float32]:
    """Append the codes of the sensors to vectors `[N, D]`: `[N, D + CODE_SIZE]`."""
    codes = np.stack([_code(str(name)) for name in modalities]) if len(modalities) else None
    if codes is None:
        codes = np.zeros((0, CODE_SIZE), np.float32)
    return np.concatenate([vectors, codes], axis=1, dtype=np.float32)


@lru_cache(maxsize=64)
def _code(modality: str) -> NDArray[np.float32]:
    """Signs that are orthogonal or opposite to those of other sensors.

    They are a row of a Hadamard matrix, or its negative after the first `CODE_SIZE` sensors.
    """
    place = SENSED.index(modality) if modality in SENSED else CODE_SIZE - 1
    row = (1 + place) % CODE_SIZE
    signs = [(-1) ** bin(row & column).count('1') for column in range(CODE_SIZE)]
    value = CODE_VALUE if place < CODE_SIZE else -CODE_VALUE
    return value * np.array(signs, np.float32)


def _lists(rows: NDArray[np.floating[Any]]) -> pa.Array:
    """Rows `[N, D]` as a column of lists."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(rows.astype(np.float16).ravel()), rows.shape[1]
    )


def _rows(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of lists as rows, `[N, D]`."""
    joined = column.combine_chunks()
    return np.asarray(joined.flatten(), np.float32).reshape(len(joined), joined.type.list_size)


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
