"""Bags spread over the processes of a local Ray give what they give without it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lb_ros.cli import main

MOMENTS = [{'open(top drawer)': i % 4 > 1, 'dropped(something)': i == 7} for i in range(10)]
PREDICATES = """
predicates:
  drawer:
    positive: [the top drawer is open]
    negative: [the top drawer is closed]
"""


@pytest.fixture(scope='module')
def bags(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bags, one of them without a word, and a file that is no bag."""
    folder = tmp_path_factory.mktemp('bags')
    for number in range(3):
        skip = ['/ground_truth/predicates'] if number == 1 else []
        drawn.write(folder / f'bag{number}', MOMENTS, seed=number, skip=skip)
    (folder / 'odd.mcap').write_bytes(b'no bag at all')
    return folder


@pytest.mark.parametrize(
    'words', [['train', 'pairs', '--data'], ['score', '--model', 'lb-mini', '-o']]
)
def test_ray_is_an_extra(
    words: list[str], bags: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, 'ray', None)
    if words[0] == 'train':
        arguments = [*words, str(bags), '--out', str(tmp_path)]
    else:
        arguments = [*words, str(tmp_path), str(bags / 'bag0')]
    assert main([*arguments, '--ray']) == 2
    assert "pip install 'lb_ros[ray]'" in capsys.readouterr().err


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--ray` starts has two cores, whatever this machine has."""
    ray = pytest.importorskip('ray', reason="needs the extra: pip install 'lb_ros[ray]'")
    started = ray.init
    monkeypatch.setattr(ray, 'init', lambda **how: started(**how, num_cpus=2))


@pytest.mark.slow
@pytest.mark.usefixtures('two_processes')
def test_pairs_are_the_same_byte_for_byte(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['train', 'pairs', '--data', str(bags), '--pairs-per-shard', '7', '--json']
    told = {}
    for name, more in {'alone': [], 'spread': ['--ray']}.items():
        assert main([*arguments, '--out', str(tmp_path / name), *more]) == 0
        told[name] = json.loads(capsys.readouterr().out)
    assert told['alone'] == told['spread']
    assert told['alone']['bags_skipped'] == 2
    assert told['alone']['pairs'] == 20
    files = sorted(path.name for path in (tmp_path / 'alone').iterdir())
    assert files == sorted(path.name for path in (tmp_path / 'spread').iterdir())
    for name in files:
        assert (tmp_path / 'alone' / name).read_bytes() == (
            tmp_path / 'spread' / name
        ).read_bytes(), name


@pytest.mark.slow
@pytest.mark.usefixtures('two_processes')
def test_scores_are_the_same_and_so_is_an_error(
    bags: Path, tiny_model_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text(PREDICATES)
    monkeypatch.chdir(bags)  # paths that are relative are meant from here
    arguments = ['score', '--model', str(tiny_model_set), '--predicates', str(predicates)]
    arguments += ['--no-timeline', '--json']
    told = {}
    for name, more in {'alone': [], 'spread': ['--ray']}.items():
        out = tmp_path / name
        assert main([*arguments, '-o', str(out), 'bag0', 'bag1', 'bag2', *more]) == 0
        told[name] = json.loads(capsys.readouterr().out)
    for one, other in zip(told['alone'], told['spread'], strict=True):
        for key in ('bag', 'rows', 'windows', 'seconds', 'precision', 'problems'):
            assert one[key] == other[key]
        alone, spread = (pq.read_table(found['scores']) for found in (one, other))
        assert alone.schema.equals(spread.schema)
        assert len(alone) == one['rows'] > 0
        for row, same in zip(alone.to_pylist(), spread.to_pylist(), strict=True):
            assert row.keys() == same.keys()
            for name, value in row.items():
                near = isinstance(value, float)
                assert value == (pytest.approx(same[name], abs=1e-5) if near else same[name])
    failed = [*arguments, '-o', str(tmp_path / 'none'), 'bag0', 'odd.mcap', '--ray']
    assert main(failed) == 2
    assert 'odd.mcap' in capsys.readouterr().err
