"""Sensor arrays and sentences to embeddings, scores and states, without ROS.

Names are imported on first use, because launch files and `--help` need only the table of
modalities, in an interpreter that may have neither PyTorch nor OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoders.decode import (
        AudioOptions,
        DecodeError,
        ImageOptions,
        Objection,
        decode_audio,
        decode_image,
    )
    from encoders.decode.series import Series
    from encoders.errors import ModelSetError, SpaceError
    from encoders.modalities import LIVE, MODALITIES, SENSED, SERIES, STANDARD, Modality
    from encoders.model_sets.binder import Binder, Embedded
    from encoders.model_sets.evidence import Evidence
    from encoders.predicates.bank import PredicateBank
    from encoders.predicates.file import load_predicates
    from encoders.predicates.fusion import PredicateScore
    from encoders.predicates.predicate import Line, Predicate, PredicateError
    from encoders.predicates.tracker import PredicateTracker, State, TrackedState

__all__ = [
    'LIVE',
    'MODALITIES',
    'SENSED',
    'SERIES',
    'STANDARD',
    'AudioOptions',
    'Binder',
    'DecodeError',
    'Embedded',
    'Evidence',
    'ImageOptions',
    'Line',
    'Modality',
    'ModelSetError',
    'Objection',
    'Predicate',
    'PredicateBank',
    'PredicateError',
    'PredicateScore',
    'PredicateTracker',
    'Series',
    'SpaceError',
    'State',
    'TrackedState',
    'decode_audio',
    'decode_image',
    'load_predicates',
]

_MODULES = {
    'decode': (
        'AudioOptions',
        'DecodeError',
        'ImageOptions',
        'Objection',
        'decode_audio',
        'decode_image',
    ),
    'decode.series': ('Series',),
    'errors': ('ModelSetError', 'SpaceError'),
    'modalities': ('LIVE', 'MODALITIES', 'SENSED', 'SERIES', 'STANDARD', 'Modality'),
    'model_sets.binder': ('Binder', 'Embedded'),
    'model_sets.evidence': ('Evidence',),
    'predicates.bank': ('PredicateBank',),
    'predicates.file': ('load_predicates',),
    'predicates.fusion': ('PredicateScore',),
    'predicates.predicate': ('Line', 'Predicate', 'PredicateError'),
    'predicates.tracker': ('PredicateTracker', 'State', 'TrackedState'),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(import_module(f'{__name__}.{_MODULE_OF[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The exported names, including those not imported yet."""
    return sorted({*globals(), *__all__})
