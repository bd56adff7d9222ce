"""Bags to language pairs, on drawn bags: what they say, shards, balance and files."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin

from tests.train.pairs.pair_bags import MOMENTS, pairs_of
from tests.train.runs import run
from train.pairs.balance import balanced, entries_of, words_of
from train.pairs.make import StreamedPairs, plan_pairs
from train.pairs.options import PairOptions, PairsReport
from train.pairs.plan import Window
from train.pairs.record import Text, decode, encode
from train.pairs.shards import ShardError, open_pair_set, write_shards
from train.phrasings import Phrasings


def test_every_pair_says_what_its_window_shows(drawn: Any, tmp_path: Path) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS)
    pairs, report = pairs_of(bag, window_s=0.5)
    assert len(pairs) == report.pairs == 12
    phrasings = Phrasings.load('trained')
    for pair, truth in zip(pairs, MOMENTS, strict=True):
        assert pair.facts == truth
        assert pair.modalities == ('audio', 'depth', 'image', 'infrared')
        depth = decode('depth', pair.files)
        assert depth.dtype == np.uint16
        assert (depth[8:24, 4:14] == 600).all() == truth['open(top drawer)']
        assert (decode('infrared', pair.files).max() == 42_000) == truth['hot(stove)']
        wave, rate_hz = decode('audio', pair.files)
        assert (wave.shape, rate_hz) == ((1, 8000), 16_000)
        sentences = {
            sentence
            for name, holds in truth.items()
            for sentence in getattr(phrasings.sentences(name), 'positive' if holds else 'negative')
        }
        assert len(pair.texts) >= 2
        assert {text.text for text in pair.texts} <= sentences


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_shards_hold_what_streaming_gives(
    drawn: Any, tmp_path: Path, storage: StoragePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    bags = tmp_path / 'bags'
    bags.mkdir()
    for seed in range(2):
        drawn.write(bags / f'bag{seed}', MOMENTS, seed=seed, storage=storage)
    out = tmp_path / 'pairs'
    command = ('train', 'pairs', '--data', bags, '--out', out, '--pairs-per-shard', '7')
    assert run(monkeypatch, *command) == 0
    stored = open_pair_set(out)
    report = PairsReport()
    paths = sorted(bags.iterdir())
    streamed = StreamedPairs(plan_pairs(paths, PairOptions(), report=report), report)
    assert len(stored) == len(streamed) == report.pairs == 24
    for index in (0, 11, 12, 23, 3):
        assert stored.read(index) == streamed.read(index)
    assert [s['pairs'] for s in stored.manifest['shards']] == [7, 7, 7, 3]
    assert stored.manifest['modalities'] == {
        'audio': 24, 'depth': 24, 'image': 24, 'infrared': 24
    }  # fmt: skip
    assert run(monkeypatch, *command) == 2  # never over an earlier set unasked
    assert run(monkeypatch, *command, '--overwrite') == 0
    again = open_pair_set(out)
    assert again.manifest['shards'] == stored.manifest['shards']


def test_all_wrong_options_are_named_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ['train', 'pairs', '--data', tmp_path, '--out', tmp_path / 'pairs', '--every', '-1']
    options = ['--window', 'long', '--modalities', 'depth', 'smell', '--clock', 'wall']
    assert run(monkeypatch, *command, *options) == 2
    said = capsys.readouterr().err.splitlines()
    for line, start in zip(
        sorted(said, key=lambda line: line.removeprefix('lb-ros train pairs: ')),
        (
            '--clock must be one of header, log',
            '--every must be greater than 0',
            "--modalities: unknown modality 'smell'",
            '--window must be a valid number',
        ),
        strict=True,
    ):
        assert line.removeprefix('lb-ros train pairs: ').startswith(start)


def test_shards_have_the_layout_of_webdataset(drawn: Any, tmp_path: Path) -> None:
    pairs, _ = pairs_of(drawn.write(tmp_path / 'my.bag', MOMENTS[:3]))
    write_shards(tmp_path / 'out', pairs, described={})
    with tarfile.open(tmp_path / 'out' / 'pairs-000000.tar') as tar:
        names = tar.getnames()
        keys = [name.split('.')[0] for name in names]
        assert keys == sorted(keys)  # files of a sample lie next to each other
        extensions = Counter(name.split('.', 1)[1] for name in names)
        record = tar.extractfile(next(n for n in names if n.endswith('.json')))
        assert record is not None
        described = json.load(record)
    kinds = {'image.jpg', 'depth.png', 'infrared.png', 'audio.wav', 'txt', 'json'}
    assert extensions == dict.fromkeys(kinds, 3)
    assert described['bag'] == 'my.bag'
    assert described['texts'][0].keys() == {'text', 'source', 'maker'}


def test_a_damaged_shard_is_named(drawn: Any, tmp_path: Path) -> None:
    pairs, _ = pairs_of(drawn.write(tmp_path / 'bag', MOMENTS[:3]))
    write_shards(tmp_path / 'out', pairs, described={})
    shard = tmp_path / 'out' / 'pairs-000000.tar'
    shard.write_bytes(shard.read_bytes()[:-600])
    with pytest.raises(ShardError, match=r'pairs-000000\.tar: .* bytes, expected'):
        open_pair_set(tmp_path / 'out')


# --- balance -------------------------------------------------------------------------------------

WORDS = ('cup', 'drawer', 'red cup', 'stove')


@given(
    st.lists(st.lists(st.sampled_from(('cup', 'drawer', 'red', 'stove', 'x')), max_size=5)),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_balance_keeps_every_entry_up_to_its_share(
    sentences: list[list[str]], most: int, seed: int
) -> None:
    windows = [
        Window(0, 0, 1, 1, (Text(' '.join(words) or 'x', 'note'),), {}) for words in sentences
    ]
    kept, counts = balanced(windows, WORDS, most=most, seed=seed)
    phrases = [words_of(word) for word in WORDS]
    everywhere = Counter(e for window in windows for e in entries_of(window, phrases))
    assert counts == Counter(e for k in kept for e in entries_of(windows[k], phrases))
    for word in WORDS:
        assert counts[word] >= min(most, everywhere[word])
    assert all(entries_of(windows[k], phrases) for k in kept)
    assert len(kept) <= most * len(WORDS)


# --- files ---------------------------------------------------------------------------------------


def test_samples_come_back_from_their_files() -> None:
    rng = np.random.default_rng(0)
    planes = {
        'depth': rng.integers(0, 65_535, (7, 9)).astype(np.uint16),
        'infrared': rng.integers(0, 65_535, (7, 9)).astype(np.uint16),
    }
    for name, plane in planes.items():
        np.testing.assert_array_equal(decode(name, encode(name, plane)), plane)
    metres = np.array([[1.2344, np.nan], [np.inf, 0.0]], np.float32)
    np.testing.assert_array_equal(decode('depth', encode('depth', metres)), [[1234, 0], [0, 0]])
    wave = rng.integers(-32_768, 32_767, (2, 100)).astype(np.int16)
    found, rate_hz = decode('audio', encode('audio', (wave, 44_100)))
    np.testing.assert_array_equal(found, wave)
    assert rate_hz == 44_100
    smooth = cv2.resize(rng.integers(0, 255, (4, 4, 3)).astype(np.uint8), (64, 64))
    clip = np.stack([smooth, smooth[::-1]])
    assert np.abs(decode('video', encode('video', clip)).astype(int) - clip).mean() < 3
