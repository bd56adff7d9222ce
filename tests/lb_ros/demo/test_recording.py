from __future__ import annotations

import pytest

from encoders import State
from lb_ros.demo.recording import Answer, Recording, medians, percentile


def recording() -> Recording:
    """A drawer that opens at 1.0 s; depth sees it, sound does not; the state follows at 1.2 s."""
    found = Recording()
    for step in range(21):
        time_s = step * 0.1
        is_open = time_s >= 0.95
        found.truths['open'].append((time_s, is_open))
        depth = 0.9 if is_open else 0.1
        probability = {'depth': depth, 'audio': 0.5 + 0.01 * (step % 3), 'fused': depth}
        found.answers['open'].append(Answer(time_s + 0.01, probability))
    found.states['open'] += [(0.0, State.FALSE), (1.2, State.TRUE)]
    return found


def test_each_modality_is_judged_apart() -> None:
    lines = {line.modality: line for line in recording().summarise()}
    assert lines['depth'].auroc == 1.0
    assert lines['audio'].auroc == pytest.approx(0.5, abs=0.1)
    assert lines['depth'].state_accuracy is None
    fused = lines['fused']
    assert (fused.positives, fused.negatives) == (11, 10)
    assert fused.state_accuracy == pytest.approx(19 / 21)
    assert fused.delay_s == pytest.approx(0.2)
    assert list(lines)[-1] == 'fused'


def test_a_truth_without_a_close_answer_does_not_count() -> None:
    found = recording()
    found.truths['open'].append((9.0, True))
    assert found.answer_to('open', 9.0) is None
    assert next(iter(found.summarise())).positives == 11


def test_one_sided_predicates_have_no_auroc_and_no_median() -> None:
    found = recording()
    found.truths['open'] = [(time_s, True) for time_s, _ in found.truths['open']]
    lines = found.summarise()
    assert all(line.auroc is None for line in lines)
    assert medians(lines) == {}


def test_states_begin_unknown() -> None:
    found = recording()
    assert found.state_at('open', -1.0) is State.UNKNOWN
    assert found.state_at('open', 0.5) is State.FALSE
    assert found.state_at('never heard of', 0.5) is State.UNKNOWN


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(list(map(float, range(100))), 0.95) == 95.0


def test_a_sentence_without_truth_is_listed_but_not_judged() -> None:
    found = recording()
    found.answers['my sentence'].append(Answer(0.5, {'depth': 0.7, 'fused': 0.8}))
    lines = [line for line in found.summarise() if line.name == 'my sentence']
    assert [line.modality for line in lines] == ['depth', 'fused']
    for line in lines:
        assert (line.auroc, line.state_accuracy, line.delay_s) == (None, None, None)
        assert (line.positives, line.negatives) == (0, 0)
    assert medians(found.summarise()) == medians(recording().summarise())
