"""Inputs and outputs of the worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encoders.decode.streams import Cut
from encoders.decode.view import Place


@dataclass(frozen=True, slots=True)
class Arrival:
    """A sensor message with its stamp and time of arrival.

    Attributes:
        message: The message as received.
        stamp_ns: Time of sensing; for audio, of the first sample.
        frame_id: Frame of the message's header.
        arrived_s: Monotonic time of arrival.
        stamped: False if `stamp_ns` is only the time of arrival.
        places: Where the parts of its view are, by sensor (`depth@gripper`).
    """

    message: object
    stamp_ns: int
    frame_id: str
    arrived_s: float
    stamped: bool = True
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that was added to its stream and waits to be encoded.

    Attributes:
        cut: End of the message's window.
        frame_id, arrived_s, places: Values of the message's `Arrival`.
    """

    cut: Cut
    frame_id: str
    arrived_s: float
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Encoded:
    """The evidence of one sample with its origin; see lb_ros/msg/Embedding.

    Attributes:
        tokens: Reduced tokens, float16 `[N, width]`; None if nobody needs them, or the set has no
            readout of the modality.
        readout: Identity of the readout that reduced them; empty without tokens.
        statistics: Of the window of a series, float32 `[S]`; None for other modalities.
    """

    modality: str
    source: str
    model: str
    space: str
    vector: NDArray[np.float32]
    stamp_ns: int
    window_start_ns: int
    frame_id: str
    valid_fraction: float
    wait_ms: float
    decode_ms: float
    preprocess_ms: float
    encode_ms: float
    invalid_reason: str = ''
    tokens: NDArray[np.float16] | None = None
    readout: str = ''
    statistics: NDArray[np.float32] | None = None
