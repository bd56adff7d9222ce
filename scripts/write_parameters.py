"""Generate config/parameters.yaml and docs/nodes.md from `lb_ros/parameter_table.py`.

python scripts/write_parameters.py [--check]
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from encoders.modalities import LIVE, MODALITIES
from lb_ros.parameter_record import ENCODERS, PREDICATES, Record
from lb_ros.parameter_table import (
    CaptureParameters,
    MicrophoneParameters,
    Parameters,
    SensorParameters,
    explained,
    groups_of,
    written,
)

ROOT = Path(__file__).resolve().parents[1]
YAML, DOCS = ROOT / 'config' / 'parameters.yaml', ROOT / 'docs' / 'nodes.md'
BEGIN = '<!-- Written by scripts/write_parameters.py from lb_ros/parameter_table.py. -->\n'
END = '<!-- End of what it writes. -->\n'
WIDTH = 100
HEAD = """\
# Every parameter of every node of lb_ros, written by scripts/write_parameters.py. Values out of
# range or of the wrong type are refused.
#
# [live]       changes at run time:             ros2 param set /bringup max_rate_hz 5.0
# [configure]  changes while the node is unconfigured, and is used by its next `configure`
# The others are read once, at start. Nodes that run together in `bringup` use those of `bringup`.
"""
OWN = '\n    # Of each encoder node itself, also where it runs in `bringup`.\n\n'
SECTIONS = (
    ('', '/**', (Parameters, SensorParameters, CaptureParameters)),
    ('Sound of a local device as `microphone/audio`, in any namespace.', '/**/microphone',
     (MicrophoneParameters,)),
)  # fmt: skip


def parameter_file() -> str:
    """The text of config/parameters.yaml."""
    parts = [HEAD]
    for about, pattern, kinds in SECTIONS:
        parts += [f'# {about}\n'] if about else []
        parts.append(f'{pattern}:\n  ros__parameters:\n')
        for kind in kinds:
            parts += [OWN] if kind is SensorParameters else []
            for _, records in groups_of(kind):
                comment = textwrap.wrap(explained(records[0]), WIDTH - 6)
                parts += [f'    # {line}\n' for line in comment]
                parts += [f'    {one.name}: {written(one.default)}\n' for one in records]
        parts.append('\n')
    return ''.join(parts[:-1]).replace(HEAD, f'{HEAD}\n')


def table() -> str:
    """The table of docs/nodes.md."""
    sensors = ', '.join(f'`{MODALITIES[name].sensor}`' for name in LIVE)
    lines = [f'`<sensor>` is one of {sensors}.', '', '| parameter | default | nodes | meaning |']
    lines.append('|---|---|---|---|')
    for kind in (kind for *_, kinds in SECTIONS for kind in kinds):
        for _, records in groups_of(kind):
            first = records[0]
            name = f'<sensor>_{first.ending}' if first.ending else first.name
            same = len({one.default for one in records}) == 1
            default = f'`{written(first.default)}`' if same else 'its topic'
            of = '`microphone`' if kind is MicrophoneParameters else _processes(first)
            lines.append(f'| `{name}` | {default} | {of} | {explained(first)} |')
    return '\n'.join(lines) + '\n'


def _processes(record: Record) -> str:
    if record.processes == (ENCODERS, PREDICATES):
        return 'all but `microphone`'
    names = [f'`{name}`' for name in record.processes if name != ENCODERS]
    if ENCODERS in record.processes:
        is_one = len(record.modalities) == 1 and not record.ending
        names.append(
            f'`{MODALITIES[record.modalities[0]].sensor}_encoder`' if is_one else ENCODERS
        )
    return ', '.join((*names, '`bringup`'))


def files() -> dict[Path, str]:
    """Expected content of each file."""
    docs = DOCS.read_text()
    before, _, rest = docs.partition(BEGIN)
    return {YAML: parameter_file(), DOCS: before + BEGIN + table() + END + rest.partition(END)[2]}


def main() -> int:
    """Write the files; with --check, return 1 if one of them is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing, report differences')
    check = parser.parse_args().check
    status = 0
    for path, text in files().items():
        if path.read_text() == text:
            continue
        if check:
            print(f'{path.relative_to(ROOT)} is not up to date: run {Path(__file__).name}')
            status = 1
        else:
            path.write_text(text)
    return status


if __name__ == '__main__':
    sys.exit(main())
