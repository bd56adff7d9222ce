"""The tables of the demonstration: live scores next to the ground truth, and the summary."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from encoders import State
from lb_ros.demo.recording import FUSED, PredicateSummary, Recording

TRUTH = {True: Text('yes', 'green'), False: Text('no', 'dim'), None: Text('-', 'dim')}
WIDE = Console(width=10_000)  # to measure the width that a table needs
STATE = {
    State.TRUE: Text('TRUE', 'bold green'),
    State.FALSE: Text('FALSE', 'dim'),
    State.UNKNOWN: Text('unknown', 'yellow'),
}


def live_table(
    recording: Recording,
    modalities: Sequence[str],
    *,
    limit: int,
    holding_first: bool = False,
    width: int | None = None,
) -> Table:
    """Return the newest scores, at most `limit` rows.

    If the columns do not fit into `width`, those of the modalities are left out and named in the
    caption.

    Predicates that have been true come first, so that rows keep their place in a live view; with
    `holding_first`, for an image, those that are true now.
    """
    table = _live_table(recording, modalities, limit=limit, holding_first=holding_first)
    if width is None or Measurement.get(WIDE, WIDE.options, table).maximum <= width:
        return table
    narrow = _live_table(recording, (), limit=limit, holding_first=holding_first)
    hidden = f'not shown in {width} columns: {", ".join(modalities)}'
    narrow.caption = f'{narrow.caption}; {hidden}' if narrow.caption else hidden
    return narrow


def _live_table(
    recording: Recording, modalities: Sequence[str], *, limit: int, holding_first: bool
) -> Table:
    # No vertical lines: they break up if a viewer lacks the font of the layout.
    table = Table(title='what the sensors say', box=SIMPLE_HEAD, expand=False)
    table.add_column('predicate', min_width=24, no_wrap=True)
    table.add_column('truth', justify='center')
    table.add_column('state', justify='center')
    for name in (FUSED, *modalities):
        table.add_column(name, justify='right')
    names = list(dict.fromkeys([*recording.truths, *recording.answers]))
    names.sort(key=lambda name: not _worth_showing(recording, name))
    if holding_first:
        names.sort(key=lambda name: not _holds_now(recording, name))
    for name in names[:limit]:
        table.add_row(name, *_cells(recording, name, modalities))
    if len(names) > limit:
        table.caption = f'and {len(names) - limit} more'
    return table


def _holds_now(recording: Recording, name: str) -> bool:
    truths = recording.truths.get(name)
    return truths is None or bool(truths[-1][1])


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
    cells.append(_probability(newest.get(FUSED)))
    return cells + [_evidence(newest.get(column)) for column in modalities]


def _evidence(value: float | None) -> Text:
    # One modality alone is seldom conclusive, so only the fused column is coloured.
    if value is None:
        return Text('-', 'dim')
    return Text(f'{value:.2f}', '' if abs(value - 0.5) > 0.1 else 'dim')


def _probability(value: float | None) -> Text:
    if value is None:
        return Text('-', 'dim')
    style = 'bold green' if value >= 0.6 else 'dim' if value <= 0.4 else 'yellow'
    return Text(f'{value:.2f}', style)


def summary_table(summaries: Sequence[PredicateSummary]) -> Table:
    """Return the accuracy for each predicate: AUROC per modality, states, delay."""
    columns = list(dict.fromkeys(line.modality for line in summaries))
    columns.sort(key=lambda name: (name != FUSED, name))
    title = 'AUROC by modality; state accuracy; time from truth to state'
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column('predicate', min_width=24, no_wrap=True)
    for heading in ('true', 'false', *columns, 'AP', 'states', 'delay'):
        table.add_column(heading, justify='right', no_wrap=True)
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


def sentences_table(recording: Recording, sentences: Sequence[str]) -> Table:
    """Return the scores of the user's own sentences, which have no ground truth."""
    table = Table(title='your sentences, over the whole run', box=SIMPLE_HEAD)
    table.add_column('sentence', min_width=24)
    for heading in ('lowest', 'median', 'highest', 'TRUE'):
        table.add_column(heading, justify='right', no_wrap=True)
    for name in dict.fromkeys(sentences):
        answers = recording.answers.get(name, [])
        fused = sorted(answer.probability[FUSED] for answer in answers)
        if not fused:
            table.add_row(name, '-', '-', '-', 'no answer')
            continue
        held = [recording.state_at(name, answer.sensed_s) is State.TRUE for answer in answers]
        numbers = (fused[0], median(fused), fused[-1])
        table.add_row(name, *map(_number, numbers), f'{mean(held):.0%} of the time')
    return table


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
