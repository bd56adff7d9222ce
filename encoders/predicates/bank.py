"""Scores predicates on embeddings: contrasts of sentences, probabilities, fusion."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array

from encoders.model_sets.anchors import sparse_shares
from encoders.model_sets.binder import Binder, Embedded
from encoders.model_sets.evidence import Evidence
from encoders.predicates.file import load_predicates
from encoders.predicates.fusion import NO_TOKENS, NONE_INVALID, Ages, Scores, fuse
from encoders.predicates.lessons import Frame, Lesson, Lessons, valid
from encoders.predicates.parameters import Bools, Floats, Table
from encoders.predicates.predicate import Predicate, PredicateError, check_regions
from encoders.predicates.readout import DEFAULT_BUDGET_MS, TokenReader
from encoders.predicates.taught_file import taught_path, usable_lessons
from encoders.predicates.taught_reader import Subject, Taught, TaughtReader, note_of
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
        other = self.emptied()
        other._entries, other._reader = dict(self._entries), self._reader.copy()
        other._taught = self._taught.copy()
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
        self._arrange()

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
            read = [(each, *self.read(modality, each)) for each in several]
            told = [(each, values) for each, values, written in read if written[place]]
            if len(told) == len(several):
                odds[modality] = float(np.mean([values[1, place] for _, values in told]))
                found = [self._answers([predicate], modality, each)[0] for each, _ in told]
                states[modality] = np.mean(found, axis=0)
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
            if isinstance(given, np.ndarray) and not self._taught.by_place:
                rows[name] = self.similarities(given, modality=name)
                continue
            if isinstance(given, np.ndarray):
                read = [self.read(name, Evidence(row)) for row in np.atleast_2d(given)]
                rows[name] = np.stack([values for values, _ in read])
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
            Where predicates were taught, `ROWS` rows of `TaughtReader.rows` follow.

        Raises:
            ValueError: The tokens are not of the modality's readout.
        """
        values = self.similarities(evidence.vector, modality=modality)[0]
        cosines = values[1].copy()  # the tokens' log-odds replace some of them
        written = self._read_tokens(modality, evidence, values[1])
        if not self._taught.by_place or modality not in self.table.columns:
            return values, written
        predicates = [self.predicates[place] for place in self._taught.by_place]
        more = self._taught.rows(
            modality,
            evidence,
            cosines=cosines,
            values=values[1],
            written=written,
            answers=self._answers(predicates, modality, evidence) if written.any() else None,
            table=self.table,
        )
        return np.concatenate([values, more]), written

    def _answers(
        self, predicates: Sequence[Predicate], modality: str, evidence: Evidence
    ) -> Floats:
        assert evidence.tokens is not None
        return self._reader.answers(predicates, modality, evidence.tokens)

    def _read_tokens(self, modality: str, evidence: Evidence, values: Floats) -> Bools:
        """Write the log-odds of predicates that are read from tokens, as `TokenReader.read`."""
        if evidence.tokens is None or modality not in self._reader.table.columns:
            return np.zeros(len(values), bool)
        return self._reader.read(modality, evidence.tokens, values)

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
        rows = np.atleast_2d(np.asarray(vectors, np.float32))
        if not self._entries:
            return np.zeros((len(rows), 2, 0), np.float32)
        # PyTorch's product with one vector starts no threads. Products of NumPy, or with several
        # vectors, do, and are much slower when another process occupies a core.
        parts = [torch.from_numpy(row[None]) @ self._contrasts for row in rows]
        said = np.concatenate([part.numpy() for part in parts])
        if not self._smoothing:
            return np.stack([said, said], axis=1)
        own, shares, along = self._smoothing[self._part_of.get(modality_of(modality), 0)]
        read = own * said + (shares @ (along @ rows.T)).T
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
        texts = {name: rows[:, :2] for name, rows in similarities.items()}
        scores = fuse(self.table, texts, ages_ms=ages_ms, invalid=invalid, from_tokens=from_tokens)
        taught = {name: rows[:, 2:] for name, rows in similarities.items() if rows.shape[1] > 2}
        if not taught:
            return scores
        return self._taught.apply(scores, taught, ages_ms=ages_ms, invalid=invalid)

    def _arrange(self) -> None:
        """Stack the arrays for scoring."""
        entries = list(self._entries.values())
        # `[D, P]`: the product of a vector with it sums long rows, which is faster.
        columns = [e.contrast for e in entries] or [np.zeros(0, np.float32)]
        self._contrasts = torch.from_numpy(np.stack(columns, axis=1))
        calibration = self._binder.calibration
        self._smoothing: list[tuple[Floats, csr_array, Floats]] = []
        self._part_of: dict[str, int] = {}
        for number, part in enumerate(calibration.parts if calibration and entries else ()):
            anchors = [e.anchors[number] for e in entries]
            used, shares = sparse_shares(anchors)
            own = np.concatenate([one.own for one in anchors])
            self._smoothing.append((own, shares, part.facts.contrasts[used]))
            self._part_of |= dict.fromkeys(part.modalities, number)
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
        subjects = []
        for place, (name, entry) in enumerate(self._entries.items()):
            lesson = None if self._lessons is None else self._lessons.by_name.get(name)
            if lesson is not None and lesson.fits(entry.predicate):
                subjects.append(Subject(place, lesson, partial(smoothed, self._binder, entry)))
        self._taught.arrange(subjects, self.table)
        if not subjects:
            return
        notes = list(self.table.notes)
        for place, taught in self._taught.by_place.items():
            notes[place] = '; '.join(filter(None, (notes[place], note_of(taught))))
        self.table = replace(self.table, notes=tuple(notes))
