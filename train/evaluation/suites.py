"""The paper's protocols on users' copies of its data: zero-shot accuracy, retrieval, fusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from encoders import Binder
from train.evaluation.evaluate import embed_raw
from train.evaluation.metrics import Measured, Retrieval, confusion, retrieval, top1
from train.evaluation.pair_eval import unit
from train.evaluation.suite_data import (
    Case,
    Suite,
    SuiteError,
    find_cases,
    load_suite,
    load_templates,
    read_case,
)

BATCH = 16
SCALE = 100.0


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """Results of a suite.

    Attributes:
        suite, model, space: Names of the suite, the model set and its language space.
        cases: Number of evaluated cases.
        problems: Files that could not be read, one line each; their cases are left out.
        top1: Accuracy by modality (or `depth+image`), for suites with classes.
        chance: Share of the most frequent class.
        classes: Names of the classes.
        confusion: Counts `[C, C]` by modality; rows are true classes.
        retrieval: Recalls by direction, for suites with captions.
    """

    suite: str
    model: str
    space: str
    cases: int
    problems: list[str] = field(default_factory=list)
    top1: dict[str, Measured] = field(default_factory=dict)
    chance: float = 0.0
    classes: tuple[str, ...] = ()
    confusion: dict[str, list[list[int]]] = field(default_factory=dict)
    retrieval: dict[str, Retrieval] = field(default_factory=dict)


def run_suite(
    name: str, folder: Path, binder: Binder, *, templates: Path | None = None
) -> SuiteResult:
    """Run a suite on a user's copy of its data.

    Args:
        name: `llvip`, `nyu-d`, `esc50`, `clotho` or `msrvtt`.
        folder: Folder of the data (see `train.evaluation.suite_data`).
        binder: The model set.
        templates: File of prompt templates that replaces the default.

    Raises:
        SuiteError: The suite is unknown, its data are missing, or the model set has no encoder for
            its modality.
    """
    suite = load_suite(name)
    if suite.modalities[0] not in binder.modalities:
        raise SuiteError(
            f'suite {name} needs an encoder for {suite.modalities[0]}; model set {binder.model} '
            f'has {", ".join(binder.modalities)}'
        )
    cases, vectors, problems = embed_cases(suite, find_cases(suite, folder), binder)
    result = SuiteResult(name, binder.model, binder.space, len(cases), problems)
    if suite.kind == 'captions':
        return _with_retrieval(result, suite, cases, vectors, binder)
    return _with_classes(result, suite, cases, vectors, binder, templates)


def classifier(binder: Binder, classes: Sequence[str], templates: Sequence[str]) -> NDArray[Any]:
    """Mean of the unit vectors of a class over all templates, normalised again: `[C, D]`."""
    rows = [binder.embed_text([t.format(c) for t in templates]).mean(axis=0) for c in classes]
    return unit(np.stack(rows))


def embed_cases(
    suite: Suite, cases: Sequence[Case], binder: Binder
) -> tuple[list[Case], dict[str, NDArray[np.float32]], list[str]]:
    """Embed cases; return the readable cases, their vectors by modality, and the problems.

    A modality is left out if any case lacks it.
    """
    shared = [
        m
        for m in suite.modalities
        if m in binder.modalities and all(m in case.files for case in cases)
    ]
    problems: list[str] = []
    kept: list[Case] = []

    def samples() -> Iterator[dict[str, Any]]:
        for case in track(cases, suite.name, console=Console(stderr=True)):
            try:
                yield {m: read_case(case, m) for m in shared}
            except (OSError, ValueError) as error:
                problems.append(str(error))
            else:
                kept.append(case)

    vectors = embed_raw(binder, samples(), batch=BATCH)
    if not kept:
        raise SuiteError(f'no case of {suite.name} could be read: {problems[0]}')
    return kept, vectors, problems


def _with_classes(
    result: SuiteResult,
    suite: Suite,
    cases: Sequence[Case],
    vectors: Mapping[str, NDArray[np.float32]],
    binder: Binder,
    templates: Path | None,
) -> SuiteResult:
    texts = classifier(binder, suite.classes, load_templates(suite, templates))
    labels = np.array([case.label for case in cases], np.int64)
    scores = {m: SCALE * z @ texts.T for m, z in vectors.items()}
    if len(scores) > 1:
        # The authors combine modalities by the mean of their logits.
        scores['+'.join(scores)] = np.mean(list(scores.values()), axis=0)
    counts = np.bincount(labels, minlength=len(suite.classes))
    return replace(
        result,
        top1={m: top1(table, labels) for m, table in scores.items()},
        chance=float(counts.max() / counts.sum()),
        classes=suite.classes,
        confusion={m: confusion(table, labels).tolist() for m, table in scores.items()},
    )


def _with_retrieval(
    result: SuiteResult,
    suite: Suite,
    cases: Sequence[Case],
    vectors: Mapping[str, NDArray[np.float32]],
    binder: Binder,
) -> SuiteResult:
    captions = [caption for case in cases for caption in case.captions]
    owner = np.repeat(np.arange(len(cases)), [len(case.captions) for case in cases])
    belongs = owner[None, :] == np.arange(len(cases))[:, None]
    texts = binder.embed_text(captions)
    tables = {}
    for modality, z in vectors.items():
        cosines = z @ texts.T
        tables[f'text -> {modality}'] = retrieval(cosines.T, belongs.T)
        tables[f'{modality} -> text'] = retrieval(cosines, belongs)
    return replace(result, retrieval=tables)
