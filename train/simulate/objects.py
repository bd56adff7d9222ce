"""Scenes with exchanged objects: the same furniture with randomly drawn objects."""

from __future__ import annotations

import re

import numpy as np

# Objects of training scenes; plates and bowls, on which things are put, are drawn twice as often.
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
    """Replace most kinds of objects in a scene by others; keep the furniture.

    Args:
        bddl: Text of a BDDL file.
        seed: Seed of the draw; equal seeds give equal scenes.

    Returns:
        The text with new objects and a neutral instruction, as the old one names old objects.
    """
    rng = np.random.default_rng(seed)
    present = [kind for kind in dict.fromkeys(OBJECTS) if re.search(rf' - {kind}\b', bddl)]
    free = [kind for kind in OBJECTS if kind not in present]
    for kind in present:
        if rng.random() < KEEP:
            continue
        other = str(rng.choice(free))
        free = [name for name in free if name != other]
        # Names of regions and instances contain the kind: `plate_1`, `plate_init_region`.
        bddl = re.sub(rf'(?<![a-z]){kind}(?![a-z])', other, bddl)
    return re.sub(r'\(:language [^)]*\)', f'(:language {INSTRUCTION})', bddl)
