"""Raw arrays arrive as they are, whatever converts them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.model_sets.golden import golden_input
from encoders.preprocess import preprocess
from encoders.preprocess.languagebind import MODALITIES as RELEASED
from encoders.preprocess.mini import depth, image, infrared
from encoders.preprocess.mini.area import shrink
from encoders.preprocess.upload import CONVERTED_THERE, upload, upload_as_float, widened

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')


@pytest.mark.parametrize('dtype', CONVERTED_THERE, ids=str)
def test_every_number_of_a_raw_array_is_kept(dtype: np.dtype) -> None:
    limits = np.finfo(dtype) if dtype.kind == 'f' else np.iinfo(dtype)
    array = np.array([[0, 1, limits.max], [limits.min, 40_000 % limits.max, 7]], dtype)
    found = widened(upload(array, 'cpu'))
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), array.astype(np.float32))


def test_an_upload_copies_any_array() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)[:, ::2]
    array.flags.writeable = False
    found = upload(array, 'cpu')
    found[0, 0] = 99
    assert array[0, 0] == 0 and found[1, 1] == array[1, 1]
    other_order = array.astype('>u2')
    np.testing.assert_array_equal(upload_as_float(other_order, 'cpu').numpy(), array)


sides = st.integers(17, 90)
small = settings(max_examples=20, deadline=None)


@small
@given(sides, sides, st.integers(0, 100))
def test_torch_shrinks_images_as_opencv_does(rows: int, columns: int, seed: int) -> None:
    picture = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    expected = cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA)
    found = shrink(torch.from_numpy(picture), 16)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@small
@given(sides, sides, st.integers(0, 100))
def test_a_device_prepares_pictures_as_the_cpu_does(rows: int, columns: int, seed: int) -> None:
    rng, shape = np.random.default_rng(seed), (rows, columns)
    picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    of_image = image.ImageConfig(size=16)
    # One step of rounding: of bytes, millimetres, counts.
    found: Any = image.shrunk(picture, of_image, 'cpu').numpy()
    np.testing.assert_allclose(found, image.to_unit(picture, of_image), atol=1)

    holes = rng.random(shape) < 0.2
    metres = np.where(holes, rng.choice([0, np.nan, np.inf]), rng.uniform(0.2, 5, shape))
    of_depth = depth.DepthConfig(size=16)
    for raw in (metres.astype(np.float32), np.where(holes, 0, metres * 1000).astype(np.uint16)):
        (found, share), (expected, expected_share) = (
            depth.shrunk(raw, of_depth, 'cpu'),
            depth.to_unit(raw, of_depth),
        )
        np.testing.assert_allclose(found.numpy(), expected, atol=1)
        assert share == pytest.approx(expected_share)

    of_infrared = infrared.InfraredConfig(size=16)
    counts = np.where(holes, 0, rng.integers(1, 60_000, shape)).astype(np.uint16)
    for raw in (counts, np.zeros_like(counts), picture[..., 0]):
        found = infrared.shrunk(raw, of_infrared, 'cpu').numpy()
        np.testing.assert_allclose(found, infrared.to_unit(raw, of_infrared), atol=1)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize('dtype', CONVERTED_THERE, ids=str)
def test_a_gpu_reads_the_same_numbers(dtype: np.dtype) -> None:
    array = np.random.default_rng(0).integers(0, 60_000, (48, 64)).astype(dtype)
    found = upload_as_float(array, 'cuda')
    np.testing.assert_array_equal(found.cpu().numpy(), array.astype(np.float32))


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize('family', ['mini', 'languagebind'])
@pytest.mark.parametrize('modality', ['image', 'depth', 'infrared'])
def test_a_gpu_preprocesses_the_same(family: str, modality: str) -> None:
    mini = {'image': image.ImageConfig(), 'depth': depth.DepthConfig(),
            'infrared': infrared.InfraredConfig()}  # fmt: skip
    config = mini[modality] if family == 'mini' else RELEASED[modality][0]()
    raw = golden_input(modality)
    expected, expected_valid = preprocess(raw, config)
    found, valid = preprocess(raw, config, device='cuda')
    # `mini` rounds to bytes, millimetres and counts.
    assert (found.cpu() - expected).abs().mean() < 1e-3
    torch.testing.assert_close(found.cpu(), expected, atol=0.02, rtol=0)
    assert valid == pytest.approx(expected_valid)
