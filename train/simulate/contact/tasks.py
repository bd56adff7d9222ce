"""The five tasks of the contact suites, and the facts that follow from the task alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module

from train.simulate.suites import CONTACT_EVALUATION, CONTACT_SUITES

# Task, class and instruction. The classes need MuJoCo, and are imported when an episode is drawn.
TASKS = {
    'insertion': ('Insertion', 'insert the peg into the hole'),
    'screwing': ('Screwing', 'tighten the screw'),
    'filling': ('Filling', 'lift the cup and find out how full it is'),
    'rubbing': ('Rubbing', 'stroke the surface'),
    'grasping': ('Grasping', 'pick up the object'),
}


@dataclass(frozen=True, slots=True)
class ContactTask:
    """One task of a contact suite.

    Attributes:
        suite: `contact`, or `contact_eval` with the shapes that are kept for evaluation.
        task: A key of `TASKS`.
    """

    suite: str
    task: str

    @property
    def scene(self) -> str:
        """Name of the scene: the suites differ, because their shapes do."""
        return f'{self.suite}_{self.task}'

    @property
    def language(self) -> str:
        """Instruction, written for this project."""
        return TASKS[self.task][1]

    @property
    def split(self) -> str:
        """`evaluation` for the shapes that are never used in training, otherwise `train`."""
        return 'evaluation' if self.suite == CONTACT_EVALUATION else 'train'


def list_contact_tasks(suite: str) -> list[ContactTask]:
    """The tasks of a contact suite.

    Raises:
        ValueError: The suite is unknown.
    """
    if suite not in CONTACT_SUITES:
        raise ValueError(f'unknown suite {suite!r}, expected one of {", ".join(CONTACT_SUITES)}')
    return [ContactTask(suite, task) for task in TASKS]


@lru_cache(maxsize=1)
def own_predicates() -> dict[str, tuple[str, ...]]:
    """Predicates about the thing that only one task has, by task."""
    return {
        task: tuple(getattr(import_module(f'train.simulate.contact.{task}'), name).own)
        for task, (name, _) in TASKS.items()
    }


def absent_facts(task: str) -> dict[str, bool]:
    """What is certainly false in a task, because another task's thing is absent.

    Where there is no screw, nothing is screwed tight; outside of rubbing nothing is stroked, and
    no other surface of the suite has relief. A model that never meets such negatives answers at
    random when asked whether a surface is rough while it inserts a peg.
    """
    return {
        predicate: False
        for other, predicates in own_predicates().items()
        if other != task
        for predicate in predicates
    }
