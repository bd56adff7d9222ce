"""Score predicates on a recorded bag, with the windows that live nodes would encode.

python examples/score_bag.py [BAG]
"""

from __future__ import annotations

import sys
from pathlib import Path

from encoders import Binder, Predicate, PredicateBank
from encoders.predicates.scoring import Scoring
from encoders.shipped import shipped
from train.score.windows import SensorTopics, read_windows

SENTENCE = 'the stove is hot'


def main() -> None:
    """Print the probability of a sentence for every second of the bag."""
    bag = Path(sys.argv[1]) if len(sys.argv) > 1 else shipped('lb_ros/data/demo_bag')
    binder = Binder.load('lb-mini')
    scoring = Scoring(PredicateBank([Predicate.from_sentence(SENTENCE)], binder))
    start_ns = printed_ns = 0
    for window in read_windows(bag, SensorTopics(), modalities=['infrared'], max_rate_hz=2.0):
        start_ns = start_ns or window.stamp_ns
        observed = binder.observe(infrared=[window.raw()])['infrared']
        scoring.receive(
            window.modality,
            observed[0].vector,
            tokens=observed[0].tokens,
            stamp_ns=window.stamp_ns,
            space=binder.space,
        )
        if window.stamp_ns - printed_ns >= 1e9:
            printed_ns = window.stamp_ns
            score = scoring.evaluate(window.stamp_ns).scores[0]
            print(f'{(window.stamp_ns - start_ns) * 1e-9:5.1f} s  {SENTENCE}: {score.fused:.2f}')


if __name__ == '__main__':
    main()
