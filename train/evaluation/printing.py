"""The results of an evaluation as text."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from train.evaluation.asked import GroupResult
from train.evaluation.evaluate import group_of
from train.evaluation.intervals import Interval
from train.evaluation.report import Evaluation
from train.fitted_table import print_table

WAY_NAMES = {
    'sides': 'all sentences',
    'exchanged': 'all sentences, the other way round',
    'sentence': 'one sentence',
    'denial': 'the denial of one sentence',
}


def print_evaluation(evaluation: Evaluation) -> None:
    """Print a table of all predicates in the first two wordings, and all summaries."""
    console = Console()
    _print_predicates(evaluation, console)
    for name, found in evaluation.emergent.items():
        recalls = ', '.join(
            f'R@{k} {recall} ({found.times_chance(k):.1f} x chance)'
            for k, recall in found.recall.items()
        )
        console.print(f'emergent {name} of {found.candidates}: {recalls}')
    read = ', '.join(f'{name} from its {what}' for name, what in evaluation.read_from.items())
    console.print(f'read: {read}')
    for wording in evaluation.results:
        _print_wording(evaluation, wording, console)


def _print_predicates(evaluation: Evaluation, console: Console) -> None:
    wordings = list(evaluation.results)[:2]
    by_wording = [
        {(r.name, r.modality): r for r in evaluation.results[wording]} for wording in wordings
    ]
    known = {key: r for results in reversed(by_wording) for key, r in results.items()}
    modalities = list(dict.fromkeys(modality for _, modality in known))
    title = f'{evaluation.model} on {evaluation.bags} bags: AUROC, {" / ".join(wordings)}'
    table = Table(title=title)
    table.add_column('predicate')
    table.add_column('group')
    for name in ('true', 'false', *modalities):
        table.add_column(name, justify='right')
    for name in dict.fromkeys(name for name, _ in known):
        one = next(known[name, m] for m in modalities if (name, m) in known)
        cells = [
            ' / '.join(
                f'{results[name, m].auroc:.2f}' if (name, m) in results else '-'
                for results in by_wording
            )
            for m in modalities
        ]
        table.add_row(name, group_of(name), str(one.positives), str(one.negatives), *cells)
    print_table(table, console)


def _print_wording(evaluation: Evaluation, wording: str, console: Console) -> None:
    def say(line: str) -> None:
        console.print(f'{wording}: {line}')

    if wording in evaluation.calibration_error:
        error = evaluation.calibration_error[wording]
        say(
            f'calibration error of fused probabilities {error.pooled} over all predicates; '
            f'median of each {error.per_predicate} (by luck alone {error.by_luck})'
        )
    for line in evaluation.relations[wording]:
        say(
            f'{line.relation} ({line.predicates}) {line.modality} '
            f'{line.auroc:.3f}{_shown(line.interval)}, '
            f'fused {line.fused}{_shown(line.fused_interval)}'
        )
    medians = [
        f'{group} {value:.3f}{_shown(evaluation.median_intervals[wording][group])}'
        for group, value in evaluation.medians[wording].items()
    ]
    say(f'best modality: {", ".join(medians)}')
    say(f'groups: {_groups(evaluation.groups[wording])}')
    for way, found in evaluation.asked[wording].items():
        say(f'asked by {WAY_NAMES[way]}: {_groups(found)}')
    if wording in evaluation.exclusive:
        both = evaluation.exclusive[wording]
        say(
            f'sentence and denial: sum differs from 1 by at most {both.largest} for '
            f'{both.predicates} calibrated predicates ({both.not_calibrated} not calibrated); '
            f'too far {both.violated or "none"}'
        )
    for question, named in evaluation.which_thing[wording].items():
        shares = ', '.join(f'{m} {share}' for m, share in named.first.items())
        say(f'{question} named first: {shares} (chance {named.chance}, {named.samples} samples)')
    say(f'in view: {_groups(evaluation.visible[wording])}')
    if evaluation.hidden_facts:
        say(f'true while out of view: {_groups(evaluation.hidden[wording]) or "too few"}')
    say(f'fused worse {evaluation.fused_worse[wording] or "none"}')
    say(f'fused below the best sensor {evaluation.below_best.get(wording) or "none"}')
    say(f'reversed {evaluation.reversed_predicates[wording] or "none"}')


def _groups(groups: Mapping[str, GroupResult]) -> str:
    return ', '.join(
        f'{name} {one.median:.3f}{_shown(one.interval)} (lowest {one.lowest:.2f}, '
        f'{one.below_half} of {one.predicates} below 0.5)'
        for name, one in groups.items()
    )


def _shown(interval: Interval | None) -> str:
    return '' if interval is None else f' [{interval[0]:.3f}, {interval[1]:.3f}]'
