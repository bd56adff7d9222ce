"""Draw the rooms of the code and the imports between them: docs/images/rooms.svg.

python scripts/draw_rooms.py
"""

from __future__ import annotations

import ast
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('encoders', 'lb_ros', 'train')
# Horizontal position of each package's column.
COLUMNS = {'encoders': 1.6, 'lb_ros': 6.1, 'train': 10.6}
COLOURS = {'encoders': '#cfe3f7', 'lb_ros': '#d9efd6', 'train': '#f6e3c5'}
OUT = ROOT / 'docs' / 'images' / 'rooms.svg'


def rooms() -> dict[str, list[Path]]:
    """Files of each room, such as `encoders.vision`."""
    found: dict[str, list[Path]] = {}
    for package in PACKAGES:
        for folder in sorted((ROOT / package).iterdir()):
            files = sorted(folder.rglob('*.py')) if folder.is_dir() else []
            if files:
                found[f'{package}.{folder.name}'] = files
    return found


def arrows(known: dict[str, list[Path]]) -> set[tuple[str, str]]:
    """Pairs of rooms of one package in which the first imports the second."""
    found = set()
    for room, files in known.items():
        for path in files:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    target = '.'.join(node.module.split('.')[:2])
                    same = target.split('.')[0] == room.split('.')[0]
                    if target in known and target != room and same:
                        found.add((room, target))
    return found


def floors(known: dict[str, list[Path]], drawn: set[tuple[str, str]]) -> dict[str, int]:
    """Floor of each room: one above the highest room that it imports."""
    floor = dict.fromkeys(known, 0)
    for _ in known:
        for room, target in drawn:
            floor[room] = max(floor[room], floor[target] + 1)
    return floor


def main() -> None:
    """Write the image."""
    known = rooms()
    drawn = arrows(known)
    floor = floors(known, drawn)
    figure = Figure(figsize=(13, 6.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    places = {}
    for package in PACKAGES:
        for level in sorted(set(floor.values())):
            row = [r for r in known if r.startswith(f'{package}.') and floor[r] == level]
            for number, room in enumerate(row):
                across = (number - (len(row) - 1) / 2) * 1.3
                places[room] = (COLUMNS[package] + across, level)
    for room, target in sorted(drawn):
        axes.annotate(
            '', xy=places[target], xytext=places[room],
            arrowprops={'arrowstyle': '-|>', 'color': '#8a8f98', 'lw': 0.9, 'shrinkA': 17,
                        'shrinkB': 17, 'connectionstyle': 'arc3,rad=0.06'},
        )  # fmt: skip
    for room, (x, y) in places.items():
        package, name = room.split('.')
        lines = sum(len(path.read_text().splitlines()) for path in known[room])
        axes.text(
            x, y, f'{name}\n{lines / 1000:.1f}k', ha='center', va='center', fontsize=8.5,
            bbox={'boxstyle': 'round,pad=0.45', 'fc': COLOURS[package], 'ec': '#57606a'},
        )  # fmt: skip
    top = max(floor.values())
    for package, x in COLUMNS.items():
        axes.text(x, top + 0.75, package, ha='center', fontsize=12, weight='bold')
    axes.set_xlim(-0.3, 12.6)
    axes.set_ylim(-0.6, top + 1.1)
    figure.savefig(OUT, metadata={'Date': None})


if __name__ == '__main__':
    main()
