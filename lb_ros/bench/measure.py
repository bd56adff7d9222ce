"""Medians of interleaved runs, and their files."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Cases = Mapping[str, Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times of one case.

    Attributes:
        suite, case: Names of the suite and the case.
        median_ms, p95_ms, min_ms: Wall time, over all repeats.
        cpu_ms: Median CPU time of all threads, largely independent of other load.
        repeats: Number of repeats.
        facts: Further values, for example `precision` or a rate.
    """

    suite: str
    case: str
    median_ms: float
    p95_ms: float
    min_ms: float
    cpu_ms: float
    repeats: int
    facts: dict[str, Any] = field(default_factory=dict)


def measure(
    suite: str, cases: Cases, *, repeats: int, facts: Mapping[str, Any] | None = None
) -> list[Measurement]:
    """Run all cases in turn, `repeats` times after one warm-up run.

    Interleaving spreads other load over all cases equally, so that ratios are valid.
    """
    times_ms: dict[str, list[float]] = {name: [] for name in cases}
    cpu_ms: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(repeats + 1):
        for name, run in cases.items():
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            run()
            if repeat:
                times_ms[name].append((time.perf_counter() - start_s) * 1e3)
                cpu_ms[name].append((time.process_time() - start_cpu_s) * 1e3)
    return [
        Measurement(
            suite,
            name,
            median_ms=round(float(np.median(found)), 4),
            p95_ms=round(float(np.percentile(found, 95)), 4),
            min_ms=round(min(found), 4),
            cpu_ms=round(float(np.median(cpu_ms[name])), 4),
            repeats=repeats,
            facts=dict(facts or {}),
        )
        for name, found in times_ms.items()
    ]


def write(
    folder: Path, environment: Mapping[str, Any], found: Sequence[Measurement], *, name: str
) -> tuple[Path, Path]:
    """Write NAME.json (environment, measurements) and NAME.csv (one line per measurement)."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_csv = folder / f'{name}.json', folder / f'{name}.csv'
    rows = [asdict(one) for one in found]
    as_json.write_text(json.dumps({**environment, 'measurements': rows}, indent=2) + '\n')
    machine = environment['machine']
    with as_csv.open('w', newline='') as stream:
        facts = sorted({key for one in found for key in one.facts})
        columns = ['suite', 'case', 'median_ms', 'p95_ms', 'min_ms', 'cpu_ms', 'repeats', *facts]
        writer = csv.DictWriter(stream, [*columns, 'cpu', 'cores', 'torch', 'model'])
        writer.writeheader()
        for row, one in zip(rows, found, strict=True):
            row.pop('facts')
            same = {'cpu': machine['cpu'], 'cores': machine['cores']}
            same |= {'torch': environment['versions']['torch'], 'model': environment['model']}
            writer.writerow({**row, **one.facts, **same})
    return as_json, as_csv


def read(path: Path) -> dict[tuple[str, str], float]:
    """Read the median milliseconds by suite and case.

    Raises:
        ValueError: The file is not a result of `lb-ros bench`.
    """
    try:
        rows = json.loads(path.read_text())['measurements']
        return {(row['suite'], row['case']): float(row['median_ms']) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: is no result of lb-ros bench: {error}') from error
