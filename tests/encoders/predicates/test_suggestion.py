"""What to press next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoders import Binder, Predicate, PredicateBank
from encoders.predicates.lessons import Frame, Lesson, press_of
from encoders.predicates.scoring import Scoring
from encoders.predicates.suggestion import suggest
from encoders.predicates.texts import text_vectors

OPEN = Predicate('open', ('the drawer is open',), ('the drawer is closed',), max_age_ms=1e6)
SECOND_NS = 1_000_000_000


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


def taught(binder: Binder, yes: int, no: int) -> Scoring:
    """Presses along the contrast of the text, and evidence that crosses from side to side."""
    bank = PredicateBank([OPEN], binder)
    _, contrast = text_vectors(binder, OPEN)
    rng = np.random.default_rng(0)
    presses = []
    for truth, count in ((True, yes), (False, no)):
        for number in range(count):
            vector = (1 if truth else -1) * contrast + 0.03 * rng.normal(size=contrast.shape)
            frame = Frame({'depth': vector / np.linalg.norm(vector)}, {}, {})
            presses.append(press_of([frame], truth=truth, stamp_ns=number))
    bank.teach(Lesson(OPEN, tuple(presses)))
    scoring = Scoring(bank, history_s=8.0)
    across = rng.normal(size=contrast.shape)
    across -= (across @ contrast) * contrast
    across /= np.linalg.norm(across)
    for second in range(9):
        angle = np.pi * second / 8
        vector = np.cos(angle) * contrast + np.sin(angle) * across
        scoring.receive(
            'depth',
            np.asarray(vector, np.float32),
            stamp_ns=(100 + second) * SECOND_NS,
            space=binder.space,
        )
    return scoring


@pytest.mark.parametrize(('yes', 'no', 'side'), [(3, 0, 'false'), (1, 5, 'true'), (0, 1, 'true')])
def test_the_missing_side_comes_first(binder: Binder, yes: int, no: int, side: str) -> None:
    told = suggest(taught(binder, yes, no), 'open', now_ns=108 * SECOND_NS)
    assert told.text.startswith(f'press {side} ')
    assert told.stamp_ns == 0


def test_then_the_least_certain_recent_moment(binder: Binder) -> None:
    told = suggest(taught(binder, 5, 5), 'open', now_ns=108 * SECOND_NS)
    assert told.text.startswith('least certain: ')
    assert 102 * SECOND_NS <= told.stamp_ns <= 106 * SECOND_NS


def test_without_recent_evidence_there_is_nothing_to_suggest(binder: Binder) -> None:
    assert suggest(taught(binder, 5, 5), 'open', now_ns=1000 * SECOND_NS).text == ''
