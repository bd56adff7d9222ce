"""What a person taught: presses, and the lesson of each predicate.

A press says that a predicate is true or false at one moment or for a stretch of time. It keeps the
mean of what the sensors showed, as vectors: no picture and no sound.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.errors import ModelSetError, SpaceError
from encoders.model_sets.binder import Binder
from encoders.model_sets.evidence import Evidence
from encoders.predicates.predicate import Predicate, PredicateError
from encoders.regions import modality_of

Half = NDArray[np.float16]
# Presses of a predicate, which bounds the time of a fit.
MAX_PRESSES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Press:
    """One labelled moment or stretch of time, the mean over its frames.

    Attributes:
        truth: What was said.
        stamp_ns: Time of the moment, or the end of the stretch.
        frames: Number of moments that were averaged.
        vectors: By modality with evidence, the embedding, float16 `[D]`.
        states: By modality that was read from tokens, the readout's answer to the predicate,
            float16 `[D]`.
        token_log_odds: By modality that was read from tokens, the readout's log-odds before
            calibration.
        statistics: By modality of series, statistics of the window, float16 `[S]`.
        source: Where it comes from, for example a bag; empty for live sensors.
        key: Identifies the press.
    """

    truth: bool
    stamp_ns: int
    frames: int
    vectors: Mapping[str, Half]
    states: Mapping[str, Half] = field(default_factory=dict)
    token_log_odds: Mapping[str, float] = field(default_factory=dict)
    statistics: Mapping[str, Half] = field(default_factory=dict)
    source: str = ''
    key: str = field(default_factory=lambda: secrets.token_hex(6))


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A predicate and its presses, in order.

    The presses depend on the sentences of the predicate, so a lesson is used only for a predicate
    with the same ones.
    """

    predicate: Predicate
    presses: tuple[Press, ...] = ()

    @property
    def counts(self) -> tuple[int, int]:
        """Number of true and of false presses."""
        yes = sum(press.truth for press in self.presses)
        return yes, len(self.presses) - yes

    def fits(self, predicate: Predicate) -> bool:
        """Whether a predicate has the sentences that were taught."""
        return predicate.sentences == self.predicate.sentences

    def adding(self, *presses: Press) -> Lesson:
        """The lesson with more presses; those with known keys are left out.

        Raises:
            PredicateError: There would be more than `MAX_PRESSES`.
        """
        known = {press.key for press in self.presses}
        new = tuple(press for press in presses if press.key not in known)
        if len(self.presses) + len(new) > MAX_PRESSES:
            raise PredicateError(
                f'predicate {self.predicate.name!r}: more than {MAX_PRESSES} presses; '
                f'undo some (predicates/untaught)'
            )
        return replace(self, presses=self.presses + new)

    def without(self, keys: Iterable[str]) -> Lesson:
        """The lesson without some presses.

        Raises:
            KeyError: There is no press of a key.
        """
        gone, known = set(keys), {press.key for press in self.presses}
        if gone - known:
            raise KeyError(f'{self.predicate.name}: no press {sorted(gone - known)[0]!r}')
        return replace(self, presses=tuple(p for p in self.presses if p.key not in gone))


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Everything that was taught to one model set.

    Attributes:
        space: Language space.
        model: Name of the model set.
        weights_sha256: SHA-256 of its weights; empty for a set without a manifest.
        readouts: By modality, the identity of the readout that the presses' answers are of.
        by_name: Lessons by the name of the predicate.
    """

    space: str
    model: str
    weights_sha256: str
    readouts: Mapping[str, str] = field(default_factory=dict)
    by_name: Mapping[str, Lesson] = field(default_factory=dict)

    @classmethod
    def of(cls, binder: Binder) -> Lessons:
        """No lessons, for a model set."""
        return cls(binder.space, binder.model, binder.weights_sha256, dict(binder.readout_ids))

    def __len__(self) -> int:
        return len(self.by_name)

    def check(self, binder: Binder, *, where: str) -> None:
        """Refuse lessons of another model set.

        Args:
            binder: The model set that is to use them.
            where: Where they come from, for the message.

        Raises:
            SpaceError: They are of another language space.
            ModelSetError: They are of other weights.
        """
        remedy = f'teach again with {binder.model}, or load {self.model}'
        if self.space != binder.space:
            raise SpaceError(
                f'{where}: taught in the language space {self.space}, not in {binder.space}; '
                f'{remedy}'
            )
        ours, theirs = _identity(binder.weights_sha256, binder.model), _identity(
            self.weights_sha256, self.model
        )  # fmt: skip
        if ours != theirs:
            raise ModelSetError(
                f'{where}: taught with other weights ({theirs}) than those of {binder.model} '
                f'({ours}); {remedy}'
            )

    def for_readouts(self, binder: Binder) -> Lessons:
        """The same with only those answers that the binder's own readouts gave."""
        ours = dict(binder.readout_ids)
        stale = {name for name, known in self.readouts.items() if ours.get(name, known) != known}
        if not stale:
            return replace(self, readouts={**self.readouts, **ours})
        lessons = {
            name: replace(lesson, presses=tuple(_without(p, stale) for p in lesson.presses))
            for name, lesson in self.by_name.items()
        }
        return replace(self, readouts={**self.readouts, **ours}, by_name=lessons)

    def having(self, lesson: Lesson) -> Lessons:
        """The same with another lesson, which replaces that of the same predicate.

        A lesson without presses is removed.
        """
        kept = {n: old for n, old in self.by_name.items() if n != lesson.predicate.name}
        if lesson.presses:
            kept[lesson.predicate.name] = lesson
        return replace(self, by_name=kept)

    def only(self, names: Sequence[str]) -> Lessons:
        """The lessons of some predicates.

        Raises:
            KeyError: One of them was not taught.
        """
        for name in names:
            if name not in self.by_name:
                raise KeyError(f'predicate {name!r} was not taught')
        return replace(self, by_name={name: self.by_name[name] for name in names})

    def is_of(self, other: Lessons) -> bool:
        """Whether both are of the same model set."""
        ours, theirs = (
            (each.space, _identity(each.weights_sha256, each.model)) for each in (self, other)
        )
        return ours == theirs

    def merged(self, other: Lessons) -> Lessons:
        """Both; presses of the same key count once.

        Raises:
            SpaceError: The other is of another language space.
            ModelSetError: The other is of other weights.
            PredicateError: A predicate of the same name has other sentences in the other.
        """
        if other.space != self.space:
            raise SpaceError(f'lessons of {other.space} cannot join those of {self.space}')
        if _identity(other.weights_sha256, other.model) != _identity(
            self.weights_sha256, self.model
        ):
            raise ModelSetError(f'lessons of other weights than those of {self.model}')
        found = self
        for name, lesson in other.by_name.items():
            mine = self.by_name.get(name, Lesson(lesson.predicate))
            if not mine.fits(lesson.predicate):
                raise PredicateError(
                    f'predicate {name!r}: taught with other sentences there '
                    f'({lesson.predicate.positive[0]!r}); rename one of them',
                    field='positive',
                )
            found = found.having(mine.adding(*lesson.presses))
        return found


