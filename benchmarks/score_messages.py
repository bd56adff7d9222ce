"""Time to build, to serialise and to read the messages of all scores and states, in two forms.

`entries` is a message per predicate, `arrays` the flat arrays that are sent above
`MESSAGES_MAX` predicates. Every run builds the message of scores from which nothing has been
derived yet. Reading is the consumers' function for either form: scores without creating entries,
states as one record each.

    python -m benchmarks.score_messages
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rclpy.serialization import serialize_message

from benchmarks.environment import write_result
from encoders import Predicate, PredicateBank
from encoders.predicates.score_arrays import MESSAGES_MAX, scores_in
from encoders.predicates.scoring import Evaluation, Scoring
from encoders.predicates.state_arrays import states_in
from lb_ros.bench.measure import measure
from lb_ros.bench.suites import SENSORS, RandomSentences, unit_rows
from lb_ros.msg import PredicateScores, PredicateStates
from lb_ros.ros.messages import scores_message, states_message

COUNTS = (10, MESSAGES_MAX, 1000, 10_000)
SIZE = 384
NOW_NS = 10**18


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=40)
    args = parser.parse_args()
    found = {str(count): times_of(count, args.repeats) for count in COUNTS}
    path = write_result(
        'score_messages',
        {'messages_max': MESSAGES_MAX, 'repeats': args.repeats, 'predicates': found},
    )
    print(f'{json.dumps(found, indent=2)}\nwritten to {path}')


def times_of(count: int, repeats: int) -> dict[str, dict[str, float]]:
    """Measure both forms of one number of predicates: medians and p95, milliseconds."""
    evaluation = evaluation_of(count)
    cases: dict[str, Callable[[], object]] = {}
    for form, limit in (('entries', count), ('arrays', 0)):
        message = build(evaluation, messages_max=limit)
        cases[f'{form}, build'] = partial(build, evaluation, messages_max=limit)
        cases[f'{form}, serialise'] = partial(serialize_message, message)
        cases[f'{form}, read'] = partial(scores_in, message)
        states = build_states(evaluation, messages_max=limit)
        cases[f'{form}, states built'] = partial(build_states, evaluation, messages_max=limit)
        cases[f'{form}, states serialised'] = partial(serialize_message, states)
        cases[f'{form}, states read'] = partial(states_in, states)
    return {
        one.case: {'median_ms': one.median_ms, 'p95_ms': one.p95_ms, 'cpu_ms': one.cpu_ms}
        for one in measure('score messages', cases, repeats=repeats)
    }


def evaluation_of(count: int) -> Evaluation:
    """Score random evidence of three sensors."""
    predicates = [Predicate(f'p{i}', (f'p{i}',), (f'not p{i}',)) for i in range(count)]
    scoring = Scoring(PredicateBank(predicates, RandomSentences(SIZE)))  # type: ignore[arg-type]
    for modality, vector in zip(SENSORS, unit_rows(len(SENSORS), size=SIZE), strict=True):
        scoring.receive(modality, vector, stamp_ns=NOW_NS, space='random')
    return scoring.evaluate(NOW_NS)


def build(evaluation: Evaluation, *, messages_max: int) -> PredicateScores:
    """Build the message of scores from which nothing has been derived yet."""
    fresh = replace(evaluation, scores=replace(evaluation.scores, _probabilities={}))
    return scores_message(fresh, now_ns=NOW_NS, score_ms=0.0, messages_max=messages_max)


def build_states(evaluation: Evaluation, *, messages_max: int) -> PredicateStates:
    """Build the message of states, whose reasons have not been derived yet."""
    states = evaluation.states
    assert states.scores is not None
    fresh = replace(states, scores=replace(states.scores))
    return states_message(fresh, now_ns=NOW_NS, messages_max=messages_max)


if __name__ == '__main__':
    main()
