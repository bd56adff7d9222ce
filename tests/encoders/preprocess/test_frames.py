"""Clips of a live camera are those of the whole clip, and no picture is preprocessed twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders.decode.streams import evenly
from encoders.preprocess import preprocess, preprocess_picture
from encoders.preprocess.frames import FrameStore
from encoders.preprocess.languagebind.video import VideoConfig, frame_indices
from encoders.preprocess.mini.image import ImageConfig


@given(st.integers(1, 200), st.integers(1, 10**9), st.integers(-(10**18), 10**18))
def test_a_steady_camera_gives_the_frames_of_the_whole_clip(
    number: int, period_ns: int, start_ns: int
) -> None:
    stamps = [start_ns + index * period_ns for index in range(number)]
    assert evenly(stamps, 8) == frame_indices(number, 8).tolist()


@given(st.sets(st.integers(0, 10**10), min_size=1, max_size=50), st.integers(1, 12))
def test_each_frame_was_the_newest_at_its_instant(stamps: set[int], count: int) -> None:
    rising = sorted(stamps)
    chosen = evenly(rising, count)
    assert len(chosen) == count and chosen == sorted(chosen)
    assert chosen[-1] == len(rising) - 1 and (count == 1 or chosen[0] == 0)
    for number, index in enumerate(chosen[:-1]):
        # Times in parts of a nanosecond are exact.
        time = rising[0] * (count - 1) + (rising[-1] - rising[0]) * number
        assert rising[index] * (count - 1) <= time
        assert index == len(rising) - 1 or rising[index + 1] * (count - 1) > time


@pytest.mark.parametrize('antialias', [False, True])
def test_a_stack_of_pictures_is_the_clip(antialias: bool) -> None:
    config = VideoConfig(size=32, antialias=antialias)
    pictures = np.random.default_rng(0).integers(0, 255, (12, 40, 60, 3), dtype=np.uint8)
    store, computed = FrameStore(), 0
    for end in range(1, 13):
        stamps = list(range(max(0, end - 9), end))
        store.keep(stamps, what=config)
        chosen = [stamps[index] for index in evenly(stamps, config.frames)]
        for stamp in dict.fromkeys(chosen):
            if stamp not in store:
                store.add(stamp, preprocess_picture(pictures[stamp], config))
                computed += 1
        expected, _ = preprocess(pictures[stamps], config)
        torch.testing.assert_close(store.clip(chosen), expected, atol=1e-6, rtol=0)
    assert computed == 12


def test_frames_of_another_preprocessing_are_dropped() -> None:
    store, config = FrameStore(), VideoConfig(size=16)
    store.keep([1], what=config)
    store.add(1, torch.zeros(3, 16, 16))
    store.keep([1, 2], what=config)
    assert 1 in store
    store.keep([1, 2], what=replace(config, size=32))
    assert 1 not in store


def test_only_clips_are_made_of_pictures() -> None:
    with pytest.raises(ValueError, match='ImageConfig is not the preprocessing of a clip'):
        preprocess_picture(np.zeros((4, 4, 3), np.uint8), ImageConfig())
    with pytest.raises(ValueError, match='a clip must be uint8'):
        preprocess_picture(np.zeros((4, 4), np.uint8), VideoConfig())
