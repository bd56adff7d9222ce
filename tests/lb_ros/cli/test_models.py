"""`lb-ros models` of sets with readouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from encoders.model_sets.readouts import FILE
from lb_ros.cli import main
from tests.readouts import copy_with_readouts


@pytest.fixture
def folder(tiny_model_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('LB_ROS_MODELS', str(tmp_path / 'pulled'))
    (tmp_path / 'pulled').mkdir()
    return copy_with_readouts(tiny_model_set, tmp_path / 'pulled' / 'tiny', modalities=['depth'])


def test_list_and_inspect_show_readouts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['models', 'list', '--json']) == 0
    here = {one['name']: one for one in json.loads(capsys.readouterr().out)['here']}
    assert here['tiny']['readouts'] == ['depth']
    assert main(['models', 'list']) == 0
    assert f'tiny  {folder}  readouts: depth' in capsys.readouterr().out
    assert main(['models', 'inspect', 'tiny', '--json']) == 0
    readouts = json.loads(capsys.readouterr().out)['readouts']
    assert readouts['modalities'] == {'depth': {'tokens': 17, 'width': 16, 'layers': 1}}
    assert not readouts['calibrated']
    assert readouts['provenance'] == {'recipe': 'random'}


def test_verify_checks_readouts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['models', 'verify', 'tiny']) == 0
    assert '; readouts of depth' in capsys.readouterr().out
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / FILE).items()}
    save_file(tensors, folder / FILE)
    assert main(['models', 'verify', 'tiny']) == 1
    assert 'train it again on this set' in capsys.readouterr().err


def test_join_says_which_readouts_are_lost(
    folder: Path, tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'joined'
    assert main(['models', 'join', 'tiny', str(tiny_model_set), '--out', str(out)]) == 0
    told = capsys.readouterr().out
    assert 'the readout of depth was of another encoder and is left out' in told
    assert not (out / FILE).exists()
    again = tmp_path / 'again'
    assert main(['models', 'join', str(tiny_model_set), 'tiny', '--out', str(again)]) == 0
    assert 'left out' not in capsys.readouterr().out
    assert (again / FILE).is_file()
