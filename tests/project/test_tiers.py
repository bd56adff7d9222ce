"""Every test that needs the simulator has its marker, so that the others can be run alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
NEEDS = {
    'sim': r'^(from|import) train\.simulate\b',
}


@pytest.mark.parametrize('marker', NEEDS)
def test_test_modules_have_the_markers_of_their_imports(marker: str) -> None:
    files = {path: path.read_text() for path in TESTS.rglob('test_*.py')}
    needing = {path for path, text in files.items() if re.search(NEEDS[marker], text, re.M)}
    assert needing
    for path in needing:
        assert re.search(rf'^pytestmark = .*mark\.{marker}\b', files[path], re.M), path
