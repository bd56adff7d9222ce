"""What stored samples of a bag depend on, as a key of the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from encoders.preprocess import MINI, Config, family_of

# Of what becomes a sample; 3 leaves out what is no evidence at run time, and puts all stamps of a
# bag on one clock.
RULES = 3
# Applied to stored inputs when they are used; they do not change what is stored.
NETWORK_KEYS = ('mean', 'std', 'slopes', 'fine_low_count', 'fine_high_count')


def sample_key(bag: Path, configs: Mapping[str, Config]) -> str:
    """A key that differs where bag, preprocessing or rules differ."""
    files = [bag] if bag.is_file() else sorted(bag.iterdir())
    described = {
        'rules': RULES,
        'files': [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files],
        'configs': {name: _stored_by(config) for name, config in configs.items()},
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _stored_by(config: Config) -> dict[str, Any]:
    """What the stored form of an input depends on."""
    applied_later = NETWORK_KEYS if family_of(config) == MINI else ()
    values = {k: v for k, v in asdict(config).items() if k not in applied_later}
    return values if applied_later else {'family': family_of(config), **values}
