"""Ask running nodes from Python."""

from lb_ros.client.answers import GoneError, NotAnsweredError, PredicateStatus, TextAnswer
from lb_ros.client.client import LanguageClient
from lb_ros.client.guard import Guard, NotHeldError, Watch
from lb_ros.client.teaching import Taught

__all__ = [
    'GoneError',
    'Guard',
    'LanguageClient',
    'NotAnsweredError',
    'NotHeldError',
    'PredicateStatus',
    'Taught',
    'TextAnswer',
    'Watch',
]
