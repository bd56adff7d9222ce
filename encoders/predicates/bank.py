"""Scores predicates on embeddings: contrasts of sentences, probabilities, fusion."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from encoders.model_sets.binder import Binder, Embedded
from encoders.model_sets.evidence import Evidence
from encoders.predicates.contrasts import Contrasts
from encoders.predicates.file import load_predicates
from encoders.predicates.fusion import NO_TOKENS, NONE_INVALID, Ages, Scores, fuse
from encoders.predicates.lessons import Frame, Lesson, Lessons, valid
from encoders.predicates.parameters import Bools, Floats, Table
from encoders.predicates.predicate import Predicate, PredicateError, check_regions
from encoders.predicates.readout import DEFAULT_BUDGET_MS, TokenReader
from encoders.predicates.taught_file import taught_path, usable_lessons
from encoders.predicates.taught_heads import Subject, Taught, note_of
from encoders.predicates.taught_reader import TaughtReader
from encoders.predicates.texts import Entry, embed_ahead, entry_for, smoothed, vector_column
from encoders.predicates.wording import sides
from encoders.regions import modality_of


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
        lessons: What was taught to this model set; used for predicates with the same name and
            sentences.
        regions: Parts of views that predicates may name, as `depth@gripper`. Everywhere below,
            evidence of such a part is given under this name; only predicates that name it use it,
            with the readout and the calibration of its modality.

    Attributes:
        predicates: The predicates, in order of addition.
        regions: See above.
        table: Their parameters for scoring.

    Raises:
        PredicateError: Two predicates have the same name, or one is invalid.
        KeyError: The model set has no encoder for the modality of a region.
        SpaceError, ModelSetError: The lessons are of another model set.
    """

    def __init__(
        self,
        predicates: Sequence[Predicate],
        binder: Binder,
        *,
        readout_budget_ms: float = DEFAULT_BUDGET_MS,
        lessons: Lessons | None = None,
        regions: Sequence[str] = (),
    ) -> None:
        self._binder, self.regions = binder, tuple(regions)
        for region in self.regions:
            if modality_of(region) not in binder.modalities:
                raise KeyError(f'region {region}: {binder.model} has no such encoder')
        self._sensors = (*binder.modalities, *self.regions)
        self._reader = TokenReader(binder, budget_ms=readout_budget_ms, regions=self.regions)
        self._taught = TaughtReader(self._sensors)
        self._lessons = lessons
        if lessons is not None:
            lessons.check(binder, where='lessons')
            self._lessons = lessons.for_readouts(binder)
        self._entries: dict[str, Entry] = {}
        for name, count in Counter(predicate.name for predicate in predicates).items():
            if count > 1:
                raise PredicateError(f'two predicates are named {name!r}', field='name')
        self.extend(predicates)

    @classmethod
    def load(
        cls, path: str | Path, binder: Binder, *, readout_budget_ms: float = DEFAULT_BUDGET_MS
    ) -> PredicateBank:
        """Make a bank from a YAML file (see `load_predicates`).

        What was taught is used as well, if it is next to that file (see `taught_path`); a file of
        another model set gives a warning.
        """
        lessons = usable_lessons(taught_path(Path(path)), binder, warn=warnings.warn)
        predicates = load_predicates(path)
        return cls(predicates, binder, readout_budget_ms=readout_budget_ms, lessons=lessons)

    @property
    def space(self) -> str:
        """Identity of its language space."""
        return self._binder.space

    @property
    def binder(self) -> Binder:
        """The binder whose text tower and calibration it uses."""
        return self._binder

    def emptied(self) -> PredicateBank:
        """An independent bank without predicates, of the same binder, regions and budget."""
        return PredicateBank(
            [],
            self._binder,
            readout_budget_ms=self._reader.budget_ms,
            lessons=self._lessons,
            regions=self.regions,
        )

    def copy(self) -> PredicateBank:
        """An independent bank with the same predicates."""
        other = copy(self)  # arrays are replaced, never changed
        other._entries = dict(self._entries)
        other._reader, other._taught = self._reader.copy(), self._taught.copy()
        return other

    def only(self, name: str) -> PredicateBank:
        """An independent bank with one of the predicates, which costs less to read.

        Raises:
            KeyError: No predicate has this name.
        """
        if name not in self._entries:
            raise KeyError(f'no predicate {name!r}')
        other = self.copy()
        other._entries = {name: self._entries[name]}
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
                check_regions(predicate, self.regions)
                made[predicate.name] = entry_for(self._binder, predicate)
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

    @property
    def lessons(self) -> Lessons:
        """What was taught, also of predicates that are not in the bank."""
        return Lessons.of(self._binder) if self._lessons is None else self._lessons

    @property
    def taught(self) -> dict[str, Taught]:
        """The taught predicates of the bank, by name."""
        return {self.table.names[place]: each for place, each in self._taught.by_place.items()}

    @property
    def taught_reader(self) -> TaughtReader:
        """What reads them."""
        return self._taught

    def teach(self, *lessons: Lesson) -> None:
        """Use other lessons, which replace those of the same predicates; see `Lessons.having`."""
        known = self.lessons
        for lesson in lessons:
            known = known.having(lesson)
        self._lessons = known
        self._arrange_taught()

    def frame(self, name: str, evidence: Mapping[str, Sequence[Evidence]]) -> Frame:
        """What a press of a predicate keeps of one moment.

        Args:
            name: Name of the predicate.
            evidence: By modality, the evidence of its sensors at that moment.

        Raises:
            KeyError: No predicate has this name.
        """
        if name not in self._entries:
            raise KeyError(f'no predicate {name!r}')
        place, predicate = self.table.names.index(name), self._entries[name].predicate
        vectors: dict[str, Floats] = {}
        states: dict[str, Floats] = {}
        odds: dict[str, float] = {}
        statistics: dict[str, Floats] = {}
        for modality, several in valid(evidence).items():
            column = self.table.columns.get(modality)
            if column is None or not column.asked[place]:
                continue
            vectors[modality] = np.mean([each.vector for each in several], axis=0)
            known = [each.statistics for each in several if each.statistics is not None]
            if len(known) == len(several):
                statistics[modality] = np.mean(known, axis=0)
            tokens = [each.tokens for each in several if each.tokens is not None]
            if len(tokens) == len(several) and self._reader.reads(modality, place):
                read, answers = self._reader.ask(predicate, modality, tokens)
                odds[modality], states[modality] = float(read.mean()), answers.mean(axis=0)
        return Frame(vectors, states, odds, statistics)

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
                vectors = [Evidence(row) for row in np.atleast_2d(given)]
                rows[name], _ = self.read_all(name, vectors)
                continue
            several = [given] if isinstance(given, Evidence) else list(given)
            rows[name], from_tokens[name] = self.read_all(name, several)
            reasons[name] = [evidence.invalid_reason for evidence in several]
        if invalid is None:
            invalid = embeddings.invalid if isinstance(embeddings, Embedded) else reasons
        return self.weigh(rows, ages_ms=ages_ms, invalid=invalid, from_tokens=from_tokens)

    def score_all(self, moments: Sequence[Mapping[str, Sequence[Evidence]]]) -> list[Scores]:
        """As `score`, of several moments, whose evidence of a modality is read in one pass."""
        rows: list[dict[str, Floats]] = [{} for _ in moments]
        from_tokens: list[dict[str, Bools]] = [{} for _ in moments]
        for name in self.table.columns:
            seen = [(n, list(moment[name])) for n, moment in enumerate(moments) if name in moment]
            if not seen:
                continue
            evidence = [each for _, several in seen for each in several]
            values, written = self.read_all(name, evidence)
            start = 0
            for number, several in seen:
                these = slice(start, start := start + len(several))
                rows[number][name], from_tokens[number][name] = values[these], written[these]
        invalid = [
            {name: [each.invalid_reason for each in several] for name, several in moment.items()}
            for moment in moments
        ]
        return [
            self.weigh(values, invalid=reasons, from_tokens=written)
            for values, reasons, written in zip(rows, invalid, from_tokens, strict=True)
        ]

    def read(self, modality: str, evidence: Evidence) -> tuple[Floats, Bools]:
        """Read all predicates from the evidence of one sensor.

        Returns:
            float32 `[2, P]` as of `similarities`, where the second row holds the log-odds of the
            readout for predicates that were read from tokens, and which these are, bool `[P]`.
            Where predicates were taught, `ROWS` rows of `TaughtReader.rows` follow.

        Raises:
            ValueError: The tokens are not of the modality's readout.
        """
        values, written = self.read_all(modality, [evidence])
        return values[0], written[0]

    def read_all(self, modality: str, several: Sequence[Evidence]) -> tuple[Floats, Bools]:
        """As `read`, of `S` samples in one pass, `[S, rows, P]` and `[S, P]`."""
        count = len(self.predicates)
        texts = self.similarities(np.stack([each.vector for each in several]), modality=modality)
        values, written = texts.copy(), np.zeros((len(several), count), bool)
        odds = values[:, 1]
        with_tokens = [n for n, each in enumerate(several) if each.tokens is not None]
        tokens = [each.tokens for each in several if each.tokens is not None]
        if tokens and modality in self._reader.table.columns:
            read = odds[with_tokens]
            written[with_tokens] = self._reader.read(modality, tokens, read)
            odds[with_tokens] = read
        if self._taught.by_place and modality in self.table.columns:
            asked = [self.predicates[place] for place in self._taught.by_place]
            found = self._reader.answers(asked, modality, tokens) if written.any() else ()
            answers = dict(zip(with_tokens, found, strict=bool(len(found))))
            more = [
                self._taught.rows(
                    modality,
                    evidence,
                    cosines=texts[n, 1],
                    values=odds[n],
                    written=written[n],
                    answers=answers.get(n),
                    table=self.table,
                )
                for n, evidence in enumerate(several)
            ]
            values = np.concatenate([values, np.stack(more)], axis=1)
        return values, written

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
        return np.asarray(self.why_all([name], modality, evidence)[0])

    def why_all(self, names: Sequence[str], modality: str, evidence: Evidence) -> Floats:
        """As `why`, of several predicates in one pass, float32 `[P, rows, columns]`."""
        for name in names:
            if name not in self._entries:
                raise KeyError(f'no predicate {name!r}')
        asked = [self._entries[name].predicate for name in names]
        return self._reader.why(asked, modality, evidence)

    def similarities(self, vectors: Floats, *, modality: str = '') -> Floats:
        """Cosines float32 `[S, 2, P]` of unit vectors `[D]` or `[S, D]`.

        The first row is for the text contrasts, the second for the smoothed contrasts (see
        `encoders.model_sets.anchors.Anchors`), by the part of the calibration that is the
        modality's; the first part if it is empty.
        """
        return self._contrasts.cosines(np.atleast_2d(vectors), modality)

    def weigh(
        self,
        similarities: Mapping[str, Floats],
        *,
        ages_ms: Mapping[str, Ages] | None = None,
        invalid: Mapping[str, Sequence[str]] = NONE_INVALID,
        from_tokens: Mapping[str, Bools] = NO_TOKENS,
    ) -> Scores:
        """Like `score`, from the results of `read` or `similarities`, stacked over sensors."""
        texts = {name: rows[:, :2] for name, rows in similarities.items()}
        scores = fuse(self.table, texts, ages_ms=ages_ms, invalid=invalid, from_tokens=from_tokens)
        taught = {name: rows[:, 2:] for name, rows in similarities.items() if rows.shape[1] > 2}
        if not taught:
            return scores
        return self._taught.apply(scores, taught, ages_ms=ages_ms, invalid=invalid)

    def _arrange(self) -> None:
        """Stack the arrays for scoring."""
        entries = list(self._entries.values())
        self._contrasts = Contrasts(entries, self._binder.calibration)
        limits_ms, limit_of = np.unique(
            np.array([e.predicate.max_age_ms for e in entries], np.float64), return_inverse=True
        )
        self.predicates = tuple(e.predicate for e in entries)
        if self._binder.readouts:
            self._reader.arrange(self.predicates)
        by_sensor = {name: vector_column(name, entries) for name in self._sensors}
        self.table = Table(
            names=tuple(self._entries),
            notes=tuple(e.note for e in entries),
            # By a sensor that is here: a set may know a text by others only.
            calibrated=np.any(
                [column.asked & column.fitted for column in by_sensor.values()], axis=0
            ),
            limits_ms=limits_ms,
            limit_of=limit_of,
            columns=by_sensor,
            tokens=self._reader.table if self._binder.readouts else None,
        )
        self._arrange_taught()

    def _arrange_taught(self) -> None:
        """Fit what was taught; the other arrays stay."""
        subjects = []
        for place, (name, entry) in enumerate(self._entries.items()):
            lesson = None if self._lessons is None else self._lessons.by_name.get(name)
            if lesson is not None and lesson.fits(entry.predicate):
                subjects.append(Subject(place, lesson, partial(smoothed, self._binder, entry)))
        self._taught.arrange(subjects, self.table)
        notes = [entry.note for entry in self._entries.values()]
        for place, taught in self._taught.by_place.items():
            notes[place] = '; '.join(filter(None, (notes[place], note_of(taught))))
        self.table = replace(self.table, notes=tuple(notes))
