"""Scenes with other furniture: the same table, with randomly drawn furniture and objects.

LIBERO's training scenes hardly use some furniture: none has a wine rack, and baskets stand on the
floor. Drawn scenes put every kind on every table, at many places.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from train.simulate.objects import INSTRUCTION, OBJECTS

CABINET = ('top_side', 'top_region', 'middle_region', 'bottom_region')
# Kind of furniture and its places, by the names of LIBERO.
FIXTURES = {
    'wooden_cabinet': CABINET,
    'white_cabinet': CABINET,
    'wooden_two_layer_shelf': ('top_side', 'top_region', 'bottom_region'),
    'microwave': ('top_side', 'heating_region'),
    'flat_stove': ('cook_region',),
    'wine_rack': ('top_region',),
}
CONTAINERS = {
    'basket': ('contain_region',),
    'wooden_tray': ('contain_region',),
    'desk_caddy': tuple(f'{side}_contain_region' for side in ('front', 'back', 'left', 'right')),
}
PLACES = {**FIXTURES, **CONTAINERS}
SMALL = ('flat_stove', 'wine_rack', 'basket')
# Never drawn together: the furniture of evaluation scenes, which stay unseen, and two cabinets,
# whose drawers have the same names.
NEVER = (
    {'wooden_cabinet', 'flat_stove', 'wine_rack'},
    {'white_cabinet', 'wine_rack'},
    {'wooden_cabinet', 'white_cabinet'},
)
# x, y in metres from the middle of the table, and the turn: pieces at a side face the middle.
SIDES = ((-0.03, -0.27, math.pi), (-0.03, 0.28, 0.0))
# Behind the others as the camera sees it; only for small pieces.
BACK = ((-0.30, -0.26, math.pi), (-0.34, 0.24, 0.0))
SHIFT_M = 0.03
HALF_REGION_M = 0.01
MIDDLE = (-0.18, -0.13, 0.16, 0.14)
COUNTS = (3, 4, 5)

Spot = tuple[float, float, float]


def furnish(bddl: str, *, seed: int) -> str:
    """Replace the furniture and the objects of a scene by others; keep the table.

    Args:
        bddl: Text of a BDDL file.
        seed: Seed of the draw; equal seeds give equal scenes.

    Returns:
        The text of a new scene with a neutral instruction.
    """
    rng = np.random.default_rng(seed)
    problem = re.search(r'\(problem (\w+)\)', bddl)
    table = re.search(r'\(:fixtures\s+(\w+) - (\w+)', bddl)
    assert problem is not None and table is not None
    pieces = _draw_pieces(rng)
    spots = [*SIDES, *BACK]
    kinds = dict.fromkeys(OBJECTS)
    weights = np.array([OBJECTS.count(kind) for kind in kinds]) / len(OBJECTS)
    count = int(rng.choice(COUNTS))
    objects = [str(k) for k in rng.choice(list(kinds), count, replace=False, p=weights)]
    regions = [
        _region(f'{kind}_init_region', table[1], *_around(rng, spot))
        for kind, spot in zip(pieces, spots, strict=True)
        if kind
    ]
    regions.append(_region('objects_init_region', table[1], MIDDLE, None))
    present = [kind for kind in pieces if kind]
    regions += [_target(place, f'{kind}_1') for kind in present for place in PLACES[kind]]
    inits = [f'(On {kind}_1 {table[1]}_{kind}_init_region)' for kind in present]
    inits += [f'(On {kind}_1 {table[1]}_objects_init_region)' for kind in objects]
    fixtures = [f'{table[1]} - {table[2]}', *_declared(k for k in present if k in FIXTURES)]
    free = _declared([*objects, *(k for k in present if k in CONTAINERS)])
    first = f'{objects[0]}_1'
    return f"""(define (problem {problem[1]})
  (:domain robosuite)
  (:language {INSTRUCTION})
  (:regions {_lines(regions)})
  (:fixtures {_lines(fixtures)})
  (:objects {_lines(free)})
  (:obj_of_interest {first})
  (:init {_lines(inits)})
  (:goal (And (On {first} {table[1]}_objects_init_region)))
)
"""


def _draw_pieces(rng: np.random.Generator) -> list[str]:
    """Kinds at `SIDES`, then `BACK`; empty for none. Two or three pieces, all different."""
    while True:
        drawn = [str(kind) for kind in rng.permutation(list(PLACES))]
        small = [str(kind) for kind in rng.permutation(SMALL)]
        chosen = [*drawn[:2], '', '']
        if rng.random() < 0.6:
            chosen[int(rng.integers(2, 4))] = small[0]
        present = [kind for kind in chosen if kind]
        if len(set(present)) == len(present) and not any(set(present) >= kinds for kinds in NEVER):
            return chosen


def _around(rng: np.random.Generator, spot: Spot) -> tuple[tuple[float, ...], float]:
    x, y = (value + rng.uniform(-SHIFT_M, SHIFT_M) for value in spot[:2])
    half = HALF_REGION_M
    return (x - half, y - half, x + half, y + half), spot[2]


def _region(name: str, target: str, box: Sequence[float], yaw: float | None) -> str:
    turn = '' if yaw is None else f' (:yaw_rotation (({yaw:.6f} {yaw:.6f})))'
    corners = ' '.join(f'{value:.3f}' for value in box)
    return f'({name} (:target {target}) (:ranges (({corners}))){turn})'


def _target(place: str, owner: str) -> str:
    return f'({place} (:target {owner}))'


def _declared(kinds: Sequence[str] | Iterator[str]) -> list[str]:
    return [f'{kind}_1 - {kind}' for kind in kinds]


def _lines(parts: Sequence[str]) -> str:
    return ''.join(f'\n    {part}' for part in parts) + '\n  '
