"""Taught predicates in a bank, and the file that keeps what was taught."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders import Binder, Evidence, ModelSetError, Predicate, PredicateBank, SpaceError
from encoders.predicates.lessons import MAX_PRESSES, Lesson, Lessons, Press, press_of
from encoders.predicates.predicate import PredicateError
from encoders.predicates.taught_file import (
    from_bytes,
    load_lessons,
    replace_lessons,
    save_lessons,
    taught_path,
    to_bytes,
)
from tests.readouts import copy_with_readouts

LID = Predicate.from_sentence('the lid is screwed on', name='lid')
OPEN = Predicate.from_sentence('the drawer is open', name='open')


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


@pytest.fixture(scope='module')
def reading(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Binder:
    """The same set with a readout of depth."""
    folder = tmp_path_factory.mktemp('readouts') / 'set'
    return Binder.load(copy_with_readouts(tiny_model_set, folder, modalities=['depth']))


def scene(*, is_on: bool, seed: int) -> np.ndarray:
    """A depth picture in which one half is nearer if the lid is on."""
    rng = np.random.default_rng(seed)
    depth = rng.integers(900, 1000, (64, 64)).astype(np.uint16)
    depth[:, : 32 if is_on else 8] = rng.integers(300, 400)
    return depth


def press(bank: PredicateBank, name: str, *, truth: bool, seed: int) -> Press:
    evidence = bank.binder.observe(depth=scene(is_on=truth, seed=seed))['depth']
    assert isinstance(evidence, Evidence)
    return press_of([bank.frame(name, {'depth': [evidence]})], truth=truth, stamp_ns=seed)


def taught(binder: Binder, *, presses: int = 6, predicates: tuple[Predicate, ...] = (LID, OPEN)):
    bank = PredicateBank(predicates, binder)
    made = [press(bank, 'lid', truth=n % 2 == 0, seed=n) for n in range(presses)]
    bank.teach(Lesson(LID, tuple(made)))
    return bank


def lid_score(bank: PredicateBank, *, is_on: bool, seed: int):
    return bank.score(bank.binder.observe(depth=scene(is_on=is_on, seed=seed)))[0]


@pytest.mark.parametrize('which', ['binder', 'reading'])
def test_presses_make_a_predicate_right(which: str, request: pytest.FixtureRequest) -> None:
    bank = taught(request.getfixturevalue(which), presses=10)
    for seed in range(100, 110):
        assert lid_score(bank, is_on=True, seed=seed).fused > 0.5
        assert lid_score(bank, is_on=False, seed=seed).fused < 0.5


@pytest.mark.parametrize('which', ['binder', 'reading'])
def test_what_was_not_taught_is_the_same_to_the_bit(
    which: str, request: pytest.FixtureRequest
) -> None:
    chosen = request.getfixturevalue(which)
    bank, plain = taught(chosen), PredicateBank([LID, OPEN], chosen)
    evidence = chosen.observe(depth=scene(is_on=True, seed=7))
    assert bank.score(evidence)[1] == plain.score(evidence)[1]
    bank.teach(Lesson(LID))
    assert bank.score(evidence)[0] == plain.score(evidence)[0]


def test_a_score_says_that_it_was_taught(binder: Binder) -> None:
    reasons = lid_score(taught(binder, presses=7), is_on=True, seed=50).reasons
    assert any('taught (4 true, 3 false, 0.' in r and ' left out)' in r for r in reasons), reasons
    one_sided = PredicateBank([LID], binder)
    one_sided.teach(Lesson(LID, (press(one_sided, 'lid', truth=True, seed=0),)))
    told = lid_score(one_sided, is_on=True, seed=50)
    assert 'taught (1 true, 0 false): needs both' in '; '.join(told.reasons)
    plain = lid_score(PredicateBank([LID], binder), is_on=True, seed=50)
    assert told.fused == plain.fused


def test_far_from_every_press_the_text_stands(binder: Binder) -> None:
    bank, plain = taught(binder, presses=10), PredicateBank([LID, OPEN], binder)
    lesson = bank.lessons.by_name['lid']
    away = -np.mean([p.vectors['depth'] for p in lesson.presses], axis=0).astype(np.float32)
    away /= np.linalg.norm(away)
    there, text = bank.score({'depth': away})[0], plain.score({'depth': away})[0]
    assert 'unlike its presses' in '; '.join(there.reasons)
    assert abs(there.fused - 0.5) <= abs(text.fused - 0.5)
    assert (there.fused - 0.5) * (text.fused - 0.5) >= 0


def test_tokens_and_vectors_are_read_by_a_head_of_their_own(reading: Binder) -> None:
    bank = taught(reading, presses=10)
    heads = bank.taught['lid']
    assert heads.tokens is not None and heads.vectors is not None
    assert set(heads.tokens.weights) == {'vector', 'state'}
    observed = reading.observe(depth=scene(is_on=True, seed=60))['depth']
    assert isinstance(observed, Evidence)
    without = replace(observed, tokens=None)
    assert bank.score({'depth': without})[0].fused > 0.5
    assert bank.score({'depth': observed.vector})[0].fused == pytest.approx(
        bank.score({'depth': without})[0].fused
    )


def test_a_silent_or_invalid_sensor_teaches_nothing(binder: Binder) -> None:
    bank = PredicateBank([LID], binder)
    evidence = binder.observe(depth=scene(is_on=True, seed=1))['depth']
    assert isinstance(evidence, Evidence)
    bad = replace(evidence, invalid_reason='constant')
    with pytest.raises(ValueError, match='no sensor has valid evidence'):
        press_of([bank.frame('lid', {'depth': [bad]})], truth=True, stamp_ns=0)
    told = taught(binder).score({'depth': bad})[0]
    assert not told.can_tell


def test_all_frames_of_a_press_are_one_sample(binder: Binder) -> None:
    bank = PredicateBank([LID], binder)
    frames = []
    for seed in range(5):
        observed = binder.observe(depth=scene(is_on=True, seed=seed))['depth']
        assert isinstance(observed, Evidence)
        frames.append(bank.frame('lid', {'depth': [observed]}))
    one = press_of(frames, truth=True, stamp_ns=3)
    assert one.frames == 5
    mean = np.mean([frame.vectors['depth'] for frame in frames], axis=0)
    np.testing.assert_allclose(one.vectors['depth'], mean, atol=1e-3)
    bank.teach(Lesson(LID, (one, press(bank, 'lid', truth=False, seed=1))))
    assert bank.taught['lid'].lesson.counts == (1, 1)


def test_another_wording_is_not_what_was_taught(binder: Binder) -> None:
    lessons = taught(binder).lessons
    other = Predicate.from_sentence('the box is full', name='lid')
    bank = PredicateBank([other], binder, lessons=lessons)
    assert not bank.taught and len(bank.lessons) == 1


def test_a_bank_and_its_copy_are_taught_apart(binder: Binder) -> None:
    bank = taught(binder)
    copied = bank.copy()
    copied.teach(Lesson(LID))
    assert bank.taught and not copied.taught


@pytest.mark.parametrize('which', ['binder', 'reading'])
def test_a_stored_lesson_gives_the_same_scores(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    chosen = request.getfixturevalue(which)
    bank = taught(chosen)
    path = taught_path(tmp_path / 'predicates.yaml')
    save_lessons(path, bank.lessons)
    assert path.name == 'predicates.taught.safetensors'
    again = PredicateBank([LID, OPEN], chosen, lessons=load_lessons(path))
    for seed in range(5):
        assert lid_score(again, is_on=seed % 2 == 0, seed=seed) == lid_score(
            bank, is_on=seed % 2 == 0, seed=seed
        )


def test_a_bank_from_a_file_uses_what_lies_next_to_it(binder: Binder, tmp_path: Path) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text('predicates:\n  lid: the lid is screwed on\n')
    assert not PredicateBank.load(file, binder).taught
    save_lessons(taught_path(file), taught(binder).lessons)
    assert set(PredicateBank.load(file, binder).taught) == {'lid'}


def test_lessons_of_another_set_are_refused(binder: Binder) -> None:
    lessons = taught(binder).lessons
    with pytest.raises(SpaceError, match='taught in the language space other'):
        PredicateBank([LID], binder, lessons=replace(lessons, space='other'))
    with pytest.raises(ModelSetError, match='taught with other weights'):
        PredicateBank([LID], binder, lessons=replace(lessons, weights_sha256='0' * 64))


def test_answers_of_another_readout_are_left_out(reading: Binder) -> None:
    lessons = taught(reading, presses=10).lessons
    other = replace(lessons, readouts={'depth': 'another'})
    bank = PredicateBank([LID], reading, lessons=other)
    assert bank.taught['lid'].tokens is None
    assert bank.taught['lid'].vectors is not None


def test_presses_can_be_undone_and_merged(binder: Binder) -> None:
    lesson = taught(binder).lessons.by_name['lid']
    last = lesson.presses[-1].key
    assert lesson.without([last]).presses == lesson.presses[:-1]
    with pytest.raises(KeyError, match='no press'):
        lesson.without(['unknown'])
    lessons = Lessons.of(binder)
    mine, theirs = (
        lessons.having(Lesson(LID, part)) for part in (lesson.presses[:4], lesson.presses[2:])
    )
    assert [p.key for p in mine.merged(theirs).by_name['lid'].presses] == [
        p.key for p in lesson.presses
    ]
    other = Predicate.from_sentence('the box is full', name='lid')
    with pytest.raises(PredicateError, match='other sentences'):
        mine.merged(lessons.having(Lesson(other, lesson.presses)))
    assert len(mine.having(Lesson(LID))) == 0


def test_the_number_of_presses_is_bounded(binder: Binder) -> None:
    one = taught(binder).lessons.by_name['lid'].presses[0]
    many = tuple(replace(one, key=str(n)) for n in range(MAX_PRESSES))
    with pytest.raises(PredicateError, match=f'more than {MAX_PRESSES} presses'):
        Lesson(LID, many).adding(replace(one, key='new'))


def test_a_file_holds_vectors_and_nothing_of_the_pictures(binder: Binder) -> None:
    content = to_bytes(taught(binder).lessons)
    # 6 presses with a vector of 384 half floats each, and the description.
    assert len(content) < 6 * 384 * 2 + 4000
    assert load_back(content).by_name['lid'].predicate == LID


def load_back(content: bytes) -> Lessons:
    return from_bytes(content, where='file')


def test_a_damaged_file_is_refused_by_name(binder: Binder, tmp_path: Path) -> None:
    content = to_bytes(taught(binder).lessons)
    path = tmp_path / 'p.taught.safetensors'
    assert load_lessons(path) is None
    for broken in (b'', b'nothing of the kind', content[:200], content[:-7]):
        path.write_bytes(broken)
        with pytest.raises(ModelSetError, match=r'p\.taught\.safetensors'):
            load_lessons(path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_are_lessons_or_an_error(tiny_model_set: Path, data: st.DataObject) -> None:
    press_ = Press(True, 1, 1, {'depth': np.zeros(4, np.float16)})
    lessons = Lessons('space', 'model', '', {}, {'lid': Lesson(LID, (press_,))})
    content = bytearray(to_bytes(lessons))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelSetError):
        from_bytes(bytes(content), where='x')


def test_a_failed_write_keeps_the_old_file(
    binder: Binder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'p.taught.safetensors'
    save_lessons(path, taught(binder).lessons)
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(OSError, match='No space left'):
        save_lessons(path, Lessons.of(binder))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_description_names_the_set(binder: Binder) -> None:
    content = to_bytes(taught(binder).lessons)
    length = int.from_bytes(content[:8], 'little')
    described = json.loads(json.loads(content[8 : 8 + length])['__metadata__']['taught'])
    assert described['space'] == binder.space
    assert described['weights_sha256'] == binder.weights_sha256
    assert len(binder.weights_sha256) == 64


def test_a_file_of_another_set_or_a_damaged_one_is_kept(binder: Binder, tmp_path: Path) -> None:
    path, lessons = tmp_path / 'p.taught.safetensors', taught(binder).lessons
    assert replace_lessons(path, lessons) is None
    assert replace_lessons(path, lessons) is None
    other = Lessons(lessons.space, 'another', 'f' * 64, {}, lessons.by_name)
    kept = replace_lessons(path, other)
    assert kept is not None and kept.name == f'{path.name}.{lessons.weights_sha256[:12]}'
    assert len(load_back(kept.read_bytes())) == 1
    for broken in (b'', b'nothing of the kind', to_bytes(other)[:-7]):
        path.write_bytes(broken)
        kept = replace_lessons(path, lessons)
        assert kept is not None and kept.name == f'{path.name}.damaged'
        assert kept.read_bytes() == broken
        assert load_lessons(path) is not None


def test_a_copy_is_independent(binder: Binder) -> None:
    bank = taught(binder)
    other = bank.copy()
    other.teach(Lesson(LID))
    other.add(Predicate.from_sentence('the stove is hot', name='stove'))
    other.remove('open')
    assert set(bank.taught) == {'lid'} and not other.taught
    assert bank.table.names == ('lid', 'open') and other.table.names == ('lid', 'stove')
    assert not any('taught' in note for note in other.table.notes)


@pytest.mark.parametrize('which', ['binder', 'reading'])
def test_one_predicate_alone_and_many_moments_score_the_same(
    which: str, request: pytest.FixtureRequest
) -> None:
    bank = taught(request.getfixturevalue(which), predicates=(OPEN, LID), presses=10)
    seen = [bank.binder.observe(depth=scene(is_on=n % 2 == 0, seed=n))['depth'] for n in range(4)]
    moments = [{'depth': [each]} for each in seen if isinstance(each, Evidence)]
    moments += [{'depth': [replace(moments[0]['depth'][0], tokens=None)]}, {}]
    moments += [{'depth': moments[0]['depth'] + moments[1]['depth']}]
    alone = bank.only('lid').score_all(moments)
    for moment, found in zip(moments, alone, strict=True):
        wanted = bank.score(moment)[1]
        assert found[0].can_tell == wanted.can_tell
        assert found[0].fused == pytest.approx(wanted.fused, abs=1e-4)
    with pytest.raises(KeyError, match='no predicate'):
        bank.only('nothing')


def test_a_predicate_keeps_its_heads_where_another_is_removed(binder: Binder) -> None:
    bank = taught(binder, predicates=(OPEN, LID), presses=8)
    head = bank.taught['lid'].head
    bank.remove('open')
    assert bank.taught['lid'].head is head and bank.taught['lid'].place == 0
