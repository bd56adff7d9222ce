"""Go through a door only while it is open, as a behaviour tree.

lb-ros up &
python examples/behaviour_tree.py "the door is open"
"""

from __future__ import annotations

import sys

import py_trees
from py_trees.common import Status

from lb_ros.behaviours import Condition
from lb_ros.client import LanguageClient, NotAnsweredError


class Say(py_trees.behaviour.Behaviour):
    """Placeholder for an action of a robot; prints its name."""

    def update(self) -> Status:
        """Print the name and succeed."""
        print(self.name)
        return Status.SUCCESS


def enter(sentence: str) -> py_trees.trees.BehaviourTree:
    """Make a tree that goes while the sentence is TRUE, and waits while it is FALSE or UNKNOWN."""
    is_open = Condition(sentence, unknown=Status.FAILURE)
    go = py_trees.composites.Sequence('go', memory=False, children=[is_open, Say('going')])
    root = py_trees.composites.Selector('enter', memory=False, children=[go, Say('waiting')])
    return py_trees.trees.BehaviourTree(root)


def main() -> int:
    """Tick five times; return 2 on errors."""
    sentence = sys.argv[1] if len(sys.argv) > 1 else 'the door is open'
    try:
        with LanguageClient() as client:
            client.add(sentence)
        tree = enter(sentence)
        tree.setup()
        tree.tick_tock(period_ms=500, number_of_iterations=5)
        tree.shutdown()
    except NotAnsweredError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
