"""Conversion between evidence and `lb_ros/msg/Embedding`."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from encoders.model_sets.evidence import Tokens
from lb_ros.engine.arrival import Encoded
from lb_ros.msg import Embedding
from lb_ros.ros.stamps import to_ns, to_stamp

FLOAT16 = np.dtype('<f2')


def embedding_message(encoded: Encoded, *, source: str) -> Embedding:
    """Return the message of an embedding, without its tokens.

    Args:
        encoded: The embedding.
        source: Full name of the sensor's topic.
    """
    message = Embedding(
        modality=encoded.modality,
        source=source,
        model=encoded.model,
        language_space=encoded.space,
        vector=encoded.vector.tolist(),
        window_start=to_stamp(encoded.window_start_ns),
        valid_fraction=encoded.valid_fraction,
        invalid_reason=encoded.invalid_reason,
        wait_ms=encoded.wait_ms,
        decode_ms=encoded.decode_ms,
        preprocess_ms=encoded.preprocess_ms,
        encode_ms=encoded.encode_ms,
        statistics=[] if encoded.statistics is None else encoded.statistics.tolist(),
    )
    message.header.stamp = to_stamp(encoded.stamp_ns)
    message.header.frame_id = encoded.frame_id
    return message


def add_tokens(message: Embedding, tokens: Tokens, *, readout: str) -> None:
    """Add tokens, float16 `[N, width]`, that were reduced by a readout."""
    # Of an `array` rclpy checks only the type; of bytes it checks every single one.
    message.tokens = array('B', tokens.astype(FLOAT16, copy=False).tobytes())
    message.token_count, message.token_width = tokens.shape
    message.readout = readout


def encoded_of(message: Embedding) -> Encoded:
    """Return the embedding of a message; its tokens share the memory of the message.

    Raises:
        ValueError: The tokens do not have the shape that the message states, or they or the
            statistics are not finite.
    """
    return Encoded(
        modality=message.modality,
        source=message.source,
        model=message.model,
        space=message.language_space,
        vector=np.array(message.vector, np.float32),
        stamp_ns=to_ns(message.header.stamp),
        window_start_ns=to_ns(message.window_start),
        frame_id=message.header.frame_id,
        valid_fraction=message.valid_fraction,
        wait_ms=message.wait_ms,
        decode_ms=message.decode_ms,
        preprocess_ms=message.preprocess_ms,
        encode_ms=message.encode_ms,
        invalid_reason=message.invalid_reason,
        tokens=_tokens_of(message) if message.tokens else None,
        readout=message.readout,
        statistics=_statistics_of(message) if message.statistics else None,
    )


def _tokens_of(message: Embedding) -> Tokens:
    shape = message.token_count, message.token_width
    count, expected = len(message.tokens), shape[0] * shape[1] * FLOAT16.itemsize
    if count != expected:
        raise ValueError(
            f'{count} bytes of tokens, expected {expected} for {shape[0]} tokens of {shape[1]} '
            'values'
        )
    tokens = np.frombuffer(message.tokens, FLOAT16).reshape(shape)
    if not np.isfinite(tokens).all():
        raise ValueError('tokens that are not finite')
    return tokens


def _statistics_of(message: Embedding) -> NDArray[np.float32]:
    statistics = np.array(message.statistics, np.float32)
    if not np.isfinite(statistics).all():
        raise ValueError('statistics that are not finite')
    return statistics
