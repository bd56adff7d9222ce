"""What a person chooses when bags become pairs, and what the report says afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from encoders.modalities import MODALITIES
from train.bags.problems import Problems
from train.bags.samples import TOPICS
from train.bags.truth import TRUTH_TOPIC

TASK_TOPICS = ('task/text',)
ANNOTATION_TOPICS = ('annotations', 'annotation/text')
NOTE_TOPICS = ('operator/notes',)
WINDOWS_AT_TEXTS = 'texts'


@dataclass(frozen=True, slots=True)
class PairOptions:
    """How windows are cut and where sentences come from. All topics without a leading slash.

    Attributes:
        modalities: Wanted sensors.
        topics: Modality to the topics it may come from; others take the usual ones.
        truth_topic: `lb_ros/msg/PredicateTruth`.
        task_topics, annotation_topics, note_topics: Any type with a text field; a text holds until
            the next one of its topic, and an empty one ends it.
        windows_at: End a window at every message of this topic; `texts` cuts one window for every
            stretch of time with a text. Empty: at the ground truth, or every second without one.
        every_s: End a window this often instead.
        window_s: Length of a window: of its sound and its clip.
        max_offset_s: A picture further than this from its window's moment is not of it.
        clip_frames: Frames of a clip.
        clock: `header` for stamps of messages, `log` for times of recording.
        phrasings: Name or path of the wordings of predicates.
        sentences_per_fact: Different sentences for one fact.
        max_texts: At most this many sentences a window.
        types_folder: `.msg` files for bags that embed no types.
        seed: Of every choice between sentences and windows.
    """

    modalities: tuple[str, ...] = ('image', 'depth', 'infrared', 'audio')
    topics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    truth_topic: str = TRUTH_TOPIC
    task_topics: tuple[str, ...] = TASK_TOPICS
    annotation_topics: tuple[str, ...] = ANNOTATION_TOPICS
    note_topics: tuple[str, ...] = NOTE_TOPICS
    windows_at: str = ''
    every_s: float | None = None
    window_s: float = 2.0
    max_offset_s: float = 0.1
    clip_frames: int = 8
    clock: str = 'header'
    phrasings: str = 'trained'
    sentences_per_fact: int = 2
    max_texts: int = 24
    types_folder: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            'every_s must be positive': self.every_s is None or self.every_s > 0,
            'window_s must be positive': self.window_s > 0,
            'max_offset_s must not be negative': self.max_offset_s >= 0,
            'clip_frames, sentences_per_fact and max_texts must be at least 1': min(
                self.clip_frames, self.sentences_per_fact, self.max_texts
            )
            >= 1,
            "clock must be 'header' or 'log'": self.clock in ('header', 'log'),
            'windows_at and every_s exclude each other': not (self.windows_at and self.every_s),
        }
        for message, holds in checks.items():
            if not holds:
                raise ValueError(message)
        for name in (*self.modalities, *self.topics):
            if name not in MODALITIES:
                raise ValueError(
                    f'unknown modality {name!r}, expected some of {", ".join(MODALITIES)}'
                )

    def sensor_topics(self, modality: str) -> tuple[str, ...]:
        """The topics that a modality may come from, best first."""
        source = 'image' if MODALITIES[modality].kind == 'clip' else modality
        found = self.topics.get(modality) or self.topics.get(source) or TOPICS.get(source, ())
        return tuple(topic.lstrip('/') for topic in found)

    def text_topics(self) -> dict[str, str]:
        """Topic to the source of its sentences."""
        by_source = {
            'task': self.task_topics,
            'annotation': self.annotation_topics,
            'note': self.note_topics,
        }
        return {t.lstrip('/'): source for source, topics in by_source.items() for t in topics}

    def described(self) -> dict[str, Any]:
        """As JSON takes it."""
        values = asdict(self)
        values['topics'] = {name: list(topics) for name, topics in self.topics.items()}
        values['types_folder'] = None if self.types_folder is None else str(self.types_folder)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


@dataclass
class PairsReport:
    """What was used and what was dropped, and why.

    Attributes:
        bags_used, bags_skipped: Bags with and without a pair.
        windows: Windows that were cut.
        pairs: Windows that became a pair.
        clipped: Windows shortened at a jump in time or at the start of a bag.
        jumps: Jumps in time.
        samples: Pairs with a sample, by modality.
        generated: Of these, those that were predicted from another sensor.
        texts: Sentences of pairs, by source.
        dropped: What was left out, by reason.
        notes: What `problems` are made of.
    """

    bags_used: int = 0
    bags_skipped: int = 0
    windows: int = 0
    pairs: int = 0
    clipped: int = 0
    jumps: int = 0
    samples: Counter[str] = field(default_factory=Counter)
    generated: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Problems = field(default_factory=Problems)

    @property
    def problems(self) -> list[str]:
        """One line each, naming what and where; a flood of messages is one line with a count."""
        return list(self.notes)

    def problem(self, line: str) -> None:
        """Note a problem once."""
        self.notes.add(line)

    def message(self, line: str) -> None:
        """Note what is wrong with a message, whatever the numbers in it; a flood is one line."""
        self.notes.add_message(line)

    def add(self, other: PairsReport) -> None:
        """Count what another one counted, as of other bags."""
        for name in (f.name for f in fields(self) if f.name != 'notes'):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.notes.extend(other.notes)

    def described(self) -> dict[str, Any]:
        """As JSON takes it."""
        names = [f.name for f in fields(self) if f.name != 'notes']
        values = {name: getattr(self, name) for name in [*names, 'problems']}
        return {k: dict(v) if isinstance(v, Counter) else v for k, v in values.items()}

    def lines(self) -> list[str]:
        """For people."""
        counts = ', '.join(f'{name} {count:,}' for name, count in sorted(self.samples.items()))
        sources = ', '.join(f'{name} {count:,}' for name, count in sorted(self.texts.items()))
        lines = [
            f'used: {self.bags_used} bags, {self.pairs:,} of {self.windows:,} windows '
            f'({self.clipped:,} clipped); samples: {counts or "none"}; '
            f'sentences: {sources or "none"}'
        ]
        if self.generated:
            made = ', '.join(f'{name} {count:,}' for name, count in sorted(self.generated.items()))
            lines.append(f'generated, not measured: {made}')
        dropped = ', '.join(f'{reason}: {n:,}' for reason, n in sorted(self.dropped.items()))
        lines.append(f'dropped: {self.bags_skipped} bags; {dropped or "nothing else"}')
        return lines
