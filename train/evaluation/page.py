"""The report at the end of a training: losses, temperature, retrieval, confusion, examples."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders import Binder
from encoders.atomic import write_atomically
from encoders.modalities import MODALITIES
from train.evaluation.metrics import RECALLS, confusion
from train.evaluation.pair_eval import EmbeddedPairs, embed_pairs, retrieval_tables
from train.pairs.data import PairData
from train.pairs.record import Pair, decode
from train.template import render

PAGE_PAIRS = 200
CONFUSED = 8
EXAMPLES = 6
THUMBNAIL = 96
TEMPLATE = Path(__file__).with_name('report.html.j2')


def write_training_page(
    path: Path, *, name: str, log: Path, model: Path, data: PairData, held_out: bool
) -> Path:
    """Write the page; return its path.

    Args:
        path: The file.
        name: Name of the training.
        log: Log of its steps.
        model: Folder of the trained set.
        data: Pairs to evaluate on.
        held_out: Whether the pairs were not used in training, as stated on the page.
    """
    binder = Binder.load(model)
    found = embed_pairs(binder, data, binder.modalities, limit=PAGE_PAIRS)
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    page = render(
        TEMPLATE,
        name=name,
        curves=[(title, curve_svg(series)) for title, series in _curves(steps)],
        pairs=len(found.pairs),
        sentences=len(found.texts),
        origin='pairs that were not trained on'
        if held_out
        else 'the pairs it was trained on (give --val for others)',
        recalls=RECALLS,
        retrieval=retrieval_tables(found),
        confusions=list(_confusions(found)),
        examples=list(_examples(found)),
    )
    write_atomically(path, page.encode())
    return path


def curve_svg(series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw named curves of (step, value) as an SVG chart."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(5.0, 2.4), layout='constrained')
    axes = figure.subplots()
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), linewidth=1.2, label=name)
    axes.set_xlabel('step')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend(fontsize='small')
    out = io.StringIO()
    figure.savefig(out, format='svg', metadata={'Date': None})
    text = out.getvalue()
    return text[text.index('<svg') :]


def _curves(
    steps: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, dict[str, list[tuple[float, float]]]]]:
    if not steps:
        return
    for title, key in (('Loss', 'losses'), ('Temperature', 'temperature')):
        names = steps[0][key]
        yield title, {n: [(s['step'], float(s[key][n])) for s in steps] for n in names}
    for title, key in (
        ('Learning rate', 'learning_rate'),
        ('Samples per second', 'samples_per_s'),
    ):
        yield title, {title: [(s['step'], float(s[key])) for s in steps]}


def _confusions(found: EmbeddedPairs) -> Iterator[dict[str, Any]]:
    """Confusion of the most frequent sentences, by modality, on pairs with exactly one of them."""
    common = np.argsort(-found.says.sum(axis=0), kind='stable')[:CONFUSED]
    for name, vectors in found.vectors.items():
        rows = found.present[name] & (found.says[:, common].sum(axis=1) == 1)
        if not rows.any():
            continue
        labels = found.says[rows][:, common].argmax(axis=1)
        counts = confusion(vectors[rows] @ found.text_vectors[common].T, labels)
        yield {
            'title': f'{name}: {int(rows.sum())} pairs',
            'names': [found.texts[k] for k in common],
            'counts': counts.tolist(),
        }


def _examples(found: EmbeddedPairs) -> Iterator[dict[str, Any]]:
    for name, vectors in found.vectors.items():
        there = np.flatnonzero(found.present[name])
        for k in there[np.unique(np.linspace(0, len(there) - 1, EXAMPLES).astype(int))]:
            cosines = found.text_vectors @ vectors[k]
            best = np.argsort(-cosines)[:3]
            yield {
                'modality': name,
                'key': found.pairs[k].key,
                'picture': _thumbnail(name, found.pairs[k]),
                'nearest': [
                    {
                        'text': found.texts[t],
                        'cosine': float(cosines[t]),
                        'true': bool(found.says[k, t]),
                    }
                    for t in best
                ],
                'recorded': [text.text for text in found.pairs[k].texts[:3]],
            }


def _thumbnail(name: str, pair: Pair) -> str:
    """A small image as a data URL; empty for audio."""
    if MODALITIES[name].kind == 'sound':
        return ''
    sample: NDArray[Any] = decode(name, pair.files)
    plane = sample[0] if MODALITIES[name].kind == 'clip' else sample
    if plane.ndim == 2:
        span = max(float(plane.max()) - float(plane.min()), 1.0)
        plane = ((plane - float(plane.min())) / span * 255).astype(np.uint8)
    else:
        plane = cv2.cvtColor(plane, cv2.COLOR_RGB2BGR)
    height = max(1, round(THUMBNAIL * plane.shape[0] / plane.shape[1]))
    small = cv2.resize(plane, (THUMBNAIL, height), interpolation=cv2.INTER_AREA)
    data = base64.b64encode(cv2.imencode('.jpg', small)[1].tobytes()).decode()
    return f'data:image/jpeg;base64,{data}'
