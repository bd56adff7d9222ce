"""Scores predicates on embeddings: contrasts of sentences, probabilities, fusion."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from encoders.model_sets.binder import Binder, Embedded
from encoders.model_sets.calibration import ANCHORS, Anchors, Calibration, Fit, sparse_shares
from encoders.model_sets.evidence import Evidence
from encoders.predicates.agreement import agrees
from encoders.predicates.file import load_predicates
from encoders.predicates.fusion import NO_TOKENS, NONE_INVALID, Ages, Scores, fuse
from encoders.predicates.parameters import Bools, Column, Floats, Table
from encoders.predicates.predicate import Predicate, PredicateError
from encoders.predicates.readout import DEFAULT_BUDGET_MS, TokenReader
from encoders.predicates.wording import Sides, sides

# Slope of uncalibrated scores: CLIP's largest logit scale.
DEFAULT_SLOPE = 100.0
# Sentences per call of the text tower, so that its other users do not wait long.
CHUNK = 32
# Pause between two calls, in which waiting users of the tower take their turn.
PAUSE_S = 0.002


@dataclass(frozen=True, slots=True)
class _Entry:
    """A predicate with its text contrast `[D]`, smoothing and calibration."""

    predicate: Predicate
    contrast: Floats
    anchors: Anchors | None
    fit: Fit | None
    note: str


class PredicateBank:
    """A set of predicates with their text contrasts, for embeddings of one language space.

    Where the model set has a readout of a modality, predicates are read from the tokens of its
    evidence (`Binder.observe`). Evidence without tokens is read from its vector.

    Args:
        predicates: The predicates.
        binder: Binder with their text tower, calibration and readouts.
        readout_budget_ms: Predicates are read from tokens in order of addition while reading one
            sample of every modality takes no longer than this; the others are read from the
            vector, and their `reasons` say so. Unbounded: `math.inf`.

    Attributes:
        predicates: The predicates, in order of addition.
        table: Their parameters for scoring.

    Raises:
        PredicateError: Two predicates have the same name, or one is invalid.
    """

    def __init__(
        self,
        predicates: Sequence[Predicate],
        binder: Binder,
        *,
        readout_budget_ms: float = DEFAULT_BUDGET_MS,
    ) -> None:
        self._binder = binder
        self._reader = TokenReader(binder, budget_ms=readout_budget_ms)
        self._entries: dict[str, _Entry] = {}
        for name, count in Counter(predicate.name for predicate in predicates).items():
            if count > 1:
                raise PredicateError(f'two predicates are named {name!r}', field='name')
        self.extend(predicates)

    @classmethod
    def load(
        cls, path: str | Path, binder: Binder, *, readout_budget_ms: float = DEFAULT_BUDGET_MS
    ) -> PredicateBank:
        """Make a bank from a YAML file (see `load_predicates`)."""
        return cls(load_predicates(path), binder, readout_budget_ms=readout_budget_ms)

    @property
    def space(self) -> str:
        """Identity of its language space."""
        return self._binder.space

    @property
    def binder(self) -> Binder:
        """The binder whose text tower and calibration it uses."""
        return self._binder

    def emptied(self) -> PredicateBank:
        """An independent bank without predicates, of the same binder and budget."""
        return PredicateBank([], self._binder, readout_budget_ms=self._reader.budget_ms)

    def copy(self) -> PredicateBank:
        """An independent bank with the same predicates."""
        other = self.emptied()
        other._entries, other._reader = dict(self._entries), self._reader.copy()
        other._arrange()
        return other

    def add(self, predicate: Predicate) -> None:
        """Add a predicate, or replace the one with the same name.

        Raises:
            PredicateError: Its positive and negative sentences have the same meaning.
        """
        self.extend([predicate])

    def extend(self, predicates: Sequence[Predicate]) -> None:
        """Add predicates, or replace those with the same names; all or nothing.

        Raises:
            PredicateError: Predicates are invalid; the message has one line per predicate.
        """
        refused = self.try_extend(predicates)
        if refused:
            raise PredicateError('\n'.join(refused.values()))

    def try_extend(self, predicates: Sequence[Predicate]) -> dict[str, str]:
        """Like `extend`, but return why predicates were refused, by name; then none is added."""
        read = predicates[: self._reader.room(len(self._entries), len(predicates))]
        asked = [*(p.sentences for p in predicates), *(sides(p) for p in read)]
        embed_ahead(self._binder, asked)
        made, refused = {}, {}
        for predicate in predicates:
            try:
                made[predicate.name] = self._entry(predicate)
            except ValueError as error:  # PredicateError, or an error of the text tower
                refused[predicate.name] = str(error)
        if not refused:
            self._entries |= made
            self._arrange()
        return refused

    def remove(self, *names: str) -> None:
        """Remove predicates; all or nothing.

        Raises:
            KeyError: A name is unknown.
        """
        for name in names:
            if name not in self._entries:
                raise KeyError(f'no predicate {name!r}')
        gone = set(names)
        self._entries = {name: e for name, e in self._entries.items() if name not in gone}
        self._arrange()

    def score(
        self,
        embeddings: Mapping[str, Floats | Evidence | Sequence[Evidence]],
        *,
        ages_ms: Mapping[str, Ages] | None = None,
        invalid: Mapping[str, Sequence[str]] | None = None,
    ) -> Scores:
        """Score all predicates on the newest evidence of each modality.

        Args:
            embeddings: By modality, the evidence of a sensor or of several, which are averaged; or
                only unit vectors of this bank's language space, `[D]` or `[S, D]`, which are read
                without tokens.
            ages_ms: By modality, the age of its evidence, or one age per sensor. Evidence older
                than a predicate's `max_age_ms` does not count; in the second half of this age it
                is weighted down. None: all evidence is fresh.
            invalid: By modality, one reason per sensor why its evidence does not count, empty if
                it counts. None uses the reasons of the evidence or of `Binder.embed`.

        Returns:
            A sequence with one `PredicateScore` per predicate, created on access.

        Raises:
            ValueError: The tokens of a modality are not of its readout.
        """
        rows, from_tokens, reasons = {}, {}, {}
        for name, given in embeddings.items():
            if name not in self.table.columns:
                continue
            if isinstance(given, np.ndarray):
                rows[name] = self.similarities(given)
                continue
            several = [given] if isinstance(given, Evidence) else list(given)
            read = [self.read(name, evidence) for evidence in several]
            rows[name] = np.stack([values for values, _ in read])
            from_tokens[name] = np.stack([written for _, written in read])
            reasons[name] = [evidence.invalid_reason for evidence in several]
        if invalid is None:
            invalid = embeddings.invalid if isinstance(embeddings, Embedded) else reasons
        return self.weigh(rows, ages_ms=ages_ms, invalid=invalid, from_tokens=from_tokens)

    def read(self, modality: str, evidence: Evidence) -> tuple[Floats, Bools]:
        """Read all predicates from the evidence of one sensor.

        Returns:
            float32 `[2, P]` as of `similarities`, where the second row holds the log-odds of the
            readout for predicates that were read from tokens, and which these are, bool `[P]`.

        Raises:
            ValueError: The tokens are not of the modality's readout.
        """
        values = self.similarities(evidence.vector)[0]
        if evidence.tokens is None or modality not in self._reader.table.columns:
            return values, np.zeros(values.shape[1], bool)
        return values, self._reader.read(modality, evidence.tokens, values[1])

    def why(self, name: str, modality: str, evidence: Evidence) -> Floats:
        """Where the readout of a modality looks to answer a predicate.

        Args:
            name: Name of a predicate.
            modality: A modality with a readout.
            evidence: Evidence of this modality with tokens.

        Returns:
            Attention over the patches of the input, float32 `[rows, columns]`, with a sum of at
            most 1 (the rest is on the class token).

        Raises:
            KeyError: No predicate has this name.
            ValueError: There is no readout, or the evidence has no tokens.
        """
        if name not in self._entries:
            raise KeyError(f'no predicate {name!r}')
        return self._reader.why(self._entries[name].predicate, modality, evidence)

    def similarities(self, vectors: Floats) -> Floats:
        """Cosines float32 `[S, 2, P]` of unit vectors `[D]` or `[S, D]`.

        The first row is for the text contrasts, the second for the smoothed contrasts (see
        `encoders.model_sets.calibration.Anchors`).
        """
        rows = np.atleast_2d(np.asarray(vectors, np.float32))
        if not self._entries:
            return np.zeros((len(rows), 2, 0), np.float32)
        # PyTorch's product with one vector starts no threads. Products of NumPy, or with several
        # vectors, do, and are much slower when another process occupies a core.
        parts = [torch.from_numpy(row[None]) @ self._contrasts for row in rows]
        said = np.concatenate([part.numpy() for part in parts])
        if self._shares is None:
            return np.stack([said, said], axis=1)
        read = self._own * said + (self._shares @ (self._along @ rows.T)).T
        return np.stack([said, read], axis=1)

    def weigh(
        self,
        similarities: Mapping[str, Floats],
        *,
        ages_ms: Mapping[str, Ages] | None = None,
        invalid: Mapping[str, Sequence[str]] = NONE_INVALID,
        from_tokens: Mapping[str, Bools] = NO_TOKENS,
    ) -> Scores:
        """Like `score`, from the results of `read` or `similarities`, stacked over sensors."""
        return fuse(
            self.table, similarities, ages_ms=ages_ms, invalid=invalid, from_tokens=from_tokens
        )

    def _entry(self, predicate: Predicate) -> _Entry:
        _check_length(self._binder, predicate)
        said, contrast = text_vectors(self._binder, predicate)
        calibration = self._binder.calibration
        fit, anchors, note = None, None, ''
        if calibration is not None:
            # A calibration of the predicate itself was fitted with the smoothed contrast.
            trusted = bool(predicate.calibration) or agrees(
                calibration, predicate, said, denied(self._binder, predicate), contrast
            )
            fit = calibration.fit_for(said, contrast) if trusted else None
            anchors = (
                calibration.anchors_for(said[None], contrast[None])
                if trusted
                else _alone(calibration)
            )
        if predicate.calibration:
            if predicate.calibration_space == self.space:
                fit = _with_own(fit, predicate)
            else:
                note = f'its calibration is of {predicate.calibration_space}, another space'
        return _Entry(predicate, contrast, anchors, fit, note)

    def _arrange(self) -> None:
        """Stack the arrays for scoring."""
        entries = list(self._entries.values())
        # `[D, P]`: the product of a vector with it sums long rows, which is faster.
        columns = [e.contrast for e in entries] or [np.zeros(0, np.float32)]
        self._contrasts = torch.from_numpy(np.stack(columns, axis=1))
        calibration = self._binder.calibration
        anchors = [e.anchors for e in entries if e.anchors is not None]
        self._shares = None
        if calibration is not None and anchors:
            self._own = np.concatenate([one.own for one in anchors])
            used, self._shares = sparse_shares(anchors)
            self._along = calibration.facts.contrasts[used]
        limits_ms, limit_of = np.unique(
            np.array([e.predicate.max_age_ms for e in entries], np.float64), return_inverse=True
        )
        self.predicates = tuple(e.predicate for e in entries)
        if self._binder.readouts:
            self._reader.arrange(self.predicates)
        self.table = Table(
            names=tuple(self._entries),
            notes=tuple(e.note for e in entries),
            calibrated=np.array([e.fit is not None for e in entries], bool),
            limits_ms=limits_ms,
            limit_of=limit_of,
            columns={name: _column(name, entries) for name in self._binder.modalities},
            tokens=self._reader.table if self._binder.readouts else None,
        )


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


def _column(name: str, entries: Sequence[_Entry]) -> Column:
    rows = []
    for entry in entries:
        predicate, fit = entry.predicate, entry.fit
        asked = not predicate.modalities or name in predicate.modalities
        fitted = fit is not None and name in fit.slope
        slope, offset = DEFAULT_SLOPE, 0.0
        if fit is not None and fitted:
            slope, offset = fit.slope[name], fit.offset[name]
        weight = 1.0 if fit is None else fit.weight.get(name, 0.0)
        rows.append((asked, fitted, slope, offset, predicate.weights.get(name, weight)))
    table = np.array(rows, np.float32).reshape(-1, 5).T
    return Column(table[0] > 0, table[1] > 0, table[2], table[3], table[4])
