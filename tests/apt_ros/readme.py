"""The commands of a section of README.md, in their order."""

from __future__ import annotations

import re

from tests.apt_ros.stand_in import ROOT

SHELLS = ('', 'bash', 'sh', 'shell', 'console')


def commands(section: str) -> list[str]:
    """The lines of its code blocks, with continued ones joined, without comments.

    Raises:
        LookupError: README.md has no such section, or no command in it.
    """
    text = (ROOT / 'README.md').read_text()
    found = re.search(rf'^## {re.escape(section)}\n(.*?)(?=^## |\Z)', text, re.M | re.S)
    if found is None:
        raise LookupError(f'README.md has no section "{section}"')
    blocks = re.findall(r'^```(\w*)\n(.*?)^```', found.group(1), re.M | re.S)
    lines = [
        re.sub(r'(^|\s+)#\s.*', '', line).strip()
        for language, block in blocks
        if language in SHELLS
        for line in block.replace('\\\n', ' ').splitlines()
    ]
    if not any(lines):
        raise LookupError(f'the section "{section}" of README.md has no command')
    return [line.removeprefix('$ ') for line in lines if line]
