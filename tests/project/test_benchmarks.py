"""benchmarks/README.md has one section per result file, with its command and its values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lb_ros.cli.commands import SUBCOMMANDS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'benchmarks' / 'results'
PAGE = (ROOT / 'benchmarks' / 'README.md').read_text()
SECTIONS = dict(re.findall(r'^### (\w+)\n(.*?)(?=^##|\Z)', PAGE, re.M | re.S))
ROW = re.compile(r'^\| .+ \| (\S+) \| `(.+)` \|$', re.M)


def value_of(result: Any, key: str) -> Any:
    """The value at `a / b / c`; of a list, the entry with that index or with that name in it."""
    for part in key.split(' / '):
        if isinstance(result, list):
            result = next(
                entry
                for index, entry in enumerate(result)
                if part == str(index) or (isinstance(entry, dict) and part in entry.values())
            )
        else:
            result = result[part]
    return result


def printed(value: Any, like: str) -> str:
    """A value with as many decimals as `like`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:.{len(like.partition(".")[2])}f}'


def test_every_result_has_a_section_and_every_section_a_result() -> None:
    assert set(SECTIONS) == {path.stem for path in RESULTS.iterdir()}


@pytest.mark.parametrize('name', SECTIONS)
def test_values_are_those_of_the_file(name: str) -> None:
    result = json.loads((RESULTS / f'{name}.json').read_text())
    rows = ROW.findall(SECTIONS[name])
    assert rows
    for shown, key in rows:
        assert printed(value_of(result, key), shown) == shown, key


@pytest.mark.parametrize('name', SECTIONS)
def test_the_command_exists(name: str) -> None:
    block = re.search(r'^```\n(.+?)^```', SECTIONS[name], re.M | re.S)
    assert block is not None
    for line in block[1].splitlines():
        program, *words = line.split()
        if program == 'lb-ros':
            assert words[0] in SUBCOMMANDS, line
        elif words[0] == '-m':
            module = words[1].replace('.', '/')
            assert words[1] == 'pytest' or (ROOT / f'{module}.py').is_file(), line
        else:
            assert program == 'python', line
            assert (ROOT / words[0]).is_file(), line
