"""`lb-ros teach --data`: labelled bags to taught predicates, and their use by `score`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from encoders.predicates.taught_file import load_lessons, taught_path
from lb_ros.cli import main
from tests.readouts import copy_with_readouts
from train.teaching.labels import read_labels

MOMENTS = [{'open(top drawer)': i % 6 > 2} for i in range(36)]
PREDICATES = """
predicates:
  # The text says the opposite of what the bags show.
  drawer: {positive: [the top drawer is closed], negative: [the top drawer is open],
           modalities: [image, depth]}
"""
HEAD = 'bag,predicate,start_s,end_s,truth\n'


@pytest.fixture(scope='module', params=['vectors', 'tokens'])
def model(
    request: pytest.FixtureRequest, tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    if request.param == 'vectors':
        return tiny_model_set
    folder = tmp_path_factory.mktemp('set') / 'with_readouts'
    return copy_with_readouts(tiny_model_set, folder, modalities=('depth', 'image'))


@pytest.fixture(scope='module')
def bags(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('bags')
    for number, name in enumerate(('one', 'two')):
        drawn.write(folder / name, MOMENTS, seed=number)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / 'mine.yaml'
    path.write_text(PREDICATES)
    return path


def labels(tmp_path: Path) -> Path:
    """The drawer is open for 1.5 s out of every 3."""
    rows = [
        f'one,drawer,{start},{start + 1.0},{"true" if number % 2 else "false"}\n'
        for number, start in enumerate(np.arange(0, 18, 1.5))
    ]
    path = tmp_path / 'labels.csv'
    path.write_text(HEAD + ''.join(rows))
    return path


def right(scores: Path) -> float:
    """Share of moments at which the drawer is said to be as it is; the bag knows it by name."""
    rows = [row for row in pq.read_table(scores).to_pylist() if row['modality'] == 'fused']
    open_ = [MOMENTS[min(35, round(row['time_s'] / 0.5))]['open(top drawer)'] for row in rows]
    return float(
        np.mean([(row['probability'] > 0.5) == o for row, o in zip(rows, open_, strict=True)])
    )


def test_labels_teach_what_scoring_then_uses(
    bags: Path, model: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['teach', '--data', str(bags / 'one'), '--labels', str(labels(tmp_path))]
    words += ['--predicates', str(file), '--model', str(model), '--precision', 'fp32', '--json']
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told['presses'] == 12
    (row,) = told['taught']
    assert (row['true'], row['false']) == (6, 6) and row['left_out'] > 0.8
    assert set(row['sensors']) <= {'image', 'depth'}
    assert main(words) == 0  # the same labels again are the same presses
    assert json.loads(capsys.readouterr().out)['taught'][0]['true'] == 6
    lessons = load_lessons(taught_path(file))
    assert lessons is not None and len(lessons.by_name['drawer'].presses) == 12
    scoring = ['score', str(bags / 'two'), '--predicates', str(file), '--model', str(model)]
    scoring += ['--precision', 'fp32', '--no-timeline']
    assert main([*scoring, '-o', str(tmp_path / 'taught.parquet')]) == 0
    assert right(tmp_path / 'taught.parquet') > 0.85
    taught_path(file).unlink()
    assert main([*scoring, '-o', str(tmp_path / 'text.parquet')]) == 0
    assert right(tmp_path / 'text.parquet') < 0.75


def test_ground_truth_teaches_one_press_for_each_stretch(
    bags: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text(
        'predicates:\n  drawer: {positive: [the top drawer is open],'
        ' negative: [the top drawer is closed]}\n'
    )
    out = tmp_path / 'out.taught.safetensors'
    words = ['teach', '--data', str(bags), '--predicates', str(file), '--model', str(model)]
    assert main([*words, '-o', str(out)]) == 0
    assert 'drawer: 12 true, 12 false' in capsys.readouterr().out
    lessons = load_lessons(out)
    assert lessons is not None
    presses = lessons.by_name['drawer'].presses
    assert {press.source for press in presses} == {'one', 'two'}
    assert all(1 < press.frames <= 4 for press in presses)
    reads = bool(presses[0].states)
    assert reads == (model.name == 'with_readouts')


def test_a_sentence_of_the_labels_becomes_a_predicate(
    bags: Path, tiny_model_set: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'labels.csv'
    path.write_text(HEAD + 'one,the lid is screwed on,0,1,true\none,the lid is screwed on,2,3,0\n')
    out = tmp_path / 'o.taught.safetensors'
    words = ['teach', '--data', str(bags / 'one'), '--labels', str(path)]
    assert main([*words, '--model', str(tiny_model_set), '-o', str(out)]) == 0
    lessons = load_lessons(out)
    assert lessons is not None and list(lessons.by_name) == ['the lid is screwed on']


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        ('bag,predicate,start_s,truth\n', ':1: no column end_s'),
        (HEAD, 'has no labels'),
        (HEAD + 'one,drawer,0,x,true\n', ':2: end_s must be a number'),
        (HEAD + 'one,drawer,2,1,true\n', ':2: end_s (1) is before start_s (2)'),
        (HEAD + 'one,drawer,0,1,maybe\n', ":2: truth must be true, false or unclear, not 'maybe'"),
        (HEAD + ',drawer,0,1,true\n', ':2: bag is empty'),
        (HEAD + 'one,drawer,-1,1,true\n', ':2: start_s must be 0 or more'),
        (HEAD + 'one,drawer,0\n', ':2: end_s must be a number'),
    ],
)
def test_unusable_labels_are_named(content: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / 'labels.csv'
    path.write_text(content)
    with pytest.raises(ValueError) as refused:
        read_labels(str(path))
    assert complaint in str(refused.value) and str(path) in str(refused.value)


def test_bags_without_labels_teach_nothing(
    bags: Path, tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'labels.csv'
    path.write_text(HEAD + 'other bag,drawer,0,1,true\none,drawer,900,901,true\n')
    out = tmp_path / 'o.taught.safetensors'
    words = ['teach', '--data', str(bags), '--labels', str(path), '-o', str(out)]
    assert main([*words, '--model', str(tiny_model_set)]) == 2
    told = capsys.readouterr().err
    assert 'no labels of these predicates' in told
    assert "no evidence for 'drawer' at 900.0 s" in told
    assert not out.exists()


def test_what_was_taught_to_another_set_is_left_alone(
    bags: Path, tiny_model_set: Path, file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ['--predicates', str(file), '--precision', 'fp32', '--model', str(tiny_model_set)]
    teaching = ['teach', '--data', str(bags / 'one'), '--labels', str(labels(tmp_path)), *words]
    assert main(teaching) == 0
    path = taught_path(file)
    path.write_bytes(path.read_bytes().replace(b'minilm', b'mimilm'))
    before = path.read_bytes()
    capsys.readouterr()
    assert main(teaching) == 2
    assert 'taught in the language space' in capsys.readouterr().err
    scoring = ['score', str(bags / 'two'), *words, '--no-timeline']
    assert main([*scoring, '-o', str(tmp_path / 'text.parquet')]) == 0
    assert 'predicates are read from their text' in capsys.readouterr().err
    assert path.read_bytes() == before
