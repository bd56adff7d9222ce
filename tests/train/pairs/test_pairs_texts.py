"""The sentences of pairs: annotations, sidecars and views."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.train.pairs.pair_bags import START_S, pairs_of, said, write_texts
from train.pairs.make import plan_pairs, stream_pairs
from train.pairs.options import PairOptions, PairsReport
from train.pairs.record import decode
from train.pairs.sidecar import SidecarError, read_sidecar
from train.pairs.views import Views, with_views
from train.views.named import Each, EachGenerated


def test_annotations_hold_until_the_next_and_tasks_to_the_end(tmp_path: Path) -> None:
    texts = {
        '/task/text': [(0.0, 'tidy up')],
        '/annotations': [(1.0, 'reach'), (3.0, 'grasp'), (4.0, '')],
    }
    bag = write_texts(tmp_path / 'bag', texts, frames_s=[0.5 * k for k in range(13)])
    pairs, _ = pairs_of(bag, modalities=('image',), every_s=1.0, window_s=1.0)
    task = ('tidy up', 'task')
    reach, grasp = ('reach', 'annotation'), ('grasp', 'annotation')
    expected = [{task, reach}, {task, reach}, {task, grasp}, {task}, {task}, {task}]
    assert said(pairs) == expected


@pytest.mark.parametrize('suffix', ['csv', 'yaml', 'json'])
def test_a_sidecar_of_any_kind_gives_its_sentences(tmp_path: Path, suffix: str) -> None:
    rows = [
        {'start': 0.0, 'end': 2.4, 'text': 'the arm, at rest'},
        {'start': START_S + 3.0, 'end': START_S + 4.0, 'text': 'odd noise', 'kind': 'note'},
        {'start': 0, 'end': 9, 'text': 'another bag', 'bag': 'other'},
    ]
    path = tmp_path / f'notes.{suffix}'
    if suffix == 'csv':
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, ['start', 'end', 'text', 'bag', 'kind'])
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(buffer.getvalue())
    else:
        path.write_text(json.dumps(rows) if suffix == 'json' else yaml.safe_dump(rows))
    bag = write_texts(tmp_path / 'bag', {}, frames_s=[0.5 * k for k in range(11)])
    options = {'modalities': ('image',), 'sidecar': read_sidecar(path)}
    pairs, report = pairs_of(bag, every_s=1.0, **options)
    assert said(pairs) == [{('the arm, at rest', 'sidecar')}] * 2 + [{('odd noise', 'note')}] * 2
    assert report.dropped['sidecar sentences of other bags'] == 1
    assert report.dropped['windows without a sentence'] == 1
    pairs, _ = pairs_of(bag, windows_at='texts', **options)
    ranges = [((p.start_ns - START_S * 10**9) / 1e9, (p.end_ns - START_S * 10**9) / 1e9)
              for p in pairs]  # fmt: skip
    assert ranges == [(0.0, 2.4), (3.0, 4.0)]


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        ('start,end\n1,2\n', "row 1: no 'text'"),
        ('start,end,text\nnow,2,x\n', 'row 1: start and end must be seconds'),
        ('start,end,text\n3,2,x\n', r'row 1: ends at 2\.0 s before it starts'),
        ('start,end,text,mood\n1,2,x,y\n', "row 1: unknown key 'mood'"),
        ('start,end,text\n1,2, \n', 'row 1: the text is empty'),
    ],
)
def test_an_unusable_sidecar_row_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / 'notes.csv'
    path.write_text(content)
    with pytest.raises(SidecarError, match=says):
        read_sidecar(path)


def flat(sample: Any) -> Any:
    """The same depth everywhere."""
    return np.full(sample.shape[:2], 1500, np.uint16)


def test_views_add_sentences_and_marked_sensors(tmp_path: Path) -> None:
    bag = write_texts(tmp_path / 'bag', {'/task/text': [(0.0, 'Tidy up')]}, frames_s=[0, 1])
    (pair,), _ = pairs_of(bag, modalities=('image', 'depth'), every_s=1.0)
    views = Views(
        templates=('a robot that should {}',),
        paraphrases={'tidy up': ('clean the table',)},
        captioners={
            'shade': Each(lambda samples: [f'a picture of shade {samples["image"].max()}'])
        },
        refiners={'count': Each(lambda texts: [f'{len(texts)} things were said'])},
        generators={'depth': EachGenerated(flat, 'image', 'flat')},
    )
    (rich,) = with_views([pair], views)
    assert [(t.text, t.source, t.maker) for t in rich.texts] == [
        ('Tidy up', 'task', ''),
        ('clean the table', 'paraphrase', ''),
        ('a robot that should Tidy up', 'template', ''),
        ('a picture of shade 2', 'caption', 'shade'),
        ('4 things were said', 'refined', 'count'),
    ]
    assert rich.generated == {'depth': 'flat'}
    assert (decode('depth', rich.files) == 1500).all()
    (again,) = with_views([rich], views)  # measured or made before: not made again
    assert again.files == rich.files


def test_a_failing_view_costs_only_itself(tmp_path: Path) -> None:
    bag = write_texts(tmp_path / 'bag', {'/task/text': [(0.0, 'x')]}, frames_s=[0, 1, 2])

    def broken(samples: Any) -> list[str]:
        if samples['image'].max() == 2:  # of the first window
            raise RuntimeError('no model')
        return ['a picture']

    report = PairsReport()
    options = PairOptions(modalities=('image',))
    plan = plan_pairs([bag], options, report=report, views=Views(captioners={'b': Each(broken)}))
    first, second = stream_pairs(plan, report=report)
    assert [text.source for text in first.texts] == ['task']
    assert [text.source for text in second.texts] == ['task', 'caption']
    assert report.dropped['views that failed'] == 1
    assert 'RuntimeError: no model' in report.problems[-1]
