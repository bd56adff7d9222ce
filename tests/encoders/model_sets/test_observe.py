"""Evidence of a binder: the vector that `embed` gives, and tokens where there is a readout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import Binder, Evidence
from tests.encoders.model_sets.test_binder import samples
from tests.readouts import copy_with_readouts

READ = ['depth', 'image']


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Binder:
    folder = tmp_path_factory.mktemp('observed') / 'set'
    return Binder.load(copy_with_readouts(tiny_model_set, folder, modalities=READ))


def test_evidence_has_the_vector_and_tokens_where_there_is_a_readout(binder: Binder) -> None:
    raw = samples(np.random.default_rng(0))
    observed, embedded = binder.observe(**raw), binder.embed(**raw)
    assert set(observed) == set(raw)
    for name, evidence in observed.items():
        assert isinstance(evidence, Evidence)
        assert evidence.vector.dtype == np.float32
        np.testing.assert_allclose(evidence.vector, embedded[name][0], atol=1e-6)
        if name not in READ:
            assert evidence.tokens is None
            continue
        assert evidence.tokens is not None
        assert evidence.tokens.dtype == np.float16
        inputs = binder.preprocess(name, raw[name])
        with torch.inference_mode():
            tokens = binder._towers[name].tokens(inputs)
            expected = binder.readouts[name].reduce(tokens)[0].half().numpy()
        assert evidence.tokens.shape == expected.shape
        np.testing.assert_allclose(evidence.tokens, expected, atol=1e-3)


def test_a_list_of_samples_gives_a_list_with_the_same_evidence(binder: Binder) -> None:
    rng = np.random.default_rng(1)
    several = [samples(rng)['depth'] for _ in range(3)]
    together = binder.observe(depth=several)['depth']
    assert isinstance(together, list)
    for raw, evidence in zip(several, together, strict=True):
        alone = binder.observe(depth=raw)['depth']
        assert isinstance(alone, Evidence)
        assert alone.tokens is not None and evidence.tokens is not None
        np.testing.assert_allclose(evidence.vector, alone.vector, atol=1e-5)
        np.testing.assert_allclose(evidence.tokens, alone.tokens, atol=1e-3)


def test_a_sample_that_does_not_count_says_so(binder: Binder) -> None:
    grey = np.full((30, 40), 90, np.uint8)
    evidence = binder.observe(infrared=grey)['infrared']
    assert isinstance(evidence, Evidence)
    assert evidence.invalid_reason == binder.embed(infrared=grey).invalid['infrared'][0] != ''


def test_tokens_are_left_out_where_nobody_wants_them(binder: Binder) -> None:
    inputs = {name: binder.preprocess(name, samples(np.random.default_rng(2))[name])
              for name in READ}  # fmt: skip
    found = binder.encode_evidence(inputs, tokens={'image'})
    assert found['image'][0].tokens is not None
    assert found['depth'][0].tokens is None
    vectors = binder.encode(inputs)
    for name in READ:
        np.testing.assert_allclose(found[name][0].vector, vectors[name][0], atol=1e-6)


def test_a_set_without_readouts_gives_the_vectors_of_embed(tiny_model_set: Path) -> None:
    binder = Binder.load(tiny_model_set)
    assert binder.readouts == {} and binder.readout_calibration is None
    raw = samples(np.random.default_rng(3))
    embedded = binder.embed(**raw)
    for name, evidence in binder.observe(**raw).items():
        assert isinstance(evidence, Evidence)
        assert evidence.tokens is None
        np.testing.assert_array_equal(evidence.vector, embedded[name][0])


def test_a_binder_of_one_modality_loads_one_readout(binder: Binder, tmp_path: Path,
                                                   tiny_model_set: Path) -> None:  # fmt: skip
    folder = copy_with_readouts(tiny_model_set, tmp_path / 'set', modalities=READ)
    one = Binder.load(folder, modalities=['depth'])
    assert list(one.readouts) == ['depth']
    plain = Binder.load(tiny_model_set, modalities=['depth'])
    assert one.held_bytes > plain.held_bytes
