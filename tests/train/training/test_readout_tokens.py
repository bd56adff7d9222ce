"""Tokens of a frozen trunk: the same as live, cached by bag, and augmented with their regions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import Binder
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.sources import load_encoders
from tests.readouts import copy_with_readouts
from tests.train.conftest import DrawnBag, random_moments
from train.bags.find import find_bags
from train.bags.load import load_samples
from train.training import readout_tokens
from train.training.readout_tokens import TokenData, load_tokens, trainable_encoders

pytestmark = pytest.mark.usefixtures('one_thread')


def tokens_of(
    folder: Path,
    bags: list[Path],
    *,
    cache: Path | None = None,
    augmentations: int = 0,
    first: int = 0,
) -> TokenData:
    encoders = trainable_encoders(load_encoders(folder), ['image', 'depth'])
    data, report = load_tokens(
        encoders,
        bags,
        weights_sha256=read_manifest(folder).sha256,
        cache=cache,
        augmentations=augmentations,
        first=first,
    )
    assert report.moments == len(data.samples)
    return data


def open_files() -> int:
    return len(list(Path('/proc/self/fd').iterdir()))


@pytest.fixture(scope='module')
def bags(drawn: DrawnBag, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp('bags')
    for number in range(2):
        drawn.write(folder / f'bag{number}', random_moments(5, seed=number), seed=number)
    drawn.write(folder / 'bag2', random_moments(5, seed=2), skip=['/depth/image'])
    return find_bags([folder])


def test_tokens_are_those_that_the_live_system_reduces(
    small_set: Path, bags: list[Path], tmp_path: Path
) -> None:
    folder = copy_with_readouts(small_set, tmp_path / 'set', modalities=['image'])
    binder = Binder.load(folder)
    data = tokens_of(folder, bags[:1])
    samples, _ = load_samples(bags[:1], {'image': binder.preprocessing['image']})
    rows = torch.arange(5)
    with torch.inference_mode():
        reduced = binder.readouts['image'].reduce(
            data.tokens('image', rows, torch.zeros(5, dtype=torch.int64)).float()
        )
    live = binder.observe(image=list(samples.inputs['image']))['image']
    assert isinstance(live, list)
    for row, each in enumerate(live):
        assert each.tokens is not None
        np.testing.assert_allclose(each.tokens, reduced[row].numpy(), atol=2e-2)


def test_tokens_are_computed_once_and_then_read(
    small_set: Path, bags: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_files()
    first = tokens_of(small_set, bags, cache=tmp_path, augmentations=1)
    assert open_files() == before  # thousands of bags can be used
    with monkeypatch.context() as patch:
        patch.setattr(readout_tokens, '_encoded', None)  # it must not be called again
        again = tokens_of(small_set, bags, cache=tmp_path, augmentations=1, first=2)
    alone = tokens_of(small_set, bags, augmentations=1)
    assert again.samples.bags == first.samples.bags == ('bag0', 'bag1', 'bag2')
    for name in ('image', 'depth'):
        for one, two, three in zip(
            first.bags[name], again.bags[name], alone.bags[name], strict=True
        ):
            np.testing.assert_array_equal(one.tokens, two.tokens)
            np.testing.assert_array_equal(one.tokens, three.tokens)
    assert not first.samples.inputs['depth'][10:].any()
    assert not first.bags['depth'][2].tokens.any()
    assert first.samples.inputs['image'].all()
    # Other augmentations are other files.
    files = sorted((tmp_path / 'tokens').glob('*-depth-*.safetensors'))
    assert tokens_of(small_set, bags, cache=tmp_path).copies == 1
    assert len(sorted((tmp_path / 'tokens').glob('*-depth-*.safetensors'))) == 2 * len(files)


def test_augmented_copies_move_their_regions(small_set: Path, bags: list[Path]) -> None:
    encoders = trainable_encoders(load_encoders(small_set), ['image'])
    samples, _ = load_samples(bags[:1], {'image': encoders['image'].config})
    labels = np.zeros((5, 64, 64), np.uint8)
    labels[:, 20:44, 20:44] = 1
    samples = replace(samples, regions=labels, region_names=('bowl',))
    found = readout_tokens._bag_tokens(samples, 'image', encoders['image'], None, 2, 'a1')
    assert found.tokens.shape[:2] == found.regions.shape[:2] == (3, 5)
    np.testing.assert_array_equal(found.regions[0], labels)
    for copy in (1, 2):
        moved = found.regions[copy].numpy()
        assert (moved != labels).any()
        assert 0.5 < (moved == 1).mean() / (labels == 1).mean() < 1.6
        assert (found.tokens[copy] != found.tokens[0]).any()
    assert (found.tokens[1] != found.tokens[2]).any()
