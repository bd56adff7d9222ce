"""A set with series and images: written, verified, packed, joined and exported as others are."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders import Binder, PredicateBank, Series
from encoders.decode.series import WRENCH
from encoders.modalities import LIVE, SERIES, STANDARD
from encoders.model_sets.files import verify
from encoders.model_sets.golden import golden_input
from encoders.model_sets.join import join
from encoders.predicates.predicate import Predicate
from encoders.vision import export
from encoders.vision.vit import VisionTower, is_own
from lb_ros.cli import main
from tests.encoders.decode.series_messages import forces
from tests.series_sets import SQUARE, spec_of, write_series_set

TIMES_S = np.arange(-2, 0, 0.004)
missing = [name for name in export.PACKAGES if importlib.util.find_spec(name) is None]


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series_set(tmp_path_factory.mktemp('models') / 'felt', frame_id='tool0')


def test_series_share_the_trunk_and_nothing_of_their_stem() -> None:
    series, image = spec_of('wrench').vision, SQUARE
    names = [name for name, _ in VisionTower(series).named_parameters()]
    own = {name for name in names if is_own(name, series)}
    assert {n for n in names if n.startswith('embeddings.patch_embedding.')} <= own
    shared = set(names) - own
    assert shared <= {n for n, _ in VisionTower(image).named_parameters()}
    assert any('mlp.fc1' in name for name in shared)


def test_a_written_set_is_verified_and_embeds_series(folder: Path) -> None:
    assert max(verify(folder).values()) < 1e-4
    binder = Binder.load(folder)
    series = Series(forces(TIMES_S), TIMES_S, WRENCH, frame_id='base')
    inputs = binder.preprocess('wrench', series)
    assert tuple(inputs.shape) == (1, 6, 25, 34)
    found = binder.embed(wrench=series, depth=golden_input('depth'))
    np.testing.assert_allclose(np.linalg.norm(found['wrench'], axis=1), 1, atol=1e-5)
    assert found.invalid == {}
    evidence = binder.observe(wrench=series)['wrench']
    np.testing.assert_allclose(evidence.vector, found['wrench'][0], atol=1e-5)
    assert binder.remarks('wrench', series) == ['its frame is base, trained in tool0']
    assert binder.remarks('depth', golden_input('depth')) == []
    with pytest.raises(KeyError, match="no encoder for 'touch'"):
        binder.remarks('touch', series)


def test_packed_series_equal_single_ones(folder: Path) -> None:
    binder = Binder.load(folder)
    raw = {name: [golden_input(name)] * 2 for name in binder.modalities}
    together = binder.embed(**raw)
    for name, samples in raw.items():
        alone = binder.embed(**{name: samples[0]})[name]
        np.testing.assert_allclose(together[name], np.repeat(alone, 2, 0), atol=1e-5)


def test_a_predicate_is_unknown_with_the_reason_if_its_channel_is_dead(folder: Path) -> None:
    binder = Binder.load(folder)
    bank = PredicateBank([Predicate('held', ('held',), ('free',), ('wrench',))], binder)
    dead = Series(np.zeros((500, 6)), TIMES_S, WRENCH)
    score = bank.score(binder.embed(wrench=dead))[0]
    assert not score.can_tell
    assert any('force.x is constant at 0' in reason for reason in score.reasons)
    alive = Series(forces(TIMES_S), TIMES_S, WRENCH)
    assert 'wrench' in bank.score(binder.embed(wrench=alive))[0].similarity


def test_series_join_a_set_of_images(folder: Path, tiny_model_set: Path, tmp_path: Path) -> None:
    joined = join([tiny_model_set, folder], tmp_path / 'both', name='both')
    assert {'image', 'audio', *SERIES} <= set(joined.modalities)
    assert max(verify(tmp_path / 'both').values()) < 1e-4
    one, both = Binder.load(folder), Binder.load(tmp_path / 'both')
    raw = golden_input('imu')
    np.testing.assert_allclose(both.embed(imu=raw)['imu'], one.embed(imu=raw)['imu'], atol=1e-5)


@pytest.mark.skipif(bool(missing), reason=f'the extra `export` lacks {missing}')
def test_series_are_exported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['models', 'export', str(folder), '--modalities', 'joints', '--out', str(tmp_path)]
    assert main([*words, '--json']) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry['deviation'] < 1e-5


def test_series_have_nodes_that_run_when_they_are_named() -> None:
    assert set(SERIES) <= set(LIVE)
    assert not set(SERIES) & set(STANDARD)


@pytest.mark.parametrize(
    ('change', 'line'),
    [({'image_size': (25, 35)}, 'not .patches, values. of series'), ({'frames': 2}, 'no frames')],
)
def test_impossible_shapes_are_refused(change: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        replace(spec_of('wrench').vision, **change)