def _identity(weights_sha256: str, model: str) -> str:
    return weights_sha256[:12] or model


def _without(press: Press, stale: set[str]) -> Press:
    def kept(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if modality_of(name) not in stale}

    return replace(press, states=kept(press.states), token_log_odds=kept(press.token_log_odds))


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What one predicate reads of one moment.

    Attributes:
        vectors: By modality with valid evidence, the mean vector of its sensors, float32 `[D]`.
        states, token_log_odds, statistics: As in `Press`, float32.
    """

    vectors: Mapping[str, NDArray[np.float32]]
    states: Mapping[str, NDArray[np.float32]]
    token_log_odds: Mapping[str, float]
    statistics: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def press_of(frames: Sequence[Frame], *, truth: bool, stamp_ns: int, source: str = '') -> Press:
    """One press from the frames of its stretch.

    Raises:
        ValueError: No sensor has valid evidence in any frame.
    """
    used = [frame for frame in frames if frame.vectors]
    if not used:
        raise ValueError('no sensor has valid evidence at that time')
    return Press(
        truth=truth,
        stamp_ns=stamp_ns,
        frames=len(used),
        vectors=_means([frame.vectors for frame in used]),
        states=_means([frame.states for frame in used]),
        statistics=_means([frame.statistics for frame in used]),
        token_log_odds={
            name: float(value)
            for name, value in _means([f.token_log_odds for f in used], np.float32).items()
        },
        source=source,
    )


def valid(evidence: Mapping[str, Sequence[Evidence]]) -> dict[str, list[Evidence]]:
    """The evidence that counts, by modality."""
    found = {
        name: [each for each in several if not each.invalid_reason]
        for name, several in evidence.items()
    }
    return {name: several for name, several in found.items() if several}


def _means(rows: Sequence[Mapping[str, Any]], dtype: Any = np.float16) -> dict[str, Any]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: np.mean([row[name] for row in rows if name in row], axis=0).astype(dtype)
        for name in names
    }
