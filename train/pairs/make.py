"""Bags to pairs: the plan for every bag, the selection of windows, and the pairs themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from train.bags.folder import BagError
from train.bags.labelled import LabelSet, unused
from train.cluster import Spread
from train.pairs.balance import balanced
from train.pairs.cut import cut_bag
from train.pairs.options import PairOptions, PairsReport
from train.pairs.plan import Window, plan_bag
from train.pairs.record import Pair
from train.pairs.recorded import cut_recordings, plan_recordings
from train.pairs.sidecar import SidecarRow
from train.pairs.views import Views, viewed
from train.recordings.mapping import is_mapping
from train.validated import plain

HELD_BAGS = 4
# For one bag: its windows, the sidecar rows within it, and the report of what was dropped.
Planned = tuple[list[Window], set[SidecarRow], PairsReport]


@dataclass(frozen=True)
class PairPlan:
    """The pairs to make.

    Attributes:
        bags: Bags with at least one window.
        windows: Windows of each bag.
        options: How to cut pairs.
        views: Additions to every pair.
        entries: How often each entry of the vocabulary occurs; empty without balancing.
    """

    bags: tuple[Path, ...]
    windows: tuple[tuple[Window, ...], ...]
    options: PairOptions
    views: Views
    entries: Mapping[str, int] = field(default_factory=dict)


def plan_pairs(
    bags: Sequence[Path],
    options: PairOptions,
    *,
    report: PairsReport,
    sidecar: Sequence[SidecarRow] = (),
    labels: LabelSet | None = None,
    views: Views | None = None,
    vocabulary: Sequence[str] = (),
    max_per_entry: int | None = None,
    spread: Spread = map,
    progress: Callable[[Iterator[Planned]], Iterator[Planned]] = iter,
) -> PairPlan:
    """Read the texts of every bag and select windows.

    Args:
        bags: rosbag2 folders or storage files; an unreadable one is reported and skipped.
        options: How to cut.
        report: Counts what was used and dropped.
        sidecar: Sentences with time ranges; a row that names a bag applies to that bag only.
        labels: What is true and false in some of the bags, in addition to their ground truth.
        views: Additions to every pair.
        vocabulary: Entries to balance; if empty, every sentence is an entry.
        max_per_entry: Windows per entry; None for all.
        spread: Executor that reads the bags.
        progress: Wraps the iterator over bags.
    """
    _report_unknown_bags(bags, sidecar, labels, report)
    found: list[tuple[Path, list[Window]]] = []
    plan = partial(_windows_of, options=options, sidecar=tuple(sidecar), labels=labels)
    matched: set[SidecarRow] = set()
    for bag, (windows, rows, own) in zip(bags, progress(spread(plan, bags)), strict=True):
        report.add(own)
        matched |= rows
        if windows:
            found.append((bag, windows))
    _report_outside(bags, sidecar, matched, report)
    entries: Mapping[str, int] = {}
    if max_per_entry is not None:
        flat = [window for _, windows in found for window in windows]
        kept, entries = balanced(flat, vocabulary, most=max_per_entry, seed=options.seed)
        report.dropped['windows for balance'] += len(flat) - len(kept)
        found = _only(found, set(kept), report)
    return PairPlan(
        bags=tuple(bag for bag, _ in found),
        windows=tuple(tuple(windows) for _, windows in found),
        options=options,
        views=views or Views(),
        entries=entries,
    )


def _windows_of(
    bag: Path,
    *,
    options: PairOptions,
    sidecar: Sequence[SidecarRow],
    labels: LabelSet | None,
) -> Planned:
    """The windows of one bag; none if it cannot be read or has no texts."""
    report = PairsReport()
    rows = [row for row in sidecar if row.bag in ('', bag.name, bag.stem)]
    windows: list[Window] = []
    matched: set[SidecarRow] = set()
    why = 'nothing is said in it'
    try:
        if is_mapping(bag):
            windows = plan_recordings(bag, options, report=report)
        else:
            windows, matched = plan_bag(bag, options, sidecar=rows, labels=labels, report=report)
    except (OSError, ValueError) as error:
        why = str(error).removeprefix(f'{bag}: ')
    if not windows:
        report.bags_skipped += 1
        report.problem(f'{bag}: {why}; the bag is skipped')
    return windows, matched, report


def _report_unknown_bags(
    bags: Sequence[Path],
    sidecar: Sequence[SidecarRow],
    labels: LabelSet | None,
    report: PairsReport,
) -> None:
    known = {name for bag in bags for name in (bag.name, bag.stem)}
    for name in sorted({row.bag for row in sidecar if row.bag} - known):
        count = sum(row.bag == name for row in sidecar)
        report.dropped['sidecar sentences of other bags'] += count
        report.problem(f'sidecar: no bag is named {name!r}; its {count} sentences are left out')
    if labels is not None:
        for line in unused(labels, [bag for bag in bags if not is_mapping(bag)]):
            report.problem(line)


def _report_outside(
    bags: Sequence[Path],
    sidecar: Sequence[SidecarRow],
    matched: set[SidecarRow],
    report: PairsReport,
) -> None:
    """Count the rows outside of all bags to which they may apply, and name the first."""
    known = {name for bag in bags for name in (bag.name, bag.stem)}
    outside = [r for r in sidecar if r not in matched and (not r.bag or r.bag in known)]
    if outside:
        first = outside[0]
        report.dropped['sidecar sentences outside the recording'] += len(outside)
        report.problem(
            f'sidecar: {len(outside)} sentences lie outside of every recording, first '
            f'{first.where or repr(first.text)}: {first.start_s:.12g} to {first.end_s:.12g} s; '
            f'times are seconds since the start of the bag, or since 1970 in UTC'
        )


def _only(
    found: Sequence[tuple[Path, list[Window]]], kept: set[int], report: PairsReport
) -> list[tuple[Path, list[Window]]]:
    chosen = []
    start = 0
    for bag, windows in found:
        some = [window for k, window in enumerate(windows, start=start) if k in kept]
        start += len(windows)
        if some:
            chosen.append((bag, some))
        else:
            report.bags_skipped += 1
    return chosen


def pairs_of_bag(plan: PairPlan, number: int, *, report: PairsReport) -> Iterator[Pair]:
    """Stream the pairs of one bag of a plan; errors are counted and never fatal."""
    bag, windows = plan.bags[number], plan.windows[number]
    count = 0
    cut = cut_recordings if is_mapping(bag) else cut_bag
    pairs = (pair for _, pair in cut(bag, windows, plan.options, report=report))
    try:
        for pair in viewed(pairs, plan.views, report=report):
            count += 1
            _count(pair, report)
            yield pair
    except (BagError, OSError) as error:
        report.problem(f'{bag}: {error}; the rest of the bag is lost')
    report.bags_used += count > 0
    report.bags_skipped += count == 0


def _count(pair: Pair, report: PairsReport) -> None:
    report.pairs += 1
    report.samples.update(pair.modalities)
    report.generated.update(pair.generated.keys())
    for modality in pair.generated:  # counted as missing when the window was cut
        report.dropped[f'windows without {modality}'] -= 1
    report.dropped = +report.dropped
    report.texts.update(text.source for text in pair.texts)


def stream_pairs(plan: PairPlan, *, report: PairsReport) -> Iterator[Pair]:
    """Stream all pairs of a plan from its bags, one bag after the other."""
    for number in range(len(plan.bags)):
        yield from pairs_of_bag(plan, number, report=report)


def spread_pairs(plan: PairPlan, spread: Spread, *, report: PairsReport) -> Iterator[Pair]:
    """Do as `stream_pairs` on an executor; the pairs of a bag arrive together."""
    alone = (
        replace(plan, bags=(bag,), windows=(windows,), entries={})
        for bag, windows in zip(plan.bags, plan.windows, strict=True)
    )
    for pairs, own in spread(_pairs_alone, alone):
        report.add(own)
        yield from pairs


def _pairs_alone(plan: PairPlan) -> tuple[list[Pair], PairsReport]:
    report = PairsReport()
    return list(stream_pairs(plan, report=report)), report


@dataclass
class StreamedPairs:
    """Pairs that are read from their bags on demand; a few bags are kept in memory.

    Args:
        plan: See `plan_pairs`. Every bag is read once to find out which windows have a sample.
    """

    plan: PairPlan
    report: PairsReport = field(default_factory=PairsReport)
    blocks: list[range] = field(default_factory=list)
    _held: OrderedDict[int, list[Pair]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        start = 0
        for number in range(len(self.plan.bags)):
            count = len(self._bag(number))
            self.blocks.append(range(start, start + count))
            start += count

    def __len__(self) -> int:
        return self.blocks[-1].stop if self.blocks else 0

    def read(self, index: int) -> Pair:
        """Read one pair."""
        number = next(k for k, block in enumerate(self.blocks) if index in block)
        return self._bag(number)[index - self.blocks[number].start]

    def outline(self, index: int) -> Pair:
        """Read one pair; the same as `read`."""
        return self.read(index)

    def _bag(self, number: int) -> list[Pair]:
        if number not in self._held:
            # Only the first pass over a bag is counted in the report.
            report = self.report if number == len(self.blocks) else PairsReport()
            self._held[number] = list(pairs_of_bag(self.plan, number, report=report))
            while len(self._held) > HELD_BAGS:
                self._held.popitem(last=False)
        self._held.move_to_end(number)
        return self._held[number]


def manifest_of(plan: PairPlan, report: PairsReport, **more: Any) -> dict[str, Any]:
    """Content of the manifest about data and origin."""
    return {
        'bags': [bag.name for bag in plan.bags],
        'modalities': dict(sorted(report.samples.items())),
        'generated': dict(sorted(report.generated.items())),
        'options': plain(plan.options),
        'entries': dict(sorted(plan.entries.items())),
        'report': report.described(),
        **more,
    }
