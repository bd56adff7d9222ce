"""What reading tokens adds: to an evaluation of the predicates, and to the encoders.

Random readouts of the default shape on the image, depth and infrared encoders of a set; times do
not depend on the values. Every evaluation has new evidence of all sensors, as in a live node.

    python -m benchmarks.readout_cost --threads 1
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import islice, product

import torch

from benchmarks.environment import write_result
from encoders import Binder, Evidence, Predicate, PredicateBank
from encoders.model_sets.golden import golden_input
from encoders.model_sets.places import find_set
from encoders.model_sets.readouts import config_for
from encoders.model_sets.sources import load_encoders
from encoders.model_sets.towers import towers_of
from encoders.predicates.scoring import Scoring
from encoders.vision.readout import Readout
from lb_ros.bench.measure import Measurement, measure

SENSORS = ('image', 'depth', 'infrared')
COUNTS = (10, 50, 100, 1000)
THINGS = (
    'bowl', 'mug', 'plate', 'bottle', 'book', 'box', 'can', 'pan', 'pot', 'spoon', 'fork', 'knife',
    'cup', 'jar', 'tray', 'lid', 'ball', 'brush', 'sponge', 'towel', 'glass', 'apple', 'lemon',
    'banana', 'carton', 'bag', 'pen', 'phone', 'key', 'toy', 'cap', 'shoe',
)  # fmt: skip


def predicates(count: int) -> list[Predicate]:
    """Relations of small objects: `the bowl is in the mug`, and so on."""
    pairs = islice(product(THINGS, THINGS, ('in', 'on')), count)
    return [Predicate.from_sentence(f'the {x} is {where} the {y}') for x, y, where in pairs]


def with_random_readouts(model: str) -> Binder:
    """A set with untrained readouts."""
    found = load_encoders(find_set(model), modalities=SENSORS)
    torch.manual_seed(0)
    readouts = {
        name: Readout(config_for(tower.config)).eval().requires_grad_(False)
        for name, tower in towers_of(found.encoders).items()
    }
    return Binder(replace(found, readouts=readouts))


def evaluations(binder: Binder, *, repeats: int) -> list[Measurement]:
    """An evaluation with new evidence, from vectors and from tokens."""
    evidence = {
        name: found[0]
        for name, found in binder.encode_evidence(
            {name: binder.preprocess(name, golden_input(name)) for name in SENSORS}
        ).items()
    }
    vectors = {name: Evidence(each.vector) for name, each in evidence.items()}
    cases: dict[str, Callable[[], object]] = {}
    for count in COUNTS:
        bank = PredicateBank(predicates(count), binder, readout_budget_ms=math.inf)
        for kind, given in (('vectors', vectors), ('tokens', evidence)):
            cases[f'{count} predicates, {kind}'] = _Evaluation(bank, given)
    return measure('evaluation', cases, repeats=repeats)


class _Evaluation:
    """Receives evidence of every sensor and evaluates."""

    def __init__(self, bank: PredicateBank, evidence: dict[str, Evidence]) -> None:
        self._scoring, self._evidence, self._now_ns = Scoring(bank, history_s=0.0), evidence, 0

    def __call__(self) -> None:
        self._now_ns += 100_000_000
        for name, each in self._evidence.items():
            self._scoring.receive(
                name,
                each.vector,
                stamp_ns=self._now_ns,
                space=self._scoring.bank.space,
                tokens=each.tokens,
            )
        self._scoring.evaluate(self._now_ns)


def encodings(binder: Binder, *, repeats: int) -> list[Measurement]:
    """One sample of every sensor in one pass, without and with tokens."""
    inputs = {name: binder.preprocess(name, golden_input(name)) for name in SENSORS}
    cases: dict[str, Callable[[], object]] = {
        'vectors': lambda: binder.encode(inputs),
        'tokens': lambda: binder.encode_evidence(inputs),
    }
    return measure('encoding', cases, repeats=repeats)


def added_ms(found: list[Measurement]) -> dict[str, float]:
    """What tokens add to the median processor time, by number of predicates."""
    by_case = {one.case: one.cpu_ms for one in found}
    return {
        str(count): round(
            by_case[f'{count} predicates, tokens'] - by_case[f'{count} predicates, vectors'], 3
        )
        for count in COUNTS
    }


def main() -> None:
    """Measure and write benchmarks/results/NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--repeats', type=int, default=30)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--name', default='readout_cost')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    binder = with_random_readouts(args.model)
    evaluated = evaluations(binder, repeats=args.repeats)
    encoded = encodings(binder, repeats=args.repeats)
    result = {
        'threads': args.threads,
        'added_ms': added_ms(evaluated),
        'evaluations': [asdict(one) for one in evaluated],
        'encodings': [asdict(one) for one in encoded],
    }
    print(json.dumps(result['added_ms'], indent=2), write_result(args.name, result))


if __name__ == '__main__':
    main()
