"""Scenes with other objects: the same furniture, a new draw of what lies about."""

from __future__ import annotations

import re

import numpy as np

# What training scenes hold; plates and bowls, which things are put on, come up twice as often.
OBJECTS = (
    'akita_black_bowl', 'akita_black_bowl', 'plate', 'plate', 'white_bowl', 'white_bowl',
    'alphabet_soup', 'bbq_sauce', 'black_book', 'butter', 'chefmate_8_frypan',
    'chocolate_pudding', 'cookies', 'cream_cheese', 'glazed_rim_porcelain_ramekin', 'ketchup',
    'milk', 'moka_pot', 'new_salad_dressing', 'orange_juice', 'porcelain_mug', 'red_coffee_mug',
    'tomato_sauce', 'white_yellow_mug', 'wine_bottle', 'yellow_book',
)  # fmt: skip
KEEP = 0.3
INSTRUCTION = 'tidy up'


def exchange_objects(bddl: str, *, seed: int) -> str:
    """Exchange most kinds of objects of a scene for others; furniture stays.

    Args:
        bddl: Text of a BDDL file.
        seed: Equal seeds give equal scenes.

    Returns:
        The file with new objects and without an instruction, which would name the old ones.
    """
    rng = np.random.default_rng(seed)
    present = [kind for kind in dict.fromkeys(OBJECTS) if re.search(rf' - {kind}\b', bddl)]
    free = [kind for kind in OBJECTS if kind not in present]
    for kind in present:
        if rng.random() < KEEP:
            continue
        other = str(rng.choice(free))
        free = [name for name in free if name != other]
        # Regions and instances are named after the kind: `plate_1`, `plate_init_region`.
        bddl = re.sub(rf'(?<![a-z]){kind}(?![a-z])', other, bddl)
    return re.sub(r'\(:language [^)]*\)', f'(:language {INSTRUCTION})', bddl)
