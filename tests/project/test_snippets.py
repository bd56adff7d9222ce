"""The code of README and docs: it runs, prints what the page shows, and names what there is."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import io
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lb_ros.cli.commands import SUBCOMMANDS, _function
from train.arguments import ListAction, Parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / 'README.md', *sorted(ROOT.glob('docs/*.md')))
BLOCK = re.compile(r'^( *)```(\w*)\n(.*?)^ *```', re.M | re.S)
# Need running nodes, a behaviour tree, released weights or a training: names are checked, not run.
NEEDS_MORE = ('LanguageClient', 'client.', 'py_trees', 'checkpoints/', 'runs/')


def blocks(page: Path, *languages: str) -> list[str]:
    found = BLOCK.findall(page.read_text())
    return [textwrap.dedent(code) for _, language, code in found if language in languages]


PYTHON = [(page, code) for page in PAGES for code in blocks(page, 'python')]
COMMANDS = [
    (page, line.strip())
    for page in PAGES
    for code in blocks(page, '', 'bash', 'sh')
    for line in code.replace('\\\n', ' ').splitlines()
    if re.match(r'\s*(\.venv/bin/)?lb-ros ', line)
]


def title(value: Any) -> str:
    return value.name if isinstance(value, Path) else ' '.join(str(value).split())[:40]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the snippets take for granted."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    return {
        'depth_mm': np.full((480, 640), 900, np.uint16),
        'wave': rng.integers(-99, 99, (1, 48_000 * 2)).astype(np.int16),
        'images': [rng.integers(0, 255, (60, 80, 3)).astype(np.uint8) for _ in range(3)],
    }


@pytest.mark.parametrize(('page', 'code'), PYTHON, ids=title)
def test_a_python_snippet_runs_and_prints_what_the_page_shows(
    page: Path, code: str, names: dict[str, Any]
) -> None:
    tree = ast.parse(code)
    if any(word in code for word in NEEDS_MORE):
        check_names(tree)
        return
    if page.name == 'touch.md' and code.startswith('Modality('):
        exec('from encoders import Modality', names)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(tree, str(page), 'exec'), names)
    shown = re.findall(r'^# (.*: .*)$', code, re.M)
    if shown:
        assert out.getvalue().splitlines() == shown


def check_names(tree: ast.Module) -> None:
    """What a snippet imports exists, and so does what it takes of a client or a binder."""
    from encoders import Binder
    from lb_ros.client import LanguageClient

    known = {'client': LanguageClient, 'binder': Binder.load('lb-mini', modalities=['depth'])}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.startswith('lb_ros.behaviours'):
                pytest.importorskip('py_trees')
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), node.module
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = known.get(node.value.id)
            assert owner is None or hasattr(owner, node.attr), node.attr


@pytest.mark.parametrize(('page', 'line'), COMMANDS, ids=title)
def test_a_command_of_a_page_has_options_that_exist(page: Path, line: str) -> None:
    """Its options are parsed; files that the page names need not be there."""
    for command in re.split(r'&&|\|', line):
        words = shlex.split(command, comments=True)
        if not words or not words[0].endswith('lb-ros'):
            continue
        if words[1] == 'SUBCOMMAND' or '--help' in words:
            continue
        parser = Parser(prog=f'lb-ros {words[1]}')
        _function(SUBCOMMANDS[words[1]].declare)(parser)
        take_any_value(parser)
        parser.parse_args(words[2:])


def take_any_value(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                take_any_value(sub)
        elif not isinstance(action, ListAction):
            action.type = None


def test_there_are_snippets_and_commands() -> None:
    assert len(PYTHON) > 5
    assert len(COMMANDS) > 20
