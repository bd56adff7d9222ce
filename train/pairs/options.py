"""Options for making pairs from bags, and the report about the result."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import field, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)
from pydantic.dataclasses import dataclass

from encoders.modalities import DESCRIBED, MODALITIES
from train.bags.problems import Problems
from train.bags.topics import TOPICS, TRUTH_TOPIC
from train.validated import STRICT, ModalityName

if TYPE_CHECKING:
    from encoders.decode.series import SeriesOptions

Topic = Annotated[str, AfterValidator(lambda topic: topic.lstrip('/'))]
WINDOWS_AT_TEXTS = 'texts'
DEFAULT_PAIRS = 1000  # per shard


@dataclass(frozen=True, slots=True, config=STRICT)
class PairOptions:
    """How windows are cut and where sentences come from.

    Topics have no leading slash. Topics of tasks, annotations and notes have any type with a text
    field; a text is valid until the next one of its topic, and an empty text ends it.
    """

    modalities: tuple[ModalityName, ...] = Field(
        default=('image', 'depth', 'infrared', 'audio'),
        min_length=1,
        description=f'some of {", ".join(MODALITIES)}',
    )
    topics: Mapping[ModalityName, tuple[Topic, ...]] = Field(
        default_factory=dict, description='where a modality comes from, if not its usual topics'
    )
    types_folder: Path | None = Field(
        default=None, description='PACKAGE/msg/*.msg, for bags that embed no types'
    )
    channels: Path | None = Field(
        default=None,
        description='YAML file that describes the channels of signals, with topics and fields',
    )
    clock: Literal['header', 'log'] = Field(
        default='header', description='stamps of messages, or times of recording'
    )
    windows_at: Topic = Field(
        default='',
        description='end a window at every message of this topic; `texts`: one window per '
        'stretch of time with a text; default: at the ground truth, or every second',
    )
    every_s: PositiveFloat | None = Field(
        default=None, description='end a window every so many seconds instead'
    )
    window_s: PositiveFloat = Field(
        default=2.0, description='length of a window: of its sound and clip'
    )
    max_offset_s: NonNegativeFloat = Field(
        default=0.1, description='largest distance of a picture from its window'
    )
    clip_frames: PositiveInt = Field(default=8, description='frames of a clip')
    truth_topic: Topic = Field(
        default=TRUTH_TOPIC, description='of type `lb_ros/msg/PredicateTruth`'
    )
    task_topics: tuple[Topic, ...] = Field(
        default=('task/text',), description='what is to be done'
    )
    annotation_topics: tuple[Topic, ...] = Field(
        default=('annotations', 'annotation/text'), description='what happens'
    )
    note_topics: tuple[Topic, ...] = Field(
        default=('operator/notes',), description='what people noted'
    )
    phrasings: str = Field(
        default='trained', description='name or path of the wordings of predicates'
    )
    sentences_per_fact: PositiveInt = Field(
        default=2, description='different sentences for one fact'
    )
    max_texts: PositiveInt = Field(default=24, description='sentences per window')
    seed: int = Field(default=0, description='of every choice between sentences and windows')

    @field_validator('every_s')
    @classmethod
    def _instead_of_topic(cls, every_s: float | None, info: ValidationInfo) -> float | None:
        if every_s and info.data.get('windows_at'):
            raise ValueError('must be left out where windows_at is given')
        return every_s

    def sensor_topics(self, modality: str) -> tuple[str, ...]:
        """The topics of a modality, best first."""
        if modality == DESCRIBED:
            from encoders.decode.channels import topics_of

            return topics_of(self.described().sources)
        source = 'image' if MODALITIES[modality].kind == 'clip' else modality
        found = self.topics.get(modality) or self.topics.get(source) or TOPICS.get(source, ())
        return tuple(found)

    def described(self) -> SeriesOptions:
        """The channels of signals, with their topics and fields; none without a file.

        Raises:
            OSError, InvalidRecordError: The file is not usable.
        """
        return _described(self.channels)

    def text_topics(self) -> dict[str, str]:
        """Topic to the source of its sentences."""
        by_source = {
            'task': self.task_topics,
            'annotation': self.annotation_topics,
            'note': self.note_topics,
        }
        return {topic: source for source, topics in by_source.items() for topic in topics}


@lru_cache(maxsize=4)
def _described(path: Path | None) -> SeriesOptions:
    # Asked for at every message. The imports are here because `--help` needs no decoders.
    from encoders.decode.series import SeriesOptions
    from train.channel_file import read_channels

    if path is None:
        return SeriesOptions()
    channels = read_channels(path, of_topics=True)
    return SeriesOptions(tuple(channels), sources=tuple(one.source for one in channels.values()))


@dataclasses.dataclass
class PairsReport:
    """What was used and what was dropped, with reasons.

    Attributes:
        bags_used, bags_skipped: Number of bags with and without a pair.
        windows: Windows that were cut.
        pairs: Windows that became a pair.
        clipped: Windows shortened at a jump in time or at the start of a bag.
        jumps: Jumps in time.
        samples: Pairs with a sample, by modality.
        generated: Number of these samples that were predicted from another sensor.
        texts: Sentences of pairs, by source.
        dropped: What was dropped, by reason.
        notes: The collected lines behind `problems`.
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
        """One line each, naming what and where; repeated messages become one line with a count."""
        return list(self.notes)

    def problem(self, line: str) -> None:
        """Add a problem once."""
        self.notes.add(line)

    def message(self, line: str) -> None:
        """Add a problem of a message; lines that differ only in numbers are counted as one."""
        self.notes.add_message(line)

    def add(self, other: PairsReport) -> None:
        """Add the counts and problems of a report about other bags."""
        for name in (f.name for f in fields(self) if f.name != 'notes'):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.notes.extend(other.notes)

    def described(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != 'notes'}
        counted = {k: dict(v) if isinstance(v, Counter) else v for k, v in values.items()}
        return {**counted, 'problems': self.problems}

    def lines(self) -> list[str]:
        """The report as readable lines."""
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
