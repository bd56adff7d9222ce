"""The history keeps vectors by age and the newest tokens within its bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoders.model_sets.evidence import Evidence
from encoders.predicates.history import History, Observation

SHAPE = (5, 4)
SIZE = 5 * 4 * 2
SECOND_NS = 1_000_000_000
SENSORS = [('depth', ''), ('depth', 'wrist'), ('image', '')]


def seen(number: int, stamp_ns: int, *, has_tokens: bool = True) -> Observation:
    tokens = np.full(SHAPE, number, np.float16) if has_tokens else None
    return Observation(Evidence(np.full(3, number, np.float32), tokens), stamp_ns)


steps = st.lists(
    st.tuples(st.sampled_from(SENSORS), st.integers(1, SECOND_NS // 4), st.booleans()),
    min_size=1,
    max_size=40,
)


@given(steps, st.integers(0, 12 * SIZE), st.floats(0.0, 3.0))
def test_tokens_stay_within_the_bytes_and_the_newest_keep_theirs(
    added: list[tuple[tuple[str, str], int, bool]], tokens_bytes: int, span_s: float
) -> None:
    history = History(span_s=span_s, tokens_bytes=tokens_bytes)
    now_ns, everything = 0, []
    for number, (sensor, step_ns, has_tokens) in enumerate(added):
        now_ns += step_ns
        everything.append((sensor, seen(number, now_ns, has_tokens=has_tokens)))
        history.add(*everything[-1])
        assert 0 <= history.used_bytes <= tokens_bytes
    newest = dict(everything)  # of equal keys the last one stays
    for sensor, observation in history.newest():
        assert observation is newest[sensor]
    # All that is kept, read at its own time: the vector is exact, and so are tokens if there are.
    kept_bytes = 0
    for sensor, observation in everything:
        found = dict(history.at(observation.stamp_ns, max_age_ms=0.0)).get(sensor)
        if found is None:
            assert (newest[sensor].stamp_ns - observation.stamp_ns) * 1e-9 >= span_s - 1e-9
            continue
        tokens = found.evidence.tokens
        if tokens is not None:
            assert (tokens == found.evidence.vector[0]).all()
            kept_bytes += tokens.nbytes if observation is not newest[sensor] else 0
    assert kept_bytes <= tokens_bytes


def test_the_oldest_tokens_go_first_and_leave_their_vectors() -> None:
    history = History(span_s=60.0, tokens_bytes=2 * SIZE)
    for number in range(5):
        history.add(SENSORS[number % 2], seen(number, number * SECOND_NS))
    found = [history.at(number * SECOND_NS, max_age_ms=0.0)[0][1].evidence for number in range(5)]
    assert [evidence.vector[0] for evidence in found] == list(range(5))
    # 3 and 4 are the newest of their sensors, and two more fit.
    assert [evidence.tokens is not None for evidence in found] == [False, True, True, True, True]
    history.tokens_bytes = 0
    history.add(SENSORS[0], seen(6, 6 * SECOND_NS))
    assert history.used_bytes == 0
    assert history.newest()[0][1].evidence.tokens is not None


def test_a_restarted_source_frees_its_tokens() -> None:
    history = History(span_s=60.0, tokens_bytes=100 * SIZE)
    for number in range(4):
        history.add(SENSORS[0], seen(number, (10 + number) * SECOND_NS))
    assert history.used_bytes == 3 * SIZE
    history.add(SENSORS[0], seen(9, 13 * SECOND_NS - 1))  # slightly late: ignored
    assert history.newest()[0][1].stamp_ns == 13 * SECOND_NS
    history.add(SENSORS[0], seen(9, SECOND_NS))
    assert history.used_bytes == 0
    assert [o.stamp_ns for _, o in history.newest()] == [SECOND_NS]
    history.clear()
    assert not history.newest() and history.used_bytes == 0
