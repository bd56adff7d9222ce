"""Between a raw sensor array and a unit vector: preprocessing, encoders, text tower, predicates.

Nothing here knows ROS.
"""

from encoders.decode import (
    AudioOptions,
    DecodeError,
    ImageOptions,
    Objection,
    decode_audio,
    decode_image,
)
from encoders.errors import ModelSetError, SpaceError
from encoders.modalities import LIVE, MODALITIES, SENSED, STANDARD, Modality
from encoders.model_sets.binder import Binder, Embedded
from encoders.predicates.bank import PredicateBank
from encoders.predicates.file import load_predicates
from encoders.predicates.fusion import PredicateScore
from encoders.predicates.predicate import Line, Predicate, PredicateError
from encoders.predicates.tracker import PredicateTracker, State, TrackedState

__all__ = [
    'LIVE',
    'MODALITIES',
    'SENSED',
    'STANDARD',
    'AudioOptions',
    'Binder',
    'DecodeError',
    'Embedded',
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
    'SpaceError',
    'State',
    'TrackedState',
    'decode_audio',
    'decode_image',
    'load_predicates',
]
