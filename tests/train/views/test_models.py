"""Captioners and generators with real architectures at a tiny size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.train.views.models import (
    SOUND_WORDS,
    WORDS,
    Darker,
    write_blip,
    write_depth_anything,
    write_glpn,
    write_llava_next,
    write_onnx,
    write_whisper,
)
from train.views.captions import ImageCaptioner
from train.views.generators import DepthGenerator, OnnxGenerator
from train.views.kept import Kept
from train.views.named import ViewOptions, captioner_of, generator_of
from train.views.pretrained import Pretrained

pytest.importorskip('transformers')


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


@pytest.fixture(scope='module')
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip(tmp_path_factory.mktemp('models') / 'blip')


@pytest.fixture(scope='module')
def glpn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glpn(tmp_path_factory.mktemp('models') / 'glpn')


def test_captions_of_images_and_clips(blip: Path) -> None:
    captioner = captioner_of(f'hf:{blip}', ViewOptions(batch=2))
    image, clip = noise(20, 30), noise(5, 20, 30, seed=1)
    windows = [{'image': image}, {}, {'video': clip}, {'image': image, 'video': clip}]
    captions = captioner(windows)
    assert captions[1] == []
    assert captions[3] == captions[0]  # an image stands for its clip
    assert 1 <= len(captions[2]) <= 3
    said = {word for found in captions for text in found for word in text.split()}
    assert said
    assert said <= set(WORDS)


def test_captions_do_not_depend_on_the_batch(blip: Path) -> None:
    windows = [{'image': noise(20, 30, seed=k)} for k in range(5)]
    found = [captioner_of(f'hf:{blip}', ViewOptions(batch=batch))(windows) for batch in (1, 2, 5)]
    assert found[0] == found[1] == found[2]


def test_a_chat_model_answers_as_if_alone(tmp_path: Path) -> None:
    """Images of other shapes have other numbers of tokens, so that prompts are padded."""
    folder = write_llava_next(tmp_path / 'chat')
    shapes = [(20, 30), (60, 20), (28, 28), (10, 60)]
    windows = [{'image': noise(*shape, seed=k)} for k, shape in enumerate(shapes)]
    found = [
        captioner_of(f'hf:{folder}', ViewOptions(batch=batch))(windows) for batch in (1, 2, 4)
    ]
    assert found[0] == found[1] == found[2]
    assert len({caption for captions in found[0] for caption in captions}) > 1


def test_captions_of_audio(tmp_path: Path) -> None:
    folder = write_whisper(tmp_path / 'whisper')
    random = np.random.default_rng(0)
    sounds = [
        (random.normal(size=count).astype(np.float32) * 0.3, rate)
        for count, rate in ((16_000, 16_000), (8_000, 16_000), (20_000, 44_100))
    ]
    windows = [{'audio': sounds[0]}, {}, *({'audio': sound} for sound in sounds[1:])]
    found = [
        captioner_of(f'hf-audio:{folder}', ViewOptions(batch=batch))(windows) for batch in (1, 3)
    ]
    assert found[0] == found[1]
    assert found[0][1] == []
    said = [caption for captions in found[0] for caption in captions]
    assert len(said) == 3
    assert {word for caption in said for word in caption.split()} <= set(SOUND_WORDS)


def test_kept_captions_need_no_model(
    blip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path / 'views.sqlite')
    windows = [{'image': noise(20, 30, seed=k)} for k in range(3)]
    captions = ImageCaptioner(Pretrained(str(blip)), kept=kept)(windows)

    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError('a model was loaded')

    monkeypatch.setattr(Pretrained, 'load', fail)
    again = ImageCaptioner(Pretrained(str(blip)), kept=kept)
    assert again(windows) == captions
    with pytest.raises(AssertionError, match='was loaded'):
        again([{'image': noise(20, 30, seed=9)}])


def test_metric_depth_is_in_millimetres(glpn: Path) -> None:
    generator = generator_of('depth', f'hf:{glpn}', ViewOptions())
    images = [noise(48, 64), noise(32, 32, seed=1), noise(48, 64, seed=2)]
    planes = generator(images)
    assert [plane.shape for plane in planes] == [(48, 64), (32, 32), (48, 64)]
    assert {str(plane.dtype) for plane in planes} == {'uint16'}
    assert all(0 < plane.min() <= plane.max() <= 10_000 for plane in planes)  # 10 m at most
    alone = generator_of('depth', f'hf:{glpn}', ViewOptions(batch=1))([images[2]])[0]
    np.testing.assert_allclose(alone, planes[2], atol=1)
    assert re.fullmatch(r'hf:glpn@[0-9a-f]{12} \(metric\)', generator.provenance)


def test_relative_depth_is_put_in_a_stated_range(tmp_path: Path) -> None:
    folder = write_depth_anything(tmp_path / 'anything')
    generator = generator_of('depth', f'hf:{folder}?near=0.5&far=2', ViewOptions())
    (plane,) = generator([noise(28, 28)])
    assert 500 <= plane.min() < plane.max() <= 2000
    assert generator.provenance.endswith('(relative, 0.5 to 2 m)')


def test_near_is_where_inverse_depth_is_large() -> None:
    generator = DepthGenerator(Pretrained('unused'), near_m=0.5, far_m=2.0)
    generator.__dict__['is_metric'] = False
    plane = np.linspace(-3, 7, 100, dtype=np.float32).reshape(10, 10)
    millimetres = generator._millimetres(plane)
    assert (np.diff(millimetres.ravel().astype(int)) <= 0).all()
    assert (millimetres[0, 0], millimetres[-1, -1]) == (2000, 500)
    flat = generator._millimetres(np.zeros((2, 2), np.float32))
    assert np.isfinite(flat).all()


@pytest.mark.parametrize('size', [(32, 32), (20, 50)])
def test_infrared_of_a_network_in_onnx(tmp_path: Path, size: tuple[int, int]) -> None:
    file = write_onnx(tmp_path / 'ir.onnx', Darker())
    image = np.full((*size, 3), (200, 10, 10), np.uint8)
    generator = generator_of('infrared', f'onnx:{file}', ViewOptions())
    (plane,) = generator([image])
    assert plane.shape == size
    assert plane.dtype == np.uint8
    np.testing.assert_allclose(plane, 100, atol=1)
    # The same network between -1 and 1: 200 is 0.57, half of it 0.28, which is 164.
    (other,) = OnnxGenerator(file, low=-1.0, high=1.0)([image])
    np.testing.assert_allclose(other, 164, atol=1)


@pytest.mark.parametrize(
    ('modality', 'name', 'expected'),
    [
        ('depth', 'hf:nobody/has-this', 'neither a folder nor in the cache of the hub'),
        ('depth', 'hf:.', 'no config.json'),
        ('infrared', 'onnx:missing.onnx', 'no such file'),
        ('infrared', 'hf:x', 'generates depth, not infrared'),
        ('depth', 'onnx:x.onnx', 'generates infrared, not depth'),
        ('depth', 'builtins:len', 'attribute `source` must be a modality'),
        ('depth', 'no_module_at_all:x', 'no_module_at_all'),
    ],
)
def test_unusable_generators_are_refused_before_any_work(
    modality: str, name: str, expected: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        generator_of(modality, name, ViewOptions())


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ('near=5&far=1', 'near must be above 0 and below far'),
        ('close=1', "unknown 'close', expected near or far"),
        ('near=x', "near='x' is no number"),
    ],
)
def test_bad_ranges_of_depth_are_refused(glpn: Path, query: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        generator_of('depth', f'hf:{glpn}?{query}', ViewOptions())


def test_files_that_are_no_network_are_refused(tmp_path: Path, glpn: Path) -> None:
    (tmp_path / 'bad.onnx').write_bytes(b'not a network')
    with pytest.raises(ValueError, match=r'bad\.onnx: '):
        generator_of('infrared', f'onnx:{tmp_path / "bad.onnx"}', ViewOptions())
    captioner = captioner_of(f'hf:{glpn}', ViewOptions())
    with pytest.raises(ValueError, match='no AutoModelForImageTextToText'):
        captioner([{'image': noise(20, 30)}])
