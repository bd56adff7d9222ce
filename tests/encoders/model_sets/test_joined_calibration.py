"""Joined calibrations: every sensor reads what it read before, and votes on what it knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from encoders import Binder, Evidence, PredicateBank
from encoders.model_sets.calibration import Calibration, join_calibrations
from encoders.model_sets.files import ModelSet, save_model_set
from encoders.model_sets.golden import golden_input
from encoders.model_sets.join import join
from encoders.model_sets.manifest import Manifest
from encoders.model_sets.places import find_set
from encoders.model_sets.readouts import CALIBRATION as READOUT_CALIBRATION
from encoders.predicates.predicate import Predicate
from encoders.text.minilm import text_tower
from encoders.vision.vit import VisionTower
from tests.readouts import some_calibration
from tests.series_sets import spec_of

FELT = ('rough(surface)', 'holding(cup)', 'open(drawer)')
ROUGH, DRAWER, HOT = 'the surface is rough', 'the drawer is open', 'the stove is hot'
SENTENCES = (ROUGH, DRAWER, HOT, 'the robot holds the cup', 'a door is ajar')
SEEING = ('image', 'depth', 'infrared', 'audio')


class Sets(NamedTuple):
    felt: Path
    joined: Path


@pytest.fixture(scope='module')
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """A random encoder of wrench with a calibration, and lb-mini joined with it."""
    folder = tmp_path_factory.mktemp('models')
    spec, text = spec_of('wrench'), text_tower('minilm-l6-v2')
    torch.manual_seed(0)
    manifest = Manifest('felt', text.space, text.name, {'wrench': spec})
    save_model_set(folder / 'felt', ModelSet(manifest, {'wrench': VisionTower(spec.vision)}))
    binder = Binder.load(folder / 'felt')
    some_calibration(binder, FELT, modalities=('wrench',)).save(folder / 'felt')
    join([find_set('lb-mini'), folder / 'felt'], folder / 'joined', name='joined')
    return Sets(folder / 'felt', folder / 'joined')


def bank_of(folder: Path) -> PredicateBank:
    asked = [Predicate.from_sentence(sentence) for sentence in SENTENCES]
    return PredicateBank(asked, Binder.load(folder))


def observed(bank: PredicateBank, *names: str) -> dict[str, Evidence]:
    found: Mapping[str, Evidence] = bank.binder.observe(**{n: golden_input(n) for n in names})
    return dict(found)


@pytest.mark.parametrize('by_tokens', [True, False])
def test_every_sensor_reads_what_it_read_before(sets: Sets, *, by_tokens: bool) -> None:
    joined = bank_of(sets.joined)
    for folder, names in ((find_set('lb-mini'), SEEING), (sets.felt, ('wrench',))):
        before = bank_of(folder)
        for name in names:
            evidence = observed(before, name)[name]
            again = observed(joined, name)[name]
            np.testing.assert_array_equal(again.vector, evidence.vector)
            if evidence.invalid_reason:  # it does not vote at all
                continue
            seen = {name: evidence if by_tokens else evidence.vector}
            old, new = before.score(seen), joined.score(seen)
            # What only the vector of the other one knows is no longer an uncalibrated guess.
            known = old.calibrated if not by_tokens or name == 'wrench' else np.ones(5, bool)
            assert known.any()
            np.testing.assert_array_equal(new.calibrated[known], old.calibrated[known])
            for field in ('odds', 'weight'):
                expected = getattr(old.readings[name], field)[known]
                np.testing.assert_array_equal(getattr(new.readings[name], field)[known], expected)
            np.testing.assert_array_equal(new.fused[known], old.fused[known])


def test_a_sensor_does_not_vote_on_what_only_another_one_knows(sets: Sets) -> None:
    bank = bank_of(sets.joined)
    evidence = observed(bank, 'image', 'wrench')
    rough, drawer = SENTENCES.index(ROUGH), SENTENCES.index(DRAWER)
    seen = bank.score({'image': evidence['image']})
    assert not seen[rough].calibrated
    felt = bank.score({'wrench': evidence['wrench']})
    together = bank.score(evidence)
    assert together[rough].calibrated
    assert together[rough].fused == felt[rough].fused
    assert 'image cannot tell' in together[rough].reasons
    hot = SENTENCES.index(HOT)
    assert not bank_of(sets.felt).score({'wrench': evidence['wrench']})[hot].calibrated
    assert not felt[hot].can_tell and 'wrench cannot tell' in felt[hot].reasons
    assert together[drawer].fused != felt[drawer].fused


def test_a_set_is_calibrated_only_if_all_its_parts_are(sets: Sets, tmp_path: Path) -> None:
    found = Calibration.load_if_present(sets.joined)
    assert found is not None
    assert found.parts[0].modalities == SEEING
    assert found.parts[-1].modalities == ('wrench',) and found.parts[-1].names == FELT
    of_readouts = Calibration.load_if_present(sets.joined, file=READOUT_CALIBRATION)
    assert of_readouts is not None and of_readouts.modalities == SEEING
    with pytest.raises(ValueError, match='in common'):
        join_calibrations([found, found])
    raw = tmp_path / 'raw'
    save_model_set(raw, ModelSet(*_without_calibration(sets.felt)))
    join([find_set('lb-mini'), raw], tmp_path / 'joined', name='joined')
    assert Binder.load(tmp_path / 'joined').calibration is None


def _without_calibration(folder: Path) -> tuple[Manifest, dict[str, VisionTower]]:
    from encoders.model_sets.files import load_model_set

    loaded = load_model_set(folder)
    return loaded.manifest, dict(loaded.towers)
