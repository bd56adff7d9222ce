"""Why a predicate has its score: the attention of a readout, drawn over the image of a sensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from encoders import MODALITIES, Binder, Predicate, PredicateBank
from encoders.model_sets.evidence import Evidence
from encoders.preprocess import LANGUAGEBIND, family_of


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """Where a readout looks for a predicate in an image.

    Attributes:
        shares: Shares of the attention, float32 `[rows, columns]`.
        central_square: Whether they cover only the central square of the image.
        stamp_ns: Stamp of the image.
    """

    shares: NDArray[np.float32]
    central_square: bool
    stamp_ns: int


class Explain(Protocol):
    """Finds the attention to a predicate in the newest image of a sensor at a time."""

    def __call__(self, name: str, modality: str, stamp_ns: int) -> Attention:
        """Return the attention.

        Args:
            name: Name of a predicate, or a sentence.
            modality: Modality of the sensor.
            stamp_ns: The time.

        Raises:
            ValueError: There is no attention; the message gives the reason.
        """
        ...


def explainable(binder: Binder | None) -> list[str]:
    """Return the modalities of images with a readout."""
    readouts = () if binder is None else binder.readouts
    return [name for name in readouts if MODALITIES[name].kind != 'sound']


def drawn(jpeg: bytes, attention: Attention) -> bytes:
    """Draw the attention over an image; both are JPEG."""
    import cv2

    from train.score.heat_map import draw_heat

    picture = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    canvas = draw_heat(picture, attention.shares, central_square=attention.central_square)
    return bytes(cv2.imencode('.jpg', canvas, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())


class Explainer:
    """Finds the attention with a model of this process; implements `Explain`.

    Args:
        binder: The model set.
        predicates: Predicates that may be named.
        observe: Returns the evidence of a modality at a stamp and its own stamp; raises ValueError
            if there is none.
    """

    def __init__(
        self,
        binder: Binder,
        predicates: Sequence[Predicate],
        observe: Callable[[str, int], tuple[int, Evidence]],
    ) -> None:
        self._binder, self._observe = binder, observe
        self._predicates = {predicate.name: predicate for predicate in predicates}
        self._banks: dict[str, PredicateBank] = {}

    def __call__(self, name: str, modality: str, stamp_ns: int) -> Attention:
        """Return the attention; see `Explain`."""
        if modality not in explainable(self._binder):
            raise ValueError(f'model set {self._binder.model} has no readout of {modality} images')
        if name not in self._banks:
            predicate = self._predicates.get(name) or Predicate.from_sentence(name, name=name)
            self._banks[name] = PredicateBank([predicate], self._binder)
        found_ns, evidence = self._observe(modality, stamp_ns)
        shares = self._banks[name].why(name, modality, evidence)
        square = family_of(self._binder.preprocessing[modality]) == LANGUAGEBIND
        return Attention(shares, square, found_ns)
