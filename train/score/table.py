"""Scores as a Parquet table with one row per moment, predicate and modality."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from encoders import State
from encoders.atomic import atomic_file
from train.score.track import Scored

FUSED = 'fused'
BATCH_ROWS = 200_000
# The truth at a moment is the last one stamped before it, for at most this long.
MAX_TRUTH_AGE_NS = 150_000_000

SCHEMA = pa.schema(
    [
        ('time', pa.timestamp('us', tz='UTC')),  # the precision of Python's datetime
        ('stamp_ns', pa.int64()),
        ('time_s', pa.float64()),  # since the bag's first window
        ('bag', pa.dictionary(pa.int32(), pa.string())),
        ('predicate', pa.dictionary(pa.int32(), pa.string())),
        ('modality', pa.dictionary(pa.int32(), pa.string())),
        ('similarity', pa.float32()),
        ('probability', pa.float32()),
        ('state', pa.dictionary(pa.int32(), pa.string())),
        ('calibrated', pa.bool_()),
        ('truth', pa.bool_()),
    ]
)

Truth = Mapping[str, Sequence[tuple[int, bool]]]


def write_scores(
    path: Path, moments: Iterable[Scored], *, bag: str, truth: Truth, about: Mapping[str, object]
) -> int:
    """Write Parquet atomically; return the number of rows.

    A modality row contains the values of that sensor at that moment. The row `fused` contains the
    probability over all informative sensors, and has no similarity. Every row contains the state
    at that moment. The probability is null if no modality had evidence.

    Args:
        path: File to write.
        moments: Scored moments, in order.
        bag: Name of the bag.
        truth: (stamp, value) in order, by predicate.
        about: Stored in the file under the key `lb_ros`: model, language space, predicates.
    """
    schema = SCHEMA.with_metadata({'lb_ros': json.dumps(about)})
    rows = 0
    first_ns: int | None = None
    columns: dict[str, list[object]] = {name: [] for name in schema.names}
    with (
        atomic_file(path) as file,
        pq.ParquetWriter(file, schema, compression='zstd') as writer,
    ):
        for moment in moments:
            first_ns = moment.time_ns if first_ns is None else first_ns
            _append(columns, moment, bag, truth, first_ns)
            if len(columns['time']) >= BATCH_ROWS:
                rows += _flush(writer, columns, schema)
        rows += _flush(writer, columns, schema)
    return rows


def _append(
    columns: dict[str, list[object]], moment: Scored, bag: str, truth: Truth, first_ns: int
) -> None:
    evaluation = moment.evaluation
    for score in evaluation.scores:
        known = value_at(truth.get(score.name, ()), moment.time_ns)
        state = State(evaluation.states[score.name].state).name
        heard = [m for m in moment.fresh if m in score.probability]
        lines: list[tuple[str, float | None, float | None]] = [
            (m, score.similarity[m], score.probability[m]) for m in heard
        ]
        lines.append((FUSED, None, score.fused if score.can_tell else None))
        for modality, similarity, probability in lines:
            values = (
                moment.time_ns // 1000, moment.time_ns, (moment.time_ns - first_ns) * 1e-9,
                bag, score.name, modality,
                similarity, probability, state, score.calibrated, known,
            )  # fmt: skip
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)


def _flush(writer: pq.ParquetWriter, columns: dict[str, list[object]], schema: pa.Schema) -> int:
    count = len(columns['time'])
    if count:
        writer.write_table(pa.table(columns, schema=schema))
    for column in columns.values():
        column.clear()
    return count


def value_at(values: Sequence[tuple[int, bool]], time_ns: int) -> bool | None:
    """The truth at a moment; None if unknown."""
    index = bisect.bisect_right(values, time_ns, key=lambda entry: entry[0]) - 1
    if index < 0 or time_ns - values[index][0] > MAX_TRUTH_AGE_NS:
        return None
    return values[index][1]
