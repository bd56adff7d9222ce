"""Calls that were made ready give what any other gives, and say why where there are none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import Binder, Evidence
from encoders.model_sets.golden import golden_input
from encoders.model_sets.towers import towers_of
from encoders.vision.compiled import MAX_READY, ReadyCalls, is_compiled, usual
from encoders.vision.packed import encode_together, through_layer
from tests.encoders.vision.test_packed import SHAPES, encoders_of, inputs_of
from tests.readouts import copy_with_readouts

NAMES = ('image', 'depth')


class Lines(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """Nothing compiled before is known."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def test_usual_calls_are_all_modalities_then_each_alone() -> None:
    assert usual({'image': 1, 'depth': 2}) == [
        {'image': 1, 'depth': 2},
        {'depth': 1},
        {'image': 1},
        {'depth': 2},
        {'image': 1, 'depth': 1},
    ]
    many = usual(dict.fromkeys('abcdefgh', 2))
    assert len(many) == MAX_READY
    assert many[0] == dict.fromkeys('abcdefgh', 2)
    assert {tuple(one) for one in many[1:9]} == {(name,) for name in 'abcdefgh'}
    assert usual({'image': 1}) == [{'image': 1}]


def test_compilation_is_for_gpus_unless_asked_for() -> None:
    assert not is_compiled('auto', device='cpu') and is_compiled('auto', device='cuda:0')
    assert is_compiled('always', device='cpu') and not is_compiled('never', device='cuda')
    with pytest.raises(ValueError, match='compilation must be one of auto, never, always'):
        is_compiled('sometimes', device='cpu')


@pytest.mark.slow
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_compiled_calls_give_the_same(dtype: torch.dtype, fresh_compiler: None) -> None:
    shapes = {name: SHAPES[name] for name in NAMES}
    encoders, told, done = encoders_of(shapes, dtype), Lines(), Lines()
    calls = ReadyCalls(towers_of(encoders), log=told)
    calls.prepare(usual({'depth': 1, 'image': 1}), progress=done)
    assert (calls.ready, told) == (3, [])
    assert done[0] == 'preparing call 1 of 3: depth, image' and len(done) == 3
    for names in (NAMES, ('depth',), ('image',)):
        inputs = {name: inputs_of(shapes, 1)[name] for name in names}
        with torch.inference_mode():
            found = calls(inputs).vectors
            expected = encode_together(towers_of(encoders), inputs)
        for name in names:
            if dtype == torch.float32:
                torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=0)
            assert (found[name] * expected[name]).sum(-1).min() > 0.9995
    with torch.inference_mode():
        calls(inputs_of(shapes, 2))
        calls(inputs_of(shapes, 2))
    assert told == ['2 of image, 2 of depth: not among the calls made ready, runs as it is']


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_captured_calls_give_the_same(dtype: torch.dtype) -> None:
    encoders = encoders_of(SHAPES, dtype)
    for encoder in encoders.values():
        encoder.tower.to('cuda')
    told = Lines()
    calls = ReadyCalls(towers_of(encoders), log=told)
    calls.prepare([dict.fromkeys(SHAPES, 1), {'depth': 2}])
    assert (calls.ready, told) == (2, [])
    for inputs in (inputs_of(SHAPES, 1), {'depth': inputs_of(SHAPES, 2)['depth']}):
        for sign in (1, -1):
            placed = {name: sign * batch.to('cuda') for name, batch in inputs.items()}
            found = calls(placed).vectors
            expected = encode_together(towers_of(encoders), placed)
            for name in inputs:
                if dtype == torch.float32:
                    torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=0)
                assert (found[name] * expected[name]).sum(-1).min() > 0.9995
    assert told == []


WITHOUT_COMPILER = """
import sys, numpy as np
from encoders import Binder, Evidence
from encoders.model_sets.golden import golden_input
binder = Binder.load(sys.argv[1], modalities=('image',), compilation='always')
binder.prepare({'image': 1}, log=lambda line: print('told', line))
found = binder.embed(image=golden_input('image'))['image']
expected = Binder.load(sys.argv[1]).embed(image=golden_input('image'))['image']
np.testing.assert_allclose(found, expected, atol=1e-5)
"""


def test_without_a_compiler_calls_run_uncompiled(tiny_model_set: Path, tmp_path: Path) -> None:
    nowhere = str(tmp_path / 'no-compiler')
    environment = os.environ | {'CXX': nowhere, 'TORCHINDUCTOR_CACHE_DIR': str(tmp_path)}
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_COMPILER, str(tiny_model_set)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith('told')]
    assert len(told) == 1
    assert told[0].startswith('told not compiled: ') and nowhere in told[0]


def test_layers_may_come_in_another_form() -> None:
    shapes = {name: SHAPES[name] for name in NAMES}
    encoders, inputs, seen = encoders_of(shapes, torch.float32), inputs_of(shapes, 1), []

    def through(rows: Tensor, *more: object, asking: object = None) -> Tensor:
        seen.append(asking is not None)
        return through_layer(rows, *more, asking=asking)  # type: ignore[arg-type]

    with torch.inference_mode():
        found = encode_together(towers_of(encoders), inputs, through=through)
        expected = encode_together(towers_of(encoders), inputs)
    assert seen == [False, False, True]
    torch.testing.assert_close(found['depth'], expected['depth'], atol=0, rtol=0)


def test_the_binder_compiles_its_calls(
    tiny_model_set: Path, tmp_path: Path, fresh_compiler: None
) -> None:
    folder = copy_with_readouts(tiny_model_set, tmp_path / 'set', modalities=['image'])
    plain = Binder.load(folder)
    binder = Binder.load(folder, modalities=('image', 'depth'), compilation='always')
    done = Lines()
    binder.prepare({'image': 1, 'depth': 0}, log=pytest.fail, progress=done)
    assert done == ['preparing call 1 of 1: image']
    raw, found = golden_input('image'), []

    def work() -> None:
        with torch.compiler.set_stance('fail_on_recompile'):
            found.append(binder.embed(image=raw)['image'])
            found.append(binder.observe(image=raw)['image'])

    # As in a node: one thread loads, another one encodes. It compiles nothing any more.
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    np.testing.assert_allclose(found[0], plain.embed(image=raw)['image'], atol=1e-5)
    expected = plain.observe(image=raw)['image']
    assert isinstance(expected, Evidence) and expected.tokens is not None
    np.testing.assert_allclose(found[1].tokens, expected.tokens, atol=1e-3)
