"""The YAML file that describes recordings: where channels, times, runs, facts and groups are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, model_validator
from pydantic.dataclasses import dataclass

from encoders.modalities import MODALITIES, SERIES
from train.validated import STRICT, InvalidRecordError, read_record

SUFFIXES = ('.yaml', '.yml')
FORMATS = {'.npz': 'numpy', '.npy': 'numpy', '.csv': 'csv', '.tsv': 'csv', '.h5': 'hdf5',
           '.hdf5': 'hdf5'}  # fmt: skip
UNITS_S = {'s': 1.0, 'ms': 1e-3, 'us': 1e-6, 'ns': 1e-9}
Value = bool | int | float | str


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _channels(value: Any) -> Any:
    """A list of patterns becomes a mapping: every column that matches is a channel."""
    if isinstance(value, list):
        return {str(pattern): None for pattern in value}
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Values = Annotated[tuple[Value, ...], BeforeValidator(_listed)]


@dataclass(frozen=True, slots=True, config=STRICT)
class Runs:
    """How the rows of a file form runs; without any of these, a file is one run.

    Attributes:
        starts: Array of the first row of every run, and perhaps the number of rows at its end.
        first_axis: The first axis of every array counts the runs.
        column: Rows in succession with the same value of this column are a run.
        groups: Pattern of the HDF5 groups that are a run each.
    """

    starts: str = ''
    first_axis: bool = False
    column: str = ''
    groups: str = ''

    @model_validator(mode='after')
    def _one_way(self) -> Runs:
        if sum(map(bool, (self.starts, self.first_axis, self.column, self.groups))) > 1:
            raise ValueError('must have one of starts, first_axis, column and groups')
        return self


@dataclass(frozen=True, slots=True, config=STRICT)
class Sensor:
    """The channels of one modality.

    In patterns, `*` stands for any text. Arrays with further axes have columns `NAME[0]`,
    `NAME[1][2]`, or `NAME.ENTRY` where the source names the entries.

    Attributes:
        channels: Channel to the pattern of its column. Several columns that match one pattern are
            successive readings within a row. If it is a list of patterns, every column that
            matches is a channel of the same name.
        time: Column of the times; empty for the rate.
        time_unit: Unit of the times.
        rate_hz: Rows per second of a source without times.
        snapshot: A run is one reading without an axis of time.
        stretch_s: Stretch every run to this length, so that a window shows a whole run.
        tared_at_start: The sensor was at rest at the start of a run: its baseline.
        frame_id: Frame of the sensor.
    """

    channels: Annotated[dict[str, str | None], BeforeValidator(_channels), Field(min_length=1)]
    time: str = ''
    time_unit: Literal['s', 'ms', 'us', 'ns'] = 's'
    rate_hz: PositiveFloat | None = None
    snapshot: bool = False
    stretch_s: PositiveFloat | None = None
    tared_at_start: bool = False
    frame_id: str = ''

    @model_validator(mode='after')
    def _one_clock(self) -> Sensor:
        if sum(map(bool, (self.time, self.rate_hz, self.snapshot))) > 1:
            raise ValueError('must have one of time, rate_hz and snapshot')
        return self


@dataclass(frozen=True, slots=True, config=STRICT)
class Label:
    """When a fact is true.

    Attributes:
        column: Column, value of a run or of a row, whose value decides.
        holds: Values with which the fact is true.
        fails: Values with which it is false; if empty, all others. Any other value is unknown.
    """

    column: str
    holds: Values = (True,)
    fails: Values = ()

    def truth(self, value: Any) -> bool | None:
        """Whether the fact is true for a value of its column; None if that is unknown."""
        plain = value.item() if hasattr(value, 'item') else value
        if plain is None or plain != plain:
            return None
        if any(_equal(plain, one) for one in self.holds):
            return True
        if not self.fails or any(_equal(plain, one) for one in self.fails):
            return False
        return None


def _equal(value: Any, wanted: Value) -> bool:
    if isinstance(wanted, bool) and isinstance(value, str):
        return value.strip().lower() == str(wanted).lower()
    if isinstance(value, str) != isinstance(wanted, str):
        return str(value) == str(wanted)
    return bool(value == wanted)


@dataclass(frozen=True, slots=True, config=STRICT)
class Recordings:
    """Recordings and what is true of them; docs/recordings.md explains every key.

    Attributes:
        files: Files, or folders of LeRobot data sets, relative to the mapping; `*` is allowed.
        sensors: Modality to its channels.
        facts: Predicate, as in `ground_truth/predicates`, to its label.
        format: Format of the files, if their names do not show it.
        runs: How rows form runs.
        every_s: Distance of labelled windows within a run; None for one, at its end.
        group: Columns whose values together name the group of a run. Folds and intervals are over
            groups. If empty, every run is a group.
        only: Column to the values of the runs to use.
        without: Column to the values of the runs to leave out.
        phrasings: Wordings of the facts: a shipped name, or a file relative to the mapping.
        split: `evaluation` keeps the recordings out of training and calibration.
        licence, citation: Of the data, for the manifest of pairs.
    """

    files: Names
    sensors: dict[str, Sensor]
    facts: dict[str, Label] = Field(default_factory=dict)
    format: Literal['numpy', 'csv', 'hdf5', 'lerobot'] | None = None
    runs: Runs = Field(default_factory=Runs)
    every_s: PositiveFloat | None = None
    group: Names = ()
    only: dict[str, Values] = Field(default_factory=dict)
    without: dict[str, Values] = Field(default_factory=dict)
    phrasings: str = 'trained'
    split: Literal['train', 'evaluation'] = 'train'
    licence: str = ''
    citation: str = ''

    @model_validator(mode='after')
    def _known_modalities(self) -> Recordings:
        for name in self.sensors:
            if name not in MODALITIES or name not in SERIES:
                known = ', '.join(SERIES)
                raise ValueError(f'sensors: {name!r} is no series, expected some of {known}')
        if not self.sensors:
            raise ValueError('sensors must name a modality')
        return self

    def wanted(self, values: Mapping[str, Any]) -> bool:
        """Whether `only` and `without` keep a run with these values.

        Raises:
            KeyError: A run has no such value.
        """
        for name, some in self.only.items():
            if not any(_equal(_plain(values[name]), one) for one in some):
                return False
        return not any(
            _equal(_plain(values[name]), one)
            for name, some in self.without.items()
            for one in some
        )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, 'item') else value


def is_mapping(path: Path) -> bool:
    """Whether a path is a mapping of recordings, by its name."""
    return path.suffix in SUFFIXES and path.name != 'metadata.yaml'


def read_mapping(path: Path) -> Recordings:
    """Read and validate a mapping.

    The key `like` names another mapping in the same folder, whose keys hold where this one has
    none: the same recordings with another `only`, for evaluation.

    Raises:
        OSError: A file cannot be read.
        InvalidRecordError: Keys or values are invalid; one line for each, with file and line.
    """
    values = read_record(path, dict[str, Any])
    like = values.pop('like', None)
    if like is None:
        return read_record(path, Recordings)
    if not isinstance(like, str) or Path(like).name != like:
        raise InvalidRecordError(f'{path}: like must name a mapping in the same folder')
    return read_record(path.with_name(like), Recordings, values)


def phrasings_of(recordings: Recordings, path: Path) -> str:
    """The wordings of a mapping, as `Phrasings.load` takes them; `path` is that of the mapping."""
    name = recordings.phrasings
    return str(path.parent / name) if Path(name).suffix else name
