"""Scores as arrays are the scores of the evaluation, and their reasons those of a plain loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders import Predicate, PredicateBank
from encoders.predicates.fusion import Scores
from encoders.predicates.score_arrays import ages_in, no_scores, score_arrays, scores_in
from tests.encoders.predicates.test_scores_of_many import (
    NAMES,
    Evidence,
    Sentences,
    banks,
    evidence,
    units,
)


def weighed(
    bank: PredicateBank, seen: Evidence, invalid: dict[str, list[str]]
) -> tuple[Scores, dict[str, float]]:
    vectors, ages_ms = seen
    rows = {m: bank.similarities(v) for m, v in vectors.items()}
    reasons = {m: (invalid.get(m, []) + [''] * len(v))[: len(v)] for m, v in vectors.items()}
    scores = bank.weigh(rows, ages_ms=ages_ms, invalid=reasons)
    return scores, {m: min(ages) for m, ages in ages_ms.items()}


def plain_reasons(scores: Scores, index: int) -> list[str]:
    """The reasons of one predicate of a set without readouts."""
    found, table = [], scores.table
    for name, column in table.columns.items():
        reading = scores.readings.get(name)
        if not column.asked[index]:
            continue
        if reading is None:
            found += [f'{name} silent'] if column.expected[index] else []
        elif not reading.freshness[index] > 0:
            found.append(f'{name} stale {reading.age_ms * 1e-3:.1f} s')
        elif reading.invalid:
            found.append(f'{name}{reading.invalid}')
        elif reading.weight[index] < 0.05:
            found.append(f'{name} cannot tell')
        elif scores.calibrated[index] and not reading.fitted[index]:
            found.append(f'{name} not calibrated')
    notes = ('' if scores.calibrated[index] else 'not calibrated', table.notes[index])
    return [*found, *filter(None, ['; '.join(filter(None, notes))])]


invalids = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(['', '8-bit']), max_size=3)
)


@settings(deadline=None)
@given(banks(), evidence(), invalids)
def test_entries_are_those_of_the_scores(
    bank: PredicateBank, seen: Evidence, invalid: dict[str, list[str]]
) -> None:
    scores, ages_ms = weighed(bank, seen, invalid)
    arrays = score_arrays(scores, ages_ms)
    for index, (found, expected) in enumerate(zip(arrays, scores, strict=True)):
        assert list(expected.reasons) == plain_reasons(scores, index)
        assert (found.name, found.reasons) == (expected.name, expected.reasons)
        assert (found.calibrated, found.can_tell) == (expected.calibrated, expected.can_tell)
        assert found.similarity == expected.similarity
        assert found.probability == expected.probability
        assert found.fused == (expected.fused if expected.can_tell else 0.5)
    shown = {m for score in scores for m in score.probability}
    assert set(arrays.modalities) == shown
    assert dict(zip(arrays.modalities, arrays.ages_ms, strict=True)) == pytest.approx(
        {m: ages_ms[m] for m in shown}
    )
    assert len(set(arrays.reasons.texts)) == len(arrays.reasons.texts)


def test_a_slice_and_the_last_entry() -> None:
    several = [Predicate(f'p{i}', (f'yes {i}',), (f'no {i}',)) for i in range(3)]
    bank = PredicateBank(several, Sentences())  # type: ignore[arg-type]
    scores = bank.weigh({'depth': bank.similarities(units(np.random.default_rng(0), 1))})
    arrays = score_arrays(scores, {'depth': 4.0})
    assert arrays[1:] == scores[1:] and arrays[-1] == scores[-1] and arrays[0] == scores[0]
    with pytest.raises(IndexError):
        arrays[3]
    assert list(no_scores()) == []


def arrays_message(**changed: Any) -> SimpleNamespace:
    return SimpleNamespace(**{
        'scores': [], 'names': ['a', 'b'], 'modalities': ['depth'], 'ages_ms': [4.0],
        'similarities': [0.1, np.nan], 'probabilities': [0.9, np.nan], 'fused': [0.9, np.nan],
        'calibrated': [True, False], 'reasons': ['depth silent', 'not calibrated'],
        'reason_indices': [0, 1], 'reason_counts': [0, 2],
        **changed,
    })  # fmt: skip


def test_arrays_of_a_message_are_read() -> None:
    first, second = scores_in(arrays_message())
    assert first.probability == pytest.approx({'depth': 0.9}) and first.reasons == ()
    assert not second.can_tell and second.reasons == ('depth silent', 'not calibrated')
    assert ages_in(arrays_message()) == {'depth': 4.0}


@pytest.mark.parametrize(
    'wrong',
    [
        {'names': ['a']},
        {'ages_ms': []},
        {'fused': [0.9]},
        {'probabilities': [0.9]},
        {'reason_counts': [0, 1]},
        {'reason_counts': [2]},
        {'reason_indices': [0, 2]},
    ],
)
def test_arrays_of_other_lengths_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match='PredicateScores'):
        scores_in(arrays_message(**wrong))


def test_an_entry_of_other_lengths_is_refused() -> None:
    entry = SimpleNamespace(
        name='lid', modalities=['depth'], similarities=[], probabilities=[0.5], ages_ms=[1.0],
        probability=0.5, calibrated=True, reasons=[],
    )  # fmt: skip
    with pytest.raises(ValueError, match="'lid'"):
        scores_in(SimpleNamespace(scores=[entry]))
