"""Evidence survives its way through a message, and malformed tokens are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message

from lb_ros.engine.arrival import Encoded
from lb_ros.msg import Embedding
from lb_ros.ros.embeddings import add_tokens, embedding_message, encoded_of

RNG = np.random.default_rng(0)


def encoded(tokens: np.ndarray | None) -> Encoded:
    return Encoded(
        modality='depth', source='/wrist/depth', model='tiny', space='of the test',
        vector=RNG.standard_normal(384).astype(np.float32), stamp_ns=1_700_000_000_123_456_789,
        window_start_ns=1_700_000_000_000_000_001, frame_id='wrist', valid_fraction=0.5,
        wait_ms=1.0, decode_ms=2.0, preprocess_ms=3.0, encode_ms=4.0, invalid_reason='dark',
        tokens=tokens, readout='' if tokens is None else 'abc',
    )  # fmt: skip


def carried(sent: Encoded) -> Encoded:
    message = embedding_message(sent, source=sent.source)
    if sent.tokens is not None:
        add_tokens(message, sent.tokens, readout=sent.readout)
    return encoded_of(deserialize_message(serialize_message(message), Embedding))


@pytest.mark.parametrize('shape', [None, (1, 1), (17, 16), (197, 96)])
def test_evidence_arrives_as_it_was(shape: tuple[int, int] | None) -> None:
    sent = encoded(None if shape is None else RNG.standard_normal(shape).astype(np.float16))
    found = carried(sent)
    for name in ('vector', 'tokens'):
        np.testing.assert_array_equal(getattr(found, name), getattr(sent, name))
    for name in set(Encoded.__slots__) - {'vector', 'tokens'}:
        assert getattr(found, name) == getattr(sent, name), name
    assert shape is None or found.tokens.dtype == np.float16


@given(st.binary(min_size=1, max_size=64), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_any_tokens_are_finite_and_of_the_stated_shape_or_refused(
    data: bytes, count: int, width: int
) -> None:
    message = embedding_message(encoded(None), source='x')
    message.tokens, message.token_count, message.token_width = data, count, width
    try:
        tokens = encoded_of(message).tokens
    except ValueError as error:
        assert str(error)
        return
    assert tokens is not None and tokens.shape == (count, width) and np.isfinite(tokens).all()
