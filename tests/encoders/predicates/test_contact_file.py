"""The shipped predicates that are felt."""

from __future__ import annotations

import numpy as np

from encoders.predicates.file import load_predicates
from encoders.shipped import shipped
from encoders.text.minilm import text_tower

NAMES = (
    *('in_contact', 'grasped', 'slipping', 'inserted', 'jammed', 'screwed_tight'),
    *('cross_threaded', 'full', 'half_full', 'empty', 'rough'),
)


def test_the_shipped_contact_predicates_have_several_distinct_sentences_per_side() -> None:
    predicates = load_predicates(shipped('config/predicates_contact.yaml'))
    assert tuple(each.name for each in predicates) == NAMES
    embed = text_tower('minilm-l6-v2').embed
    contrasts = []
    for each in predicates:
        yes, no = each.sentences
        assert min(len(yes), len(no)) >= 3 and not set(yes) & set(no)
        assert each.modalities == ('wrench', 'joints', 'imu')
        contrast = embed(yes).mean(axis=0) - embed(no).mean(axis=0)
        contrasts.append(contrast / np.linalg.norm(contrast))
    alike = np.stack(contrasts) @ np.stack(contrasts).T
    assert alike[~np.eye(len(alike), dtype=bool)].max() < 0.75  # no two ask the same
