"""Moments in LanceDB: vectors with bag, topic and time, all in one language space.

Stored vectors and queries carry a code of their sensor (`train.search.sensor_codes`).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoders import SpaceError
from train.score.parts import Embeddings
from train.search.sensor_codes import CODE_SIZE, CODED_LENGTH, coded

FORMAT = 2
MOMENTS, THUMBNAILS = 'moments', 'thumbnails'
FACTS = 'facts'  # a column of moments
ABOUT = b'lb_ros'
# Below this an exact search takes milliseconds and needs no approximate index.
MIN_ROWS_TO_APPROXIMATE = 100_000
PLACE = ('bag', 'modality', 'topic', 'stamp_ns', 'start_ns', 'time_s')
METRIC = 'cosine'
# Cells need not be exact, because a search visits more cells than those with the answers.
KMEANS_ITERATIONS, KMEANS_SAMPLE_RATE = 8, 128
# Up to so many cells LanceDB's k-means makes as many as it is asked for; of 1000 it made 135.
MAX_CELLS = 256
# Share of the cells of a sensor that an approximate search visits: sentences and vectors without
# clusters need most of them. Quantisation to one byte per dimension is not exact, so that twice as
# many candidates as answers are compared again.
PROBED_SHARE = 0.75
REFINE_FACTOR = 2
# Cells of a sensor are not exactly in proportion to its windows.
ALL_CELLS = 1.5
# Earlier versions made `sqrt(rows)` cells; `optimise` replaces such an index.
VECTOR_INDEX = 'vector_cells'
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
        self._cells: dict[tuple[int, str], float] = {}
        self._during: tuple[int, int] | None = None
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

    def during(self, start_ns: int, end_ns: int) -> MomentStore:
        """The same index, whose searches find only windows with stamps in a span of time."""
        found = copy.copy(self)
        found._during = (start_ns, end_ns)
        return found

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
        vectors = coded(embeddings.vectors, embeddings.modality) / CODED_LENGTH
        columns = {
            'vector': _lists(vectors),
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
        indices = self._moments.list_indices()
        indexed = {name for index in indices for name in index.columns}
        if 'modality' not in indexed and rows:
            self._moments.create_index('modality', config=_lancedb().index.Bitmap())
        if 'stamp_ns' not in indexed and rows:
            self._moments.create_index('stamp_ns', config=_lancedb().index.BTree())
        known = {index.name for index in indices}
        if rows >= MIN_ROWS_TO_APPROXIMATE and VECTOR_INDEX not in known:
            config = _lancedb().index.IvfSq(
                distance_type=METRIC,
                num_partitions=cells(rows),
                max_iterations=KMEANS_ITERATIONS,
                sample_rate=KMEANS_SAMPLE_RATE,
            )
            self._moments.create_index('vector', config=config, name=VECTOR_INDEX)
            for index in indices:
                if 'vector' in index.columns:
                    self._moments.drop_index(index.name)
        self._moments.optimize(cleanup_older_than=KEPT_VERSIONS)

    def nearest(
        self, query: NDArray[np.float32], modality: str, *, limit: int, exact: bool = False
    ) -> list[Entry]:
        """The windows of a modality with the largest dot products with a query `[D]`."""
        vector = coded(query[None].astype(np.float32), np.array([modality]))[0]
        search = self._moments.search(vector, vector_column_name='vector')
        search = search.distance_type(METRIC).where(self._matches(modality), prefilter=True)
        search = search.limit(limit).select([*self._read, '_distance'])
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
        search = search.where(self._matches(modality), prefilter=True).limit(limit)
        search = search.select([*self._read, '_distance']).bypass_vector_index()
        entries = self._entries(search.to_arrow(), None)
        return [(float(e.facts @ weights), e) for e in entries if e.facts is not None]

    @property
    def _read(self) -> tuple[str, ...]:
        """The columns of an entry; each column takes time to read."""
        return ('vector', *PLACE, *([FACTS] if self.about.facts else []))

    def _matches(self, modality: str) -> str:
        if self._during is None:
            return _is(modality)
        start_ns, end_ns = self._during
        return f'{_is(modality)} AND stamp_ns >= {start_ns} AND stamp_ns <= {end_ns}'

    def _probes(self, modality: str) -> int:
        """Number of cells to visit: a share of the cells that hold the modality.

        In a span of time, all of them: only vectors of the span are compared, and few of the
        nearest cells may hold one.
        """
        rows = len(self)
        if (rows, modality) not in self._cells:
            known = {index.name for index in self._moments.list_indices()}
            count = cells(rows) if VECTOR_INDEX in known else round(math.sqrt(rows))
            share = self._moments.count_rows(_is(modality)) / max(rows, 1)
            self._cells = {k: v for k, v in self._cells.items() if k[0] == rows}
            self._cells[rows, modality] = share * count
        share = PROBED_SHARE if self._during is None else ALL_CELLS
        return max(1, math.ceil(share * self._cells[rows, modality]))

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


def cells(rows: int) -> int:
    """Number of cells of the approximate index."""
    return min(max(1, round(math.sqrt(rows))), MAX_CELLS)


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
