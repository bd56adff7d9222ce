"""Labelled samples of many bags, read in parallel, each bag only once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from encoders.atomic import atomic_file
from encoders.preprocess import MINI, Config, family_of
from train.bags.extract import Extracted, extract_bag, scene_of
from train.bags.labelled import LabelSet
from train.bags.recorded import extract_recordings
from train.bags.samples import Array, Samples, joined
from train.recordings.mapping import is_mapping

# Version of the extraction rules; 3 excludes inputs that are rejected as evidence at run time, and
# converts all stamps of a bag to one clock.
RULES = 3
# Applied when stored inputs are used; they do not change the stored form.
NETWORK_KEYS = (
    *('mean', 'std', 'slopes', 'fine_low_count', 'fine_high_count'),
    *('forms', 'relative', 'convention', 'floor'),
    *('centre', 'scale', 'baseline', 'baseline_spread', 'words', 'untrained'),
)
FEW = 3  # bags with the same problem that are listed
# What is stored of a bag in addition to its inputs and problems.
STORED = ('truth', 'predicates', 'times_s', 'regions', 'region_names')


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was used, and one line per problem for what was not."""

    bags: int
    moments: int
    problems: tuple[str, ...]


def load_samples(
    bags: Sequence[Path],
    configs: Mapping[str, Config],
    *,
    cache: Path | None = None,
    workers: int = 1,
    convert: Callable[[str, Array], Array] | None = None,
    labels: LabelSet | None = None,
) -> tuple[Samples, LoadReport]:
    """Read bags in parallel; with a cache folder, each bag is read only once.

    Args:
        bags: Bag folders or files.
        configs: Preprocessing of each requested modality.
        cache: Folder for the extracted inputs; reused if bag and preprocessing are the same. Not
            used for large inputs, those of LanguageBind.
        workers: Number of processes; large inputs are read by one.
        convert: Called with a modality and the stored inputs of each bag; its result replaces
            them, so that large inputs need not all fit into memory.
        labels: Take the place of the ground truth.

    Returns:
        All samples in the order of bags, and a report. A sample lacks a modality if all values of
        that input are 0; a bag without ground truth is reported and skipped.
    """
    found = extracted_bags(bags, configs, cache=cache, workers=workers, labels=labels)
    parts = [_converted(part, convert) for part in found]
    return joined_parts(parts, tuple(configs))


def extracted_bags(
    bags: Sequence[Path],
    configs: Mapping[str, Config],
    *,
    cache: Path | None = None,
    workers: int = 1,
    labels: LabelSet | None = None,
) -> Iterator[Extracted]:
    """Yield the samples and problems of each bag, in order; see `load_samples`."""
    # Large inputs would fill the disk, and accumulate in memory while they wait for their turn.
    if any(family_of(config) != MINI for config in configs.values()):
        cache, workers = None, 1
    tasks = [(bag, dict(configs), cache, labels and labels.only(bag)) for bag in bags]
    if workers > 1:
        # A forked copy of a process with computing threads may deadlock.
        with ProcessPoolExecutor(workers, get_context('spawn')) as pool:
            results = pool.map(_extract, tasks, chunksize=1)
            yield from track(results, 'reading bags', total=len(tasks))
    else:
        yield from map(_extract, tasks)


def joined_parts(
    parts: Sequence[Extracted], modalities: Sequence[str]
) -> tuple[Samples, LoadReport]:
    """Join the samples of bags, and report what was used of them."""
    problems = told_once([line for _, lines in parts for line in lines])
    kept = [part for part, _ in parts if len(part)]
    samples = joined(kept, modalities)
    return samples, LoadReport(len(samples.bags), len(samples), problems)


def told_once(problems: Sequence[str]) -> tuple[str, ...]:
    """Problems `BAG: ...`; one that more than `FEW` bags have in common is one line."""
    alike: dict[str, list[str]] = {}
    for line in problems:
        alike.setdefault(line.partition(': ')[2], []).append(line)
    found: list[str] = []
    for lines in alike.values():
        many = len(lines) > FEW
        found += [f'{lines[0]}; the same for {len(lines) - 1} other bags'] if many else lines
    return tuple(found)


def _converted(part: Extracted, convert: Callable[[str, Array], Array] | None) -> Extracted:
    samples, problems = part
    if convert is None or not len(samples):
        return part
    inputs = {name: convert(name, stored) for name, stored in samples.inputs.items()}
    return replace(samples, inputs=inputs), problems


def _extract(
    task: tuple[Path, dict[str, Config], Path | None, LabelSet | None],
) -> Extracted:
    bag, configs, cache, labels = task
    if is_mapping(bag):
        return extract_recordings(bag, configs)
    if cache is None:
        return extract_bag(bag, configs, labels=labels)
    stored = cache / f'{bag.name}-{fingerprint(bag, configs, labels)}.npz'
    if stored.exists():
        return _restored(stored, bag, configs)
    samples, problems = extract_bag(bag, configs, labels=labels)
    stored.parent.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {name: getattr(samples, name) for name in STORED}
    with atomic_file(stored) as file:
        np.savez(file, problems=problems, **values | samples.inputs)
    return samples, problems


def _restored(stored: Path, bag: Path, modalities: Iterable[str]) -> Extracted:
    with np.load(stored) as found:
        samples = Samples(
            inputs={name: found[name] for name in modalities},
            truth=found['truth'],
            predicates=tuple(found['predicates'].tolist()),
            bag=np.zeros(len(found['truth']), np.int64),
            times_s=found['times_s'],
            bags=(bag.name,),
            regions=found['regions'],
            region_names=tuple(found['region_names'].tolist()),
            scenes=(scene_of(bag),),
        )
        return samples, found['problems'].tolist()


def fingerprint(bag: Path, configs: Mapping[str, Config], labels: LabelSet | None = None) -> str:
    """Identity of what is extracted from a bag."""
    files = [bag] if bag.is_file() else sorted(bag.iterdir())
    described: dict[str, Any] = {
        'rules': RULES,
        'files': [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files],
        'configs': {name: _stored_by(config) for name, config in configs.items()},
    }
    if labels is not None:
        described['labels'] = [asdict(each) for each in labels.labels]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _stored_by(config: Config) -> dict[str, Any]:
    """The settings that the stored form of an input depends on."""
    applied_later = NETWORK_KEYS if family_of(config) == MINI else ()
    values = {k: v for k, v in asdict(config).items() if k not in applied_later}
    return values if applied_later else {'family': family_of(config), **values}
