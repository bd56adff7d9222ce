"""Classes of message types, and their names."""

from __future__ import annotations

import importlib


def type_name(kind: type) -> str:
    """Return `package/msg/Name` of a message class."""
    package, _, _ = kind.__module__.partition('.')
    return f'{package}/msg/{kind.__name__}'


def import_type(name: str) -> type | None:
    """Return the class of a message type, or None if its package is not installed."""
    package, _, kind = name.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), kind, None)
    except ImportError:
        return None
