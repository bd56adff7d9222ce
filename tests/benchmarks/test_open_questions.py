"""The measures of the open questions on vectors with a known answer, and generated depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.generated_depth import NAME, DepthNetwork, errors, trained_network, write_generated
from benchmarks.open_question_measures import across, asked_of, by_text, difference
from benchmarks.open_question_runs import resized
from encoders.text.minilm import text_tower
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower
from train.bags.samples import Samples
from train.language import fact_vectors
from train.pairs.record import Pair, Text, decode, encode
from train.pairs.shards import open_pair_set, write_shards
from train.phrasings import Phrasings

PREDICATES = ('hot(stove)', 'open(top drawer)', 'dropped(something)')
BAGS, PER_BAG = 6, 20


@pytest.fixture
def samples() -> Samples:
    """Random truths; infrared recorded all samples but the first."""
    rng = np.random.default_rng(0)
    count = BAGS * PER_BAG
    infrared = np.ones((count, 2), np.float32)
    infrared[0] = 0
    return Samples(
        inputs={'infrared': infrared},
        truth=rng.integers(0, 2, (count, len(PREDICATES))).astype(np.int8),
        predicates=PREDICATES,
        bag=np.repeat(np.arange(BAGS), PER_BAG),
        times_s=np.arange(count, dtype=np.float64),
        bags=tuple(map(str, range(BAGS))),
        regions=np.zeros((count, 64, 64), np.uint8),
        region_names=(),
    )


def knowing(samples: Samples, column: int) -> NDArray[np.float32]:
    """Vectors that hold one predicate in its unseen wording, and nothing else."""
    embed = text_tower('minilm-l6-v2').embed
    contrasts = fact_vectors(PREDICATES, Phrasings.load('unseen'), embed).contrasts().numpy()
    sign = np.where(samples.truth[:, column] == 1, 1.0, -1.0)[:, None]
    return np.asarray(sign * contrasts[column], np.float32)


def test_a_sensor_is_asked_only_what_it_can_observe(samples: Samples) -> None:
    asked = asked_of('infrared', {'0': knowing(samples, 0)}, samples)
    assert asked.samples.predicates == ('hot(stove)', 'open(top drawer)')
    assert (asked.samples.truth[0] == -1).all()  # was not recorded
    found = by_text(asked)
    assert found['AUROC of hot']['mean'] == 1.0
    assert found['AUROC of open']['mean'] < 0.8
    assert found['AUROC']['mean'] == pytest.approx(
        (1.0 + found['AUROC of open']['mean']) / 2, abs=1e-3
    )
    low, high = found['AUROC of open']['interval']
    assert low < found['AUROC of open']['mean'] < high


def test_a_difference_is_taken_on_the_same_bags(samples: Samples) -> None:
    good = asked_of('infrared', {'0': knowing(samples, 0), '1': knowing(samples, 0)}, samples)
    bad = asked_of('infrared', {'0': -knowing(samples, 0), '1': -knowing(samples, 0)}, samples)
    same = difference(good, good)
    assert same == {'AUROC': 0.0, 'interval': (0.0, 0.0)}
    found = difference(good, bad)
    assert found['AUROC'] > 0.5
    assert found['interval'][0] > 0


def test_retrieval_across_sensors_is_relative_to_chance(samples: Samples) -> None:
    rng = np.random.default_rng(1)
    drawn = rng.normal(size=(2, len(samples), 16)).astype(np.float32)
    own, other = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
    perfect = across([own, own], [own, own], samples.bag)
    assert perfect['R@1']['mean'] == 1.0
    assert perfect['R@1']['times_chance'] == len(samples)
    half = across([own, other], [own, own], samples.bag)
    assert half['R@1']['seeds'][0] < 0.1
    assert half['R@1']['seeds'][1] == 1.0


def test_positions_are_interpolated_to_another_grid() -> None:
    shape = {'width': 8, 'layers': 1, 'heads': 2, 'mlp_width': 8, 'patch_size': 4, 'projection': 8}
    before = VisionConfig(**shape, image_size=(16, 16))
    after = replace(before, image_size=(8, 32))
    tower = VisionTower(before)
    name = 'embeddings.position_embedding.weight'
    with torch.no_grad():  # a ramp from left to right
        columns = torch.arange(4.0).repeat(4)
        tower.get_parameter(name)[1:] = columns[:, None]
    found = resized(tower.state_dict(), before, after)
    VisionTower(after).load_state_dict(found)
    grid = found[name][1:, 0].reshape(2, 8)
    assert (grid.diff(dim=1) > 0).all()
    assert torch.equal(found[name][0], tower.get_parameter(name)[0])


@pytest.fixture
def pair_folder(tmp_path: Path) -> Path:
    """Pairs in which the brightness of an image shows its depth."""
    rng = np.random.default_rng(0)
    pairs = []
    for index in range(24):
        metres = rng.uniform(0.5, 2.0, (4, 4)).repeat(16, 0).repeat(16, 1)
        rgb = np.repeat((metres * 100).astype(np.uint8)[..., None], 3, axis=-1)
        files = {**encode('image', rgb), **encode('depth', metres)}
        pairs.append(Pair(f'pair_{index}', 'bag', 0, 1, files, (Text('a box', 'note'),)))
    write_shards(tmp_path / 'pairs', pairs, described={})
    return tmp_path / 'pairs'


def test_generated_depth_replaces_a_share_and_names_its_maker(
    pair_folder: Path, tmp_path: Path
) -> None:
    stored = open_pair_set(pair_folder)
    torch.manual_seed(0)
    untrained = DepthNetwork().eval()
    network = trained_network(stored, steps=60, seed=0)
    before = errors(untrained, stored, count=10)['relative error']
    assert errors(network, stored, count=10)['relative error'] < 0.5 * before
    write_generated(pair_folder, tmp_path / 'mixed', network, share=0.5)
    mixed = open_pair_set(tmp_path / 'mixed')
    kinds = []
    for index in range(len(stored)):
        one, other = stored.read(index), mixed.read(index)
        is_generated = other.generated == {'depth': NAME}
        same = np.array_equal(decode('depth', one.files), decode('depth', other.files))
        assert same == (not is_generated)
        assert other.texts == one.texts
        kinds.append(is_generated)
    assert 0.25 < np.mean(kinds) < 0.75
