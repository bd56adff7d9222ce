"""Engines give PyTorch's vectors, or an error that says by how much they differ."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import Binder
from encoders.errors import EngineError
from encoders.model_sets import engines
from encoders.model_sets.engines import dtype_for, usable
from encoders.model_sets.golden import golden_input
from encoders.vision import engines as by_name
from encoders.vision.export import PACKAGES
from tests.readouts import copy_with_readouts

missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
needs_packages = pytest.mark.skipif(bool(missing), reason=f'the extra lacks {missing}')
NAMES = ('image', 'depth')
RAW = {name: [golden_input(name), golden_input(name)[::2, ::2]] for name in NAMES}


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache for this module."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp('cache')
        patch.setenv('XDG_CACHE_HOME', str(folder))
        yield folder / 'lb_ros' / 'engines'


@pytest.fixture(scope='module')
def folder(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set whose depth encoder has a readout."""
    return copy_with_readouts(
        tiny_model_set, tmp_path_factory.mktemp('sets') / 'read', modalities=['depth']
    )


def load(folder: Path, engine: str, **options: str) -> Binder:
    return Binder.load(folder, modalities=NAMES, engine=engine, **options)  # type: ignore[arg-type]


@needs_packages
def test_onnxruntime_gives_the_same_evidence(cache: Path, folder: Path) -> None:
    steps: list[str] = []
    binder = Binder.load(folder, modalities=NAMES, engine='onnxruntime', progress=steps.append)
    assert set(binder.engines) == set(NAMES)
    assert steps == [f'preparing {name} for onnxruntime' for name in NAMES]
    found, expected = binder.observe(**RAW), load(folder, 'torch').observe(**RAW)
    for name in NAMES:
        for one, other in zip(found[name], expected[name], strict=True):
            np.testing.assert_allclose(one.vector, other.vector, atol=1e-5)
            assert (one.tokens is None) == (other.tokens is None) == (name == 'image')
            if other.tokens is not None:
                assert one.tokens.dtype == np.float16
                np.testing.assert_allclose(one.tokens, other.tokens, atol=5e-3)
    inputs = {name: binder.preprocess(name, RAW[name][0]) for name in NAMES}
    assert all(e[0].tokens is None for e in binder.encode_evidence(inputs, tokens=()).values())


@needs_packages
def test_a_tower_is_exported_once(
    cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(folder, 'onnxruntime')
    files = sorted(path.name for path in cache.rglob('*') if path.is_file())
    assert files == ['tower.onnx', 'tower.onnx', 'tower.onnx.data', 'tower.onnx.data']
    monkeypatch.delattr(engines, 'export_tower')
    load(folder, 'onnxruntime')


@needs_packages
def test_another_result_is_refused_with_its_difference(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of the image encoder takes the place of that of the depth encoder."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    cache = tmp_path / 'lb_ros' / 'engines'
    Binder.load(folder, modalities=('image',), engine='onnxruntime')
    (image,) = cache.iterdir()
    kept = shutil.copytree(image, tmp_path / 'image')
    Binder.load(folder, modalities=('depth',), engine='onnxruntime')
    (depth,) = (each for each in cache.iterdir() if each.name != image.name)
    shutil.rmtree(depth)
    shutil.copytree(kept, depth)
    pattern = r'engine onnxruntime: depth differs from PyTorch by \d\.\de-\d\d \(cosine .* torch'
    with pytest.raises(EngineError, match=pattern):
        Binder.load(folder, modalities=('depth',), engine='onnxruntime')


@needs_packages
def test_auto_takes_what_is_faster_and_gives_the_same(cache: Path, folder: Path) -> None:
    binder = load(folder, 'auto', dtype='bf16')
    assert binder.precision == 'bf16' and set(binder.engines) <= set(NAMES)
    found, exact = binder.embed(**RAW), load(folder, 'torch').embed(**RAW)
    for name in NAMES:
        limit = 1e-5 if name in binder.engines else 0.02
        np.testing.assert_allclose(found[name], exact[name], atol=limit)


@needs_packages
def test_an_engine_is_chosen_only_if_it_is_faster(folder: Path) -> None:
    torch_binder = load(folder, 'torch')
    encoders = torch_binder._encoders

    def slow(inputs: torch.Tensor, *, tokens: bool = False) -> tuple[torch.Tensor, None]:
        for _ in range(3):
            found = encoders['image'].encode(inputs)
        return found, None

    def fast(inputs: torch.Tensor, *, tokens: bool = False) -> tuple[torch.Tensor, None]:
        return inputs.flatten(1)[:, :384], None

    given = {'image': slow, 'depth': fast}
    assert set(engines.faster_engines(given, encoders, {})) == {'depth'}


def test_without_the_extra_auto_is_torch_and_others_name_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_name, 'PACKAGES', ('onnx_that_is_not_there',))
    assert usable('auto', device='cpu') == 'torch'
    assert load(folder, 'auto').engines == {}
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lb_ros\[onnxruntime\]'"):
        load(folder, 'onnxruntime')
    if importlib.util.find_spec('tensorrt') is None:
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'lb_ros\[tensorrt\]'"):
            load(folder, 'tensorrt')


def test_what_an_engine_cannot_do_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match='engine must be one of torch, onnxruntime'):
        load(folder, 'jax')
    with pytest.raises(ValueError, match='onnxruntime computes in fp32, not in bf16'):
        load(folder, 'onnxruntime', dtype='bf16')
    with pytest.raises(EngineError, match='runs on the CPU, not on cuda:0'):
        usable('onnxruntime', device='cuda:0')
    assert usable('auto', device='cuda:0') == 'torch'
    assert dtype_for('tensorrt', 'auto', device='cuda') == torch.float16
    assert dtype_for('onnxruntime', 'auto', device='cpu') == torch.float32
    with pytest.raises(ValueError, match='tensorrt computes in fp16 or fp32, not in bf16'):
        dtype_for('tensorrt', torch.bfloat16, device='cuda')


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec('tensorrt') is None,
    reason='no GPU with TensorRT',
)
@pytest.mark.parametrize('precision', ['fp16', 'fp32'])
def test_tensorrt_gives_the_same(cache: Path, folder: Path, precision: str) -> None:
    binder = load(folder, 'tensorrt', device='cuda:0', dtype=precision)
    found, exact = binder.observe(**RAW), load(folder, 'torch').observe(**RAW)
    for name in NAMES:
        for one, other in zip(found[name], exact[name], strict=True):
            np.testing.assert_allclose(
                one.vector, other.vector, atol=1e-4 if precision == 'fp32' else 0.02
            )
            assert (one.tokens is None) == (other.tokens is None)
