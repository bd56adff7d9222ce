"""The model set of a process: what its first user waits for, and is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.model_sets.golden import golden_input
from lb_ros.nodes.encoder_node import LOAD_ERRORS
from lb_ros.nodes.shared_model import SharedModel
from lb_ros.parameter_table import Parameters
from tests.lb_ros.sinks import QueueSink


@pytest.mark.parametrize('modalities', [pytest.param(('image',), marks=pytest.mark.slow), None])
def test_calls_are_made_ready_where_a_process_encodes(
    tiny_model_set: Path, modalities: tuple[str, ...] | None
) -> None:
    values = Parameters(model=str(tiny_model_set), compilation='always', precision='fp32')
    told: list[str] = []
    model = SharedModel(lambda: values, QueueSink(), modalities=modalities, log=pytest.fail)
    binder = model.acquire('node', progress=told.append)
    assert model.acquire('another', progress=pytest.fail) is binder
    made = ['preparing call 1 of 1: image'] if modalities else []
    assert told == ['loading the model set', *made]
    assert binder.embed_text(['it is open']).shape == (1, 384)
    if modalities:
        assert binder.embed(image=golden_input('image'))['image'].shape == (1, 384)
    for user in ('node', 'another'):
        model.release(user)


def test_an_engine_that_is_not_here_fails_the_configuration(tiny_model_set: Path) -> None:
    values = Parameters(model=str(tiny_model_set), engine='tensorrt')
    model = SharedModel(lambda: values, QueueSink(), modalities=('image',), log=pytest.fail)
    with pytest.raises(LOAD_ERRORS, match='engine tensorrt'):
        model.acquire('node')
