"""Encoders whose channels are described in words take other channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoders import Binder, Series
from encoders.decode.channels import ChannelDescription
from encoders.errors import ModelSetError
from encoders.model_sets.described import with_channels
from encoders.model_sets.files import ModelSet, load_model_set, save_model_set
from encoders.text.minilm import text_tower
from tests.series_sets import described_set

CHANNELS = {
    'torque': ChannelDescription('torque about the tool axis, newton metres', floor=0.01),
    'angle': ChannelDescription('angle that the bit has turned, degrees', relative=True),
    'current': ChannelDescription('current of the motor, amperes', floor=0.1),
}


def made(channels: dict[str, ChannelDescription]) -> ModelSet:
    """A set as training makes it, without training."""
    return described_set(channels, window_s=0.8, centre=(0.1, 40.0, 2.0), scale=(0.5, 20.0, 1.0))


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('described') / 'felt'
    save_model_set(path, made(CHANNELS))
    return path


def binder_of(folder: Path, channels: dict[str, ChannelDescription], out: Path) -> Binder:
    """The set with other channels."""
    text = text_tower('minilm-l6-v2')
    changed = with_channels(load_model_set(folder), 'signals', channels, text)
    save_model_set(out / 'changed', changed)
    return Binder.load(out / 'changed')


def series(*names: str) -> Series:
    times_s = np.arange(-1, 0, 0.01)
    waves = {
        'torque': np.sin(9 * times_s),
        'angle': 40 + 90 * times_s,
        'current': np.cos(5 * times_s),
    }
    return Series(np.stack([waves[name] for name in names], axis=1), times_s, names)


def test_the_order_of_described_channels_does_not_matter(folder: Path, tmp_path: Path) -> None:
    before = Binder.load(folder)
    other = {name: CHANNELS[name] for name in ('current', 'torque', 'angle')}
    after = binder_of(folder, other, tmp_path)
    found = series('angle', 'torque', 'current')
    assert after.objection('signals', found) is None
    np.testing.assert_allclose(
        before.embed(signals=found)['signals'], after.embed(signals=found)['signals'], atol=1e-3
    )


def test_a_masked_channel_is_as_one_that_is_not_in_the_set(folder: Path, tmp_path: Path) -> None:
    fewer = {name: CHANNELS[name] for name in ('torque', 'angle')}
    found = series('torque', 'angle')
    whole, part = Binder.load(folder), binder_of(folder, fewer, tmp_path)
    np.testing.assert_allclose(
        whole.embed(signals=found)['signals'], part.embed(signals=found)['signals'], atol=1e-3
    )
    assert any('current' in line for line in whole.remarks('signals', found))


def test_what_was_not_trained_for_is_said_and_is_no_evidence(folder: Path, tmp_path: Path) -> None:
    other = {**CHANNELS, 'current': ChannelDescription('pressure of the air supply, bar')}
    binder = binder_of(folder, other, tmp_path)
    found = binder.objection('signals', series('torque', 'angle', 'current'))
    assert found is not None
    assert 'not trained for current' in found.reason
    embedded = binder.embed(signals=series('torque', 'angle', 'current'))
    assert embedded.invalid['signals'][0]


def test_a_fixed_layout_takes_no_other_channels(folder: Path) -> None:
    text = text_tower('minilm-l6-v2')
    with pytest.raises(ValueError, match='wrench'):
        with_channels(load_model_set(folder), 'wrench', CHANNELS, text)


def test_a_set_of_other_channels_than_its_vectors_is_refused(folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(folder, tmp_path / 'broken')
    path = tmp_path / 'broken' / 'manifest.json'
    values = json.loads(path.read_text())
    values['modalities']['signals']['vision']['channels'] = 2
    path.write_text(json.dumps(values))
    with pytest.raises(ModelSetError, match='channel_vectors'):
        Binder.load(tmp_path / 'broken')


def test_a_set_is_loaded_with_other_channels(folder: Path, tmp_path: Path) -> None:
    fewer = {name: CHANNELS[name] for name in ('current', 'torque')}
    loaded = Binder.load(folder, modalities=['signals'], channels=fewer)
    assert loaded.preprocessing['signals'].channels == ('current', 'torque')  # type: ignore[union-attr]
    found = series('torque', 'current')
    np.testing.assert_allclose(
        loaded.embed(signals=found)['signals'],
        binder_of(folder, fewer, tmp_path).embed(signals=found)['signals'],
        atol=1e-3,
    )


def test_a_set_without_described_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='lb-mini has no described channels of signals'):
        Binder.load('lb-mini', modalities=['depth'], channels=CHANNELS)


def test_taxels_of_one_sentence_keep_their_own_statistics(tmp_path: Path) -> None:
    pad = ChannelDescription('pressure on a taxel', topic='pad', field='data[0:3]')
    save_model_set(tmp_path / 'pad', made({'pad': pad}))
    one = ChannelDescription('pressure on a taxel', topic='pad', field='data[1]')
    loaded = Binder.load(tmp_path / 'pad', channels={'pad[1]': one})
    config = loaded.preprocessing['signals']
    assert config.scale == (20.0,) and not config.untrained  # type: ignore[union-attr]
