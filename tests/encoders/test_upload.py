"""Raw arrays arrive as they are, whatever converts them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders.golden import golden_input
from encoders.languagebind.preprocess import MODALITIES as RELEASED
from encoders.preprocess import depth, image, infrared, preprocess
from encoders.upload import CONVERTED_THERE, upload, upload_as_float, widened

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')


@pytest.mark.parametrize('dtype', CONVERTED_THERE, ids=str)
def test_every_number_of_a_raw_array_is_kept(dtype: np.dtype) -> None:
    limits = np.finfo(dtype) if dtype.kind == 'f' else np.iinfo(dtype)
    array = np.array([[0, 1, limits.max], [limits.min, 40_000 % limits.max, 7]], dtype)
    found = widened(upload(array, 'cpu'))
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), array.astype(np.float32))


def test_an_upload_is_a_copy_of_any_array() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)[:, ::2]
    array.flags.writeable = False
    found = upload(array, 'cpu')
    found[0, 0] = 99
    assert array[0, 0] == 0 and found[1, 1] == array[1, 1]
    other_order = array.astype('>u2')
    np.testing.assert_array_equal(upload_as_float(other_order, 'cpu').numpy(), array)


@on_gpu
@pytest.mark.parametrize('dtype', CONVERTED_THERE, ids=str)
def test_a_gpu_reads_the_same_numbers(dtype: np.dtype) -> None:
    array = np.random.default_rng(0).integers(0, 60_000, (48, 64)).astype(dtype)
    found = upload_as_float(array, 'cuda')
    np.testing.assert_array_equal(found.cpu().numpy(), array.astype(np.float32))


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
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)
    assert valid == pytest.approx(expected_valid)
