"""From a bag to a bound encoder, with captions and depth of models: the commands of the docs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.train.pairs.pair_bags import write_texts
from tests.train.runs import REPOSITORY, run
from tests.train.views.models import write_blip, write_glpn
from train.pairs.shards import open_pair_set

pytest.importorskip('transformers')


def write_log(folder: Path) -> Path:
    texts = [(2.0 * k, f'task number {k}') for k in range(6)]
    return write_texts(folder, {'/task/text': texts}, frames_s=[0.5 * k for k in range(26)])


def test_pairs_with_captions_and_generated_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, out = write_log(tmp_path / 'bag'), tmp_path / 'pairs'
    blip, glpn = write_blip(tmp_path / 'blip'), write_glpn(tmp_path / 'glpn')
    pairs = ['train', 'pairs', '--data', bag, '--out', out, '--modalities', 'image', 'depth']
    pairs += ['--captioner', f'hf:{blip}', '--generator', f'depth=hf:{glpn}', '--batch', '4']
    assert run(monkeypatch, *pairs) == 0
    printed = capsys.readouterr().out
    made = open_pair_set(out)
    assert f'generated, not measured: depth {len(made)}' in printed
    assert 'dropped: 0 bags; nothing else' in printed
    for index in range(len(made)):
        pair = made.read(index)
        assert pair.generated['depth'].startswith('hf:glpn@')
        captions = [text for text in pair.texts if text.source == 'caption']
        assert captions
        assert {text.maker for text in captions} == {f'hf:{blip}'}
    assert made.manifest['generated'] == {'depth': len(made)}
    # A second run asks no model again.
    blip.rename(tmp_path / 'blip moved')
    cache = ['--view-cache', out / 'views.sqlite']
    again = [str(word).replace(str(out), str(tmp_path / 'again')) for word in pairs]
    assert run(monkeypatch, *again, *cache) == 2  # a model that is not there is refused at once
    (tmp_path / 'blip moved').rename(blip)
    assert run(monkeypatch, *again, *cache) == 0
    recipe = yaml.safe_load((REPOSITORY / 'config/recipes/probe.yaml').read_text())
    recipe |= {'modalities': ['depth'], 'batch': 4, 'max_steps': 3, 'warmup_steps': 1}
    recipe['patch_dropout'] = {'depth': recipe['patch_dropout']['depth']}
    (tmp_path / 'probe.yaml').write_text(yaml.safe_dump(recipe))
    trained = tmp_path / 'trained'
    contrast = ['train', 'contrast', '--config', tmp_path / 'probe.yaml', '--data', out]
    assert run(monkeypatch, *contrast, '--out', trained) == 0
    report = tmp_path / 'report.json'
    evaluate = ['eval', '--model', trained / recipe['name'], '--data', out, '--report', report]
    assert run(monkeypatch, *evaluate) == 0
    assert 'depth' in json.dumps(json.loads(report.read_text()))


def test_measured_and_generated_sensors_are_not_mixed_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bags = tmp_path / 'bags'
    bags.mkdir()
    write_log(bags / 'a')
    write_log(bags / 'b')
    glpn = write_glpn(tmp_path / 'glpn')
    pairs = ['train', 'pairs', '--data', bags, '--out', tmp_path / 'pairs', '--modalities']
    pairs += ['image', 'depth', '--generator', f'depth=hf:{glpn}']
    monkeypatch.setattr(
        'train.pairs.cli.bag_topics',
        lambda bag: {'depth/image': 'x'} if bag.name == 'a' else {'camera/image': 'x'},
    )
    assert run(monkeypatch, *pairs) == 2
    assert '1 of 2 bags measure depth' in capsys.readouterr().err
    assert run(monkeypatch, *pairs, '--mix-generated') == 0


def test_a_dry_run_prints_requests_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('openai')
    out = tmp_path / 'pairs'
    pairs = ['train', 'pairs', '--data', write_log(tmp_path / 'bag'), '--out', out]
    pairs += ['--modalities', 'image', '--refiner', 'openai:http://localhost:1/v1#m', '--dry-run']
    assert run(monkeypatch, *pairs) == 0
    printed = capsys.readouterr().out
    assert 'openai:http://localhost:1/v1#m: 6 requests' in printed
    assert 'task number 0' in printed
    assert not out.exists()
