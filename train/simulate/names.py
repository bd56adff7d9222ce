"""Plain-English names of the objects in LIBERO scenes, as they appear in predicates."""

from __future__ import annotations

import re

NOUNS = {
    'akita_black_bowl': 'black bowl',
    'chefmate_8_frypan': 'frying pan',
    'cookies': 'cookie box',
    'desk_caddy': 'caddy',
    'flat_stove': 'stove',
    'glazed_rim_porcelain_ramekin': 'ramekin',
    'new_salad_dressing': 'salad dressing',
    'porcelain_mug': 'white mug',
    'red_coffee_mug': 'red mug',
    'white_yellow_mug': 'yellow and white mug',
    'wooden_tray': 'tray',
    'wooden_two_layer_shelf': 'shelf',
}

# Suffix of a LIBERO site -> (relation, pattern for the noun of the place).
PLACES = (
    ('top_side', 'on', '{fixture}'),
    ('cook_region', 'on', '{fixture}'),
    ('heating_region', 'in', '{fixture}'),
    ('front_contain_region', 'in', 'front compartment of the {fixture}'),
    ('back_contain_region', 'in', 'back compartment of the {fixture}'),
    ('left_contain_region', 'in', 'left compartment of the {fixture}'),
    ('right_contain_region', 'in', 'right compartment of the {fixture}'),
    ('contain_region', 'in', '{fixture}'),
)
DRAWER_LEVELS = ('top', 'middle', 'bottom')


def noun(name: str) -> str:
    """Noun phrase for a LIBERO object or fixture, for example for `akita_black_bowl_1`."""
    stem = re.sub(r'_\d+$', '', name)
    return NOUNS.get(stem, stem.replace('_', ' '))


def place_of_site(site: str, parent: str) -> tuple[str, str] | None:
    """Relation and noun for a LIBERO site, or None if the site is not a place for objects.

    Args:
        site: Name of the site, for example `wooden_cabinet_1_top_region`.
        parent: Object or fixture that the site belongs to, for example `wooden_cabinet_1`.
    """
    suffix = site.removeprefix(parent).strip('_')
    fixture = noun(parent)
    if 'cabinet' in parent:
        for level in DRAWER_LEVELS:
            if suffix == f'{level}_region':
                return 'in', f'{level} drawer'
    if 'shelf' in parent and suffix.endswith('_region'):
        return 'in', fixture
    if 'rack' in parent and suffix == 'top_region':
        return 'on', fixture
    for ending, relation, pattern in PLACES:
        if suffix == ending:
            return relation, pattern.format(fixture=fixture)
    return None


def joint_noun(joint: str, parent: str) -> str:
    """Noun for the part that a joint moves: `top drawer`, `microwave`, `stove`."""
    if 'cabinet' in parent:
        for level in DRAWER_LEVELS:
            if f'_{level}_' in joint:
                return f'{level} drawer'
    return noun(parent)
