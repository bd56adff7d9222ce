"""Ask running nodes from Python."""

from lb_ros.client.answers import GoneError, NotAnsweredError, PredicateStatus, TextAnswer
from lb_ros.client.client import LanguageClient
from lb_ros.client.guard import Guard, NotHeldError, Watch

__all__ = [
    'GoneError',
    'Guard',
    'LanguageClient',
    'NotAnsweredError',
    'NotHeldError',
    'PredicateStatus',
    'TextAnswer',
    'Watch',
]
