"""Between a raw sensor array and a unit vector: preprocessing, encoders, text tower, predicates.

Nothing here knows ROS.
"""

from encoders.bank import PredicateBank
from encoders.binder import Binder, Embedded, SpaceError
from encoders.decode import (
    AudioOptions,
    DecodeError,
    ImageOptions,
    Objection,
    decode_audio,
    decode_image,
)
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
