"""`lb-ros eval --predicates`: a file's predicates by their text, and as taught."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lb_ros.cli import main
from train.teaching.own import state_accuracy

MOMENTS = [{'open(top drawer)': i % 6 > 2} for i in range(36)]
# The text says the opposite of what the bags show.
PREDICATES = """
predicates:
  open(top drawer): {positive: [the top drawer is closed], negative: [the top drawer is open],
                     modalities: [image, depth]}
  lid: {positive: [the lid is on], modalities: [image]}
"""


@pytest.fixture(scope='module')
def bags(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('bags')
    for number, name in enumerate(('one', 'two')):
        drawn.write(folder / name, MOMENTS, seed=number)
    return folder


def test_a_state_between_the_thresholds_counts_half() -> None:
    truth = np.array([True, True, False, False])
    odds = np.array([3.0, 0.0, -3.0, 3.0])
    assert state_accuracy(odds, truth, on=0.6, off=0.4) == pytest.approx((0.75 + 0.5) / 2)


def test_teaching_shows_in_other_bags(
    bags: Path, tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text(PREDICATES)
    common = ['--predicates', str(file), '--model', str(tiny_model_set)]
    ask = ['eval', '--data', str(bags), *common, '--json', '--workers', '1']
    ask += ['--cache', str(tmp_path / 'cache')]
    assert main(ask) == 0
    output = capsys.readouterr()
    (before,) = json.loads(output.out)['predicates']
    assert before['taught'] is None and before['presses'] == [0, 0]
    assert 'lid: the bags hold no ground truth of it' in output.err
    assert main(['teach', '--data', str(bags / 'one'), *common, '--precision', 'fp32']) == 0
    capsys.readouterr()
    assert main(ask) == 0
    found = json.loads(capsys.readouterr().out)
    (after,) = found['predicates']
    assert after['left_out_bags'] == 1 and after['presses'] == [6, 6]
    assert after['positives'] + after['negatives'] == len(MOMENTS)
    assert after['taught']['state'] > after['text']['state']
    assert found['taught']['state']['taught'] == after['taught']['state']
    assert main(ask[:-5] + ask[-4:]) == 0
    assert '6 true, 6 false' in capsys.readouterr().out


def test_what_was_taught_needs_its_predicates(
    bags: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bags / 'one' / 'metadata.yaml'
    assert main(['eval', '--data', str(bags), '--taught', str(file)]) == 2
    assert '--taught needs --predicates' in capsys.readouterr().err
