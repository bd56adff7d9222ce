"""Channels of any meaning, each described by a sentence: a nutrunner, taxels, pressures."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.preprocess.mini import series
from encoders.preprocess.mini.series import SeriesConfig

normalise, objection, preprocess = series.normalise, series.objection, series.preprocess
remarks, stored_form, to_unit = series.remarks, series.stored_form, series.to_unit


@dataclass(frozen=True, slots=True)
class SignalsConfig(SeriesConfig):
    """Channels as a recipe or a mapping describes them; see `SeriesConfig`."""

    channels: tuple[str, ...] = ('value',)
    convention: str = 'units and signs are those of the descriptions'
