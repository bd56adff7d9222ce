"""Predicates as their texts: contrasts, smoothing and calibration, by the text tower."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from encoders.model_sets.anchors import ANCHORS, Anchors
from encoders.model_sets.binder import Binder
from encoders.model_sets.calibration import Calibration, Fit, united
from encoders.model_sets.foreign import is_foreign
from encoders.one_core import on_one_core
from encoders.predicates.agreement import agrees
from encoders.predicates.parameters import Column, Floats, asks, column_of
from encoders.predicates.predicate import Predicate, PredicateError
from encoders.predicates.wording import Sides
from encoders.regions import modality_of

# Slope of uncalibrated scores: CLIP's largest logit scale.
DEFAULT_SLOPE = 100.0
# Sentences per call of the text tower, so that its other users do not wait long.
CHUNK = 32
# Pause between two calls, in which waiting users of the tower take their turn.
PAUSE_S = 0.002


@dataclass(frozen=True, slots=True)
class Entry:
    """A predicate with its text contrast `[D]`, smoothing and calibration.

    `anchors` are those of each part of the calibration; empty without one.
    """

    predicate: Predicate
    contrast: Floats
    anchors: tuple[Anchors, ...]
    fit: Fit | None
    note: str


def entry_for(binder: Binder, predicate: Predicate) -> Entry:
    """The contrast of a predicate, its smoothing and calibration.

    Raises:
        PredicateError: A sentence is too long, or both sides have the same meaning.
    """
    _check_length(binder, predicate)
    said, contrast = text_vectors(binder, predicate)
    calibration = binder.calibration
    fits: list[Fit | None] = []
    anchors: list[Anchors] = []
    note = ''
    for part in () if calibration is None else calibration.parts:
        # A calibration of the predicate itself was fitted with the smoothed contrast.
        trusted = bool(predicate.calibration) or (
            agrees(part, predicate, said, denied(binder, predicate), contrast)
            and not _is_foreign(part, binder, predicate)
        )
        fits.append(part.fit_for(said, contrast) if trusted else None)
        anchors.append(part.anchors_for(said[None], contrast[None]) if trusted else _alone(part))
    fit = united(fits)
    if predicate.calibration:
        if predicate.calibration_space == binder.space:
            fit = _with_own(fit, predicate)
        else:
            note = f'its calibration is of {predicate.calibration_space}, another space'
    return Entry(predicate, contrast, tuple(anchors), fit, note)


def smoothed(binder: Binder, entry: Entry, vectors: Floats, modality: str) -> Floats:
    """Cosines `[N]` of vectors float32 `[N, D]` with the smoothed contrast of a predicate."""
    calibration, contrast = binder.calibration, entry.contrast
    if calibration is not None:
        number = calibration.part_of(modality_of(modality))
        anchors = entry.anchors[number]
        known = anchors.share[0] @ calibration.parts[number].facts.contrasts[anchors.nearest[0]]
        contrast = anchors.own[0] * contrast + known
    rows, along = torch.from_numpy(vectors), torch.from_numpy(np.asarray(contrast, np.float32))
    with on_one_core():
        return np.asarray((rows @ along).numpy(), np.float32)


def _is_foreign(part: Calibration, binder: Binder, predicate: Predicate) -> bool:
    assert binder.calibration is not None
    positive, negative = (binder.embed_text(side).mean(axis=0) for side in predicate.sentences)
    return is_foreign(part, binder.calibration.parts, positive=positive, negative=negative)


def _alone(calibration: Calibration) -> Anchors:
    """A contrast that is not smoothed, of the same shape as those that are."""
    count = min(ANCHORS, len(calibration.facts.said))
    nothing = np.zeros((1, count))
    return Anchors(np.ones(1, np.float32), nothing.astype(np.float32), nothing.astype(np.int64))


def embed_ahead(binder: Binder, asked: Iterable[Sides]) -> None:
    """Embed all sentences in chunks; the text tower caches them."""
    told = {text for pair in asked for side in pair for text in side if text.strip()}
    sentences = sorted(told, key=len)  # sentences of similar length need less padding
    for start in range(0, len(sentences), CHUNK):
        binder.embed_text(sentences[start : start + CHUNK])
        time.sleep(PAUSE_S)


def _check_length(binder: Binder, predicate: Predicate) -> None:
    for field, side in zip(('positive', 'negative'), predicate.sentences, strict=True):
        for sentence in side:
            if lost := binder.unread(sentence):
                raise PredicateError(
                    f'predicate {predicate.name!r}: {field}: the text tower would not read the '
                    f'last {lost} tokens of {sentence!r}',
                    field=field,
                )


def text_vectors(binder: Binder, predicate: Predicate) -> tuple[Floats, Floats]:
    """The mean positive sentence vector, and its difference to the mean negative one.

    The difference expresses the state, because a text tower places "open" and "closed" close
    together.

    Returns:
        Both vectors, `[D]`, unit length.

    Raises:
        PredicateError: Positive and negative sentences have nearly the same vector.
    """
    yes, no = predicate.sentences
    said = binder.embed_text(yes).mean(axis=0)
    difference = said - binder.embed_text(no).mean(axis=0)
    length = float(np.linalg.norm(difference))
    if length < 1e-4:
        raise PredicateError(
            f'predicate {predicate.name!r}: positive and negative sentences have the same meaning',
            field='negative',
        )
    unit = said / max(float(np.linalg.norm(said)), 1e-6)
    return np.asarray(unit, np.float32), np.asarray(difference / length, np.float32)


def denied(binder: Binder, predicate: Predicate) -> Floats:
    """The negative sentences of a predicate, `[K, D]`, unit rows."""
    rows = binder.embed_text(predicate.sentences[1])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _with_own(fit: Fit | None, predicate: Predicate) -> Fit:
    """The fit with the predicate's own calibration instead of the interpolated one."""
    own = predicate.calibration
    kept = fit if fit is not None else Fit({}, {}, {}, 1.0)
    return Fit(
        slope=kept.slope | {name: line.slope for name, line in own.items()},
        offset=kept.offset | {name: line.offset for name, line in own.items()},
        weight=kept.weight | dict.fromkeys(own, 1.0),
        similarity=1.0,
    )


def vector_column(sensor: str, entries: Sequence[Entry]) -> Column:
    """Parameters of all predicates for the vectors of a sensor."""
    predicates = [entry.predicate for entry in entries]
    asked = [asks(predicate, sensor) for predicate in predicates]
    fits = [entry.fit for entry in entries]
    return column_of(sensor, predicates, fits, asked=asked, slope=DEFAULT_SLOPE)
