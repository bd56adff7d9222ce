"""HTML templates in which values are escaped and a missing name is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

ENVIRONMENT = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
# JSON in scripts: NaN is invalid, and the order of sensors is kept.
ENVIRONMENT.policies['json.dumps_kwargs'] = {'allow_nan': False}


def render(template: Path, **values: Any) -> str:
    """Render a page from a template file."""
    return ENVIRONMENT.from_string(template.read_text()).render(values)
