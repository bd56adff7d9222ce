"""Score a sentence on an array, without ROS.

python examples/embed_arrays.py
"""

from __future__ import annotations

import numpy as np

from encoders import Binder, Predicate, PredicateBank


def main() -> None:
    """Print the score of a sentence about a drawer for the depth image of a wall 0.9 m away."""
    binder = Binder.load('lb-mini')
    bank = PredicateBank([Predicate.from_sentence('the drawer is open')], binder)
    depth_mm = np.full((480, 640), 900, np.uint16)
    for score in bank.score(binder.observe(depth=depth_mm)):
        print(f'{score.name}: {score.fused:.2f} {", ".join(score.reasons)}')


if __name__ == '__main__':
    main()
