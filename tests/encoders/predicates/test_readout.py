"""Predicates that are read from tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import Binder, Evidence, Line, Predicate, PredicateBank
from encoders.model_sets.calibration import Calibration
from encoders.model_sets.golden import golden_input
from encoders.model_sets.readouts import CALIBRATION
from encoders.predicates.readout import MIN_READ, TokensError
from encoders.predicates.scoring import Scoring
from encoders.predicates.wording import sides
from tests.readouts import copy_with_readouts

READ = ('depth', 'image')
OPEN = Predicate('open', ('the drawer is open',), ('the drawer is closed',))
SHUT = Predicate('shut', OPEN.negative, OPEN.positive)
FULL = Predicate('full', ('the cup is full', 'a full cup'), ('the cup is empty',))


def fitted(binder: Binder, predicates: Sequence[Predicate]) -> Calibration:
    """A calibration of readouts with other values for every fact and modality."""
    rng = np.random.default_rng(5)
    told = [[binder.embed_text(s).mean(axis=0) for s in sides(p)] for p in predicates]
    positives, negatives = (
        np.array([side / np.linalg.norm(side) for side in column])
        for column in zip(*told, strict=True)
    )
    contrasts = positives - negatives
    contrasts /= np.linalg.norm(contrasts, axis=1, keepdims=True)
    shape = (len(predicates), len(READ))
    return Calibration(
        space=binder.space,
        names=tuple(p.name for p in predicates),
        modalities=READ,
        contrasts=contrasts,
        slopes=rng.uniform(0.5, 2.0, shape).astype(np.float32),
        offsets=rng.uniform(-1.0, 1.0, shape).astype(np.float32),
        weights=rng.uniform(0.3, 1.0, shape).astype(np.float32),
        positives=positives,
        negatives=negatives,
    )


@pytest.fixture(scope='module')
def folder(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp('read') / 'set'
    return copy_with_readouts(tiny_model_set, target, modalities=READ)


@pytest.fixture(scope='module')
def binder(folder: Path) -> Binder:
    """Readouts without a calibration."""
    return Binder.load(folder)


@pytest.fixture(scope='module')
def calibrated(folder: Path, tmp_path_factory: pytest.TempPathFactory, binder: Binder) -> Binder:
    target = tmp_path_factory.mktemp('fitted') / 'set'
    copy_with_readouts(folder, target, modalities=READ)
    fitted(binder, [OPEN, FULL]).save(target, file=CALIBRATION)
    return Binder.load(target)


def observed(binder: Binder, *names: str) -> dict[str, Evidence]:
    found = {}
    for name in names or binder.modalities:
        evidence = binder.observe(**{name: golden_input(name)})[name]
        assert isinstance(evidence, Evidence)
        found[name] = evidence
    return found


def asked(binder: Binder, modality: str, predicate: Predicate, evidence: Evidence) -> float:
    """The log-odds of a readout, straight from the network."""
    yes, no = (
        torch.from_numpy(binder.embed_text(side).mean(axis=0)[None]) for side in sides(predicate)
    )
    readout = binder.readouts[modality]
    assert evidence.tokens is not None
    reduced = torch.from_numpy(evidence.tokens).float()[None]
    with torch.inference_mode():
        return float(readout(reduced, readout.ask(yes, no))[0])


def test_without_a_fit_the_probability_is_that_of_the_readout(binder: Binder) -> None:
    evidence = observed(binder, *READ)
    scores = PredicateBank([OPEN, FULL], binder).score(evidence)
    for predicate, score in zip((OPEN, FULL), scores, strict=True):
        odds = {m: asked(binder, m, predicate, evidence[m]) for m in READ}
        for name in READ:
            assert score.probability[name] == pytest.approx(1 / (1 + math.exp(-odds[name])))
        fused = sum(odds.values()) / len(odds)
        assert score.fused == pytest.approx(1 / (1 + math.exp(-fused)))
        assert not score.calibrated
        assert 'not calibrated' in score.reasons
        assert not any('vector' in reason for reason in score.reasons)
    by_vector = PredicateBank([OPEN, FULL], binder).score({m: evidence[m].vector for m in READ})
    for score, other in zip(scores, by_vector, strict=True):
        assert score.similarity == other.similarity
        assert score.probability != other.probability


def test_a_fit_gives_slope_offset_and_weight(calibrated: Binder) -> None:
    evidence = observed(calibrated, *READ)
    scores = PredicateBank([OPEN, FULL], calibrated).score(evidence)
    calibration = calibrated.readout_calibration
    assert calibration is not None
    for row, (predicate, score) in enumerate(zip((OPEN, FULL), scores, strict=True)):
        total = 0.0
        for column, name in enumerate(READ):
            x = asked(calibrated, name, predicate, evidence[name])
            odds = calibration.slopes[row, column] * x + calibration.offsets[row, column]
            assert score.probability[name] == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-3)
            total += float(calibration.weights[row, column] * odds)
        assert score.fused == pytest.approx(1 / (1 + math.exp(-total)), abs=1e-3)
        assert score.calibrated
        assert score.reasons == ('infrared silent', 'audio silent')


def test_text_unlike_every_fact_is_not_calibrated(calibrated: Binder) -> None:
    strange = Predicate.from_sentence('shares of the bank rose by nine percent')
    [score] = PredicateBank([strange], calibrated).score(observed(calibrated, 'depth'))
    assert not score.calibrated
    assert 'not calibrated' in score.reasons


@pytest.mark.parametrize('which', ['binder', 'calibrated'])
def test_exchanged_sides_are_exactly_exclusive(which: str, request: pytest.FixtureRequest) -> None:
    found: Binder = request.getfixturevalue(which)
    evidence = observed(found, *READ)
    together = PredicateBank([FULL, OPEN, SHUT], found).score(evidence)
    for name in READ:
        odds = together.readings[name].odds
        assert odds[1] == -odds[2] != 0
    assert float(together.fused[1]) + float(together.fused[2]) == pytest.approx(1, abs=1e-7)
    alone = [PredicateBank([p], found).score(evidence) for p in (OPEN, SHUT)]
    for name in READ:
        np.testing.assert_array_equal(alone[0].readings[name].odds, -alone[1].readings[name].odds)


@pytest.mark.parametrize(
    ('sentence', 'denial'),
    [
        ('the drawer is open', 'the drawer is not open'),
        ('the drawer is open', "the drawer isn't open"),
        ('the bowl is on the plate', 'the bowl is not on the plate'),
    ],
)
def test_a_sentence_and_its_denial_are_exclusive(
    calibrated: Binder, sentence: str, denial: str
) -> None:
    both = [Predicate.from_sentence(text) for text in (sentence, denial)]
    scores = PredicateBank(both, calibrated).score(observed(calibrated, *READ))
    for name in READ:
        odds = scores.readings[name].odds
        assert odds[0] == -odds[1] != 0
    assert float(scores.fused.sum()) == pytest.approx(1, abs=1e-6)


def test_missing_tokens_fall_back_to_the_vector_and_say_so(
    binder: Binder, tiny_model_set: Path
) -> None:
    evidence = observed(binder)
    vectors = {name: each.vector for name, each in evidence.items()}
    bank = PredicateBank([OPEN, FULL], binder)
    scores = bank.score({name: Evidence(vector) for name, vector in vectors.items()})
    plain = PredicateBank([OPEN, FULL], Binder.load(tiny_model_set)).score(vectors)
    np.testing.assert_array_equal(scores.fused, plain.fused)
    for score, other in zip(scores, plain, strict=True):
        assert score.probability == other.probability
        told = {r for r in score.reasons if 'vector' in r}
        assert told == {'image read from the vector', 'depth read from the vector'}
        assert set(score.reasons) - told == set(other.reasons)
    np.testing.assert_array_equal(bank.score(vectors).fused, plain.fused)


def test_a_set_without_readouts_reads_evidence_as_vectors(tiny_model_set: Path) -> None:
    binder = Binder.load(tiny_model_set)
    bank = PredicateBank([OPEN, FULL], binder)
    raw = {name: golden_input(name) for name in binder.modalities}
    by_vector, by_evidence = bank.score(binder.embed(**raw)), bank.score(binder.observe(**raw))
    np.testing.assert_array_equal(by_vector.fused, by_evidence.fused)
    assert list(by_vector) == list(by_evidence)
    assert bank.table.tokens is None


def test_several_sensors_of_a_modality_are_averaged(binder: Binder) -> None:
    rng = np.random.default_rng(2)
    raw = [rng.integers(300, 2500, (48, 60), dtype=np.uint16) for _ in range(2)]
    both = binder.observe(depth=raw)['depth']
    assert isinstance(both, list)
    bank = PredicateBank([OPEN], binder)
    one, other = (bank.score({'depth': each}).readings['depth'].odds[0] for each in both)
    found = bank.score({'depth': both}).readings['depth'].odds[0]
    assert found == pytest.approx((one + other) / 2)
    # A sensor whose tokens are missing joins with its vector; an old one loses weight.
    mixed = [both[0], Evidence(both[1].vector)]
    by_vector = bank.score({'depth': mixed[1]}).readings['depth'].odds[0]
    found = bank.score({'depth': mixed}).readings['depth'].odds[0]
    assert found == pytest.approx((one + by_vector) / 2)
    aged = bank.score({'depth': both}, ages_ms={'depth': [0.0, 750.0]}).readings['depth'].odds[0]
    assert aged == pytest.approx((one + 0.5 * other) / 1.5)


def test_evidence_that_does_not_count_gives_no_vote(binder: Binder) -> None:
    depth = observed(binder, 'depth')['depth']
    invalid = Evidence(depth.vector, depth.tokens, 'frozen')
    bank = PredicateBank([OPEN], binder)
    [score] = bank.score({'depth': invalid})
    assert not score.can_tell
    assert 'depth: frozen' in score.reasons
    [score] = bank.score({'depth': [depth, invalid]})
    [alone] = bank.score({'depth': depth})
    assert score.fused == alone.fused
    assert 'depth (1 of 2): frozen' in score.reasons


def test_a_predicate_with_its_own_calibration_is_read_from_the_vector(binder: Binder) -> None:
    own = Predicate(
        'own', OPEN.positive, OPEN.negative,
        calibration={'depth': Line(10.0, 0.5)}, calibration_space=binder.space,
    )  # fmt: skip
    evidence = observed(binder, *READ)
    [score] = PredicateBank([own], binder).score(evidence)
    assert 'depth read from the vector (it has its own calibration)' in score.reasons
    [plain] = PredicateBank([OPEN], binder).score(evidence)
    assert score.probability['image'] == plain.probability['image']
    by_vector = PredicateBank([own], binder).score({'depth': evidence['depth'].vector})[0]
    assert score.probability['depth'] == by_vector.probability['depth']


def test_a_predicate_of_some_modalities_asks_only_their_readouts(binder: Binder) -> None:
    only = Predicate('only', OPEN.positive, OPEN.negative, modalities=('audio', 'image'))
    evidence = observed(binder)
    scores = PredicateBank([OPEN, only], binder).score(evidence)
    assert set(scores[1].probability) == {'audio', 'image'}
    assert scores[1].probability['image'] == scores[0].probability['image']


def test_predicates_past_the_budget_are_read_from_the_vector(binder: Binder) -> None:
    count = MIN_READ + 6
    many = [
        Predicate(f'p{i}', (f'box {i} is open',), (f'box {i} is closed',)) for i in range(count)
    ]
    evidence = observed(binder, *READ)
    tight = PredicateBank(many, binder, readout_budget_ms=0.0)
    scores = tight.score(evidence)
    assert all('vector' not in ' '.join(s.reasons) for s in scores[:MIN_READ])
    for score in scores[MIN_READ:]:
        assert 'depth read from the vector (past readout_budget_ms)' in score.reasons
    free = PredicateBank(many, binder, readout_budget_ms=math.inf).score(evidence)
    np.testing.assert_array_equal(scores.fused[:MIN_READ], free.fused[:MIN_READ])
    assert all('vector' not in ' '.join(s.reasons) for s in free)
    # Removing predicates makes room, in the bank itself and in a copy.
    smaller = tight.copy()
    smaller.remove(*(f'p{i}' for i in range(10)))
    assert all('vector' not in ' '.join(s.reasons) for s in smaller.score(evidence))
    assert 'vector' in ' '.join(tight.score(evidence)[-1].reasons)


def test_ten_thousand_predicates_say_which_are_read_from_the_vector(binder: Binder) -> None:
    # Of two hundred sentences, so that the text tower takes little of the time.
    many = [
        Predicate(f'p{i}', (f'box {i // 100} is open',), (f'box {i % 100} is closed',))
        for i in range(10_000)
    ]
    scores = PredicateBank(many, binder, readout_budget_ms=5.0).score(observed(binder, *READ))
    read = [i for i in range(10_000) if 'vector' not in ' '.join(scores.reasons(i))]
    assert MIN_READ <= len(read) < 10_000
    assert read == list(range(len(read)))
    assert 'depth read from the vector (past readout_budget_ms)' in scores.reasons(9_999)


def test_tokens_of_another_readout_are_refused(binder: Binder) -> None:
    depth = observed(binder, 'depth')['depth']
    wrong = Evidence(depth.vector, np.zeros((7, 16), np.float16))
    bank = PredicateBank([OPEN], binder)
    with pytest.raises(TokensError, match=r'depth tokens of shape \[7, 16\] refused'):
        bank.score({'depth': wrong})
    scoring = Scoring(bank)
    with pytest.raises(TokensError, match='load the same model set'):
        scoring.receive('depth', wrong.vector, stamp_ns=1, space=binder.space, tokens=wrong.tokens)
    assert scoring.at(1, max_age_ms=1000).evidence == {}


def test_live_scoring_reads_the_same_tokens(calibrated: Binder) -> None:
    evidence = observed(calibrated)
    bank = PredicateBank([OPEN, SHUT, FULL], calibrated)
    scoring = Scoring(bank)
    for name, each in evidence.items():
        scoring.receive(
            name, each.vector, stamp_ns=10, space=bank.space, tokens=each.tokens,
            invalid_reason=each.invalid_reason,
        )  # fmt: skip
    live, offline = scoring.evaluate(10).scores, bank.score(evidence)
    np.testing.assert_array_equal(live.fused, offline.fused)
    assert list(live) == list(offline)
    moment = scoring.at(10, max_age_ms=100)
    assert list(bank.score(moment.evidence)) == list(offline)
    # Where the set has no readout, tokens are not kept.
    scoring.receive(
        'audio', evidence['audio'].vector, stamp_ns=11, space=bank.space,
        tokens=evidence['depth'].tokens,
    )  # fmt: skip
    assert scoring.at(11, max_age_ms=100).evidence['audio'][0].tokens is None


def test_why_shows_where_a_readout_looks(binder: Binder) -> None:
    evidence = observed(binder, *READ)
    bank = PredicateBank([OPEN, SHUT], binder)
    looked = bank.why('open', 'depth', evidence['depth'])
    assert looked.dtype == np.float32
    assert looked.shape == binder.grid('depth') == (4, 4)
    assert 0 < float(looked.sum()) <= 1 + 1e-6
    assert float(looked.min()) >= 0
    np.testing.assert_array_equal(looked, bank.why('shut', 'depth', evidence['depth']))
    with pytest.raises(KeyError, match="no predicate 'half'"):
        bank.why('half', 'depth', evidence['depth'])
    with pytest.raises(ValueError, match='tiny has no readout of audio'):
        bank.why('open', 'audio', evidence['depth'])
    with pytest.raises(ValueError, match=r'no tokens; use Binder\.observe'):
        bank.why('open', 'depth', Evidence(evidence['depth'].vector))
