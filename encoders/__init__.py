"""Between a raw sensor array and a unit vector: preprocessing, encoders, text tower, predicates.

Nothing here knows ROS. Names are imported on first use: launch files and `--help` need the table
of modalities only, in an interpreter that may have neither PyTorch nor OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoders.bank import PredicateBank
    from encoders.binder import Binder, SpaceError
    from encoders.decode import AudioOptions, DecodeError, ImageOptions, decode_audio, decode_image
    from encoders.fusion import PredicateScore
    from encoders.modalities import LIVE, MODALITIES, SENSED, STANDARD, Modality
    from encoders.model_set import ModelSetError
    from encoders.predicate_file import load_predicates
    from encoders.predicates import Line, Predicate, PredicateError
    from encoders.tracker import PredicateTracker, State, TrackedState

__all__ = [
    'LIVE',
    'MODALITIES',
    'SENSED',
    'STANDARD',
    'AudioOptions',
    'Binder',
    'DecodeError',
    'ImageOptions',
    'Line',
    'Modality',
    'ModelSetError',
    'Predicate',
    'PredicateBank',
    'PredicateError',
    'PredicateScore',
    'PredicateTracker',
    'SpaceError',
    'State',
    'TrackedState',
    'decode_audio',
    'decode_image',
    'load_predicates',
]

_MODULES = {
    'bank': ('PredicateBank',),
    'binder': ('Binder', 'SpaceError'),
    'decode': ('AudioOptions', 'DecodeError', 'ImageOptions', 'decode_audio', 'decode_image'),
    'fusion': ('PredicateScore',),
    'modalities': ('LIVE', 'MODALITIES', 'SENSED', 'STANDARD', 'Modality'),
    'model_set': ('ModelSetError',),
    'predicate_file': ('load_predicates',),
    'predicates': ('Line', 'Predicate', 'PredicateError'),
    'tracker': ('PredicateTracker', 'State', 'TrackedState'),
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
    """The exported names, also those not imported yet."""
    return sorted({*globals(), *__all__})
