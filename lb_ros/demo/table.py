"""The tables of the demonstration: live answers beside the truth, and the summary."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from encoders import State
from lb_ros.demo.recording import FUSED, PredicateSummary, Recording

TRUTH = {True: Text('yes', 'green'), False: Text('no', 'dim'), None: Text('-', 'dim')}
STATE = {
    State.TRUE: Text('TRUE', 'bold green'),
    State.FALSE: Text('FALSE', 'dim'),
    State.UNKNOWN: Text('unknown', 'yellow'),
}


def live_table(recording: Recording, modalities: Sequence[str], *, limit: int) -> Table:
    """The newest answers; predicates that have been true come first, `limit` rows at most."""
    table = Table(title='what the sensors say', expand=False)
    table.add_column('predicate', min_width=24, no_wrap=True)
    table.add_column('truth', justify='center')
    table.add_column('state', justify='center')
    for name in (FUSED, *modalities):
        table.add_column(name, justify='right')
    names = list(dict.fromkeys([*recording.truths, *recording.answers]))
    names.sort(key=lambda name: not _worth_showing(recording, name))
    for name in names[:limit]:
        table.add_row(name, *_cells(recording, name, modalities))
    if len(names) > limit:
        table.caption = f'and {len(names) - limit} more'
    return table


def _worth_showing(recording: Recording, name: str) -> bool:
    return name not in recording.truths or any(value for _, value in recording.truths[name])


def _cells(recording: Recording, name: str, modalities: Sequence[str]) -> list[Text]:
    truths, states, answers = (
        recording.truths.get(name),
        recording.states.get(name),
        recording.answers.get(name),
    )
    newest = answers[-1].probability if answers else {}
    cells = [
        TRUTH[truths[-1][1] if truths else None],
        STATE[states[-1][1] if states else State.UNKNOWN],
    ]
    return cells + [_probability(newest.get(column)) for column in (FUSED, *modalities)]


def _probability(value: float | None) -> Text:
    if value is None:
        return Text('-', 'dim')
    style = 'bold green' if value >= 0.6 else 'dim' if value <= 0.4 else 'yellow'
    return Text(f'{value:.2f}', style)


def summary_table(summaries: Sequence[PredicateSummary]) -> Table:
    """How well each predicate was answered: AUROC per modality, states, delay."""
    columns = list(dict.fromkeys(line.modality for line in summaries))
    columns.sort(key=lambda name: (name != FUSED, name))
    table = Table(title='AUROC by modality; state accuracy; time from truth to state')
    table.add_column('predicate', min_width=24, no_wrap=True)
    for heading in ('true', 'false', *columns, 'AP', 'states', 'delay'):
        table.add_column(heading, justify='right')
    for name in dict.fromkeys(line.name for line in summaries):
        mine = {line.modality: line for line in summaries if line.name == name}
        fused = mine.get(FUSED)
        if fused is None or fused.auroc is None:
            continue
        areas = [_number(mine[c].auroc if c in mine else None) for c in columns]
        table.add_row(
            name,
            str(fused.positives),
            str(fused.negatives),
            *areas,
            _number(fused.average_precision),
            _number(fused.state_accuracy),
            '-' if fused.delay_s is None else f'{fused.delay_s:.1f} s',
        )
    return table


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
