"""The page at the end of a training: losses, temperature, retrieval, confusion, examples."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders import Binder
from encoders.modalities import MODALITIES
from train.atomic import write_atomically
from train.evaluation.chart import confusion_table, lines, page
from train.evaluation.metrics import Retrieval, confusion
from train.evaluation.pair_eval import EmbeddedPairs, embed_pairs, retrieval_tables
from train.pairs.data import PairData
from train.pairs.record import Pair, decode

PAGE_PAIRS = 200
CONFUSED = 8
EXAMPLES = 6
THUMBNAIL = 96


def write_training_page(
    path: Path, *, name: str, log: Path, model: Path, data: PairData, held_out: bool
) -> Path:
    """Write the page; returns its path.

    Args:
        path: The file.
        name: Of the training.
        log: Its log of steps.
        model: Folder of the trained set.
        data: Pairs to measure on.
        held_out: Whether they were kept out of training; the page says so.
    """
    binder = Binder.load(model)
    found = embed_pairs(binder, data, binder.modalities, limit=PAGE_PAIRS)
    origin = (
        'pairs that were not trained on'
        if held_out
        else 'the very pairs it was trained on (give --val for others)'
    )
    body = (
        _curves(log)
        + f'<h2>Retrieval</h2><p class="note">{len(found.pairs)} pairs, {len(found.texts)} '
        f'sentences: {origin}. Values with 95 % bootstrap intervals.</p>'
        + retrieval_html(retrieval_tables(found))
        + '<h2>Confusion</h2>'
        + ''.join(_confusions(found))
        + '<h2>Examples</h2>'
        + _examples(found)
    )
    write_atomically(path, page(name, body).encode())
    return path


def _curves(log: Path) -> str:
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    figures = ''
    for title, key in (('Loss', 'losses'), ('Temperature', 'temperature')):
        names = steps[0][key] if steps else {}
        series = {n: [(s['step'], float(s[key][n])) for s in steps] for n in names}
        figures += lines(title, series)
    for title, key in (
        ('Learning rate', 'learning_rate'),
        ('Samples per second', 'samples_per_s'),
    ):
        figures += lines(title, {key: [(s['step'], float(s[key])) for s in steps]})
    return f'<h2>Training</h2>{figures}'


def retrieval_html(tables: dict[str, Retrieval]) -> str:
    """A table of retrieval in all directions."""
    rows = []
    for name, table in tables.items():
        cells = ''.join(f'<td class="number">{table.recall[k]}</td>' for k in table.recall)
        rows.append(
            f'<tr><td>{html.escape(name)}</td><td class="number">{table.candidates}</td>{cells}'
            f'<td class="number">{table.median_rank.value:.0f}</td>'
            f'<td class="number">{table.chance:.3f}</td></tr>'
        )
    head = ''.join(f'<th class="number">{h}</th>' for h in ('of', 'R@1', 'R@5', 'R@10', 'MedR',
                                                              'chance'))  # fmt: skip
    return f'<table><tr><th>direction</th>{head}</tr>{"".join(rows)}</table>'


def _confusions(found: EmbeddedPairs) -> list[str]:
    """The most frequent sentences of each modality, where a pair has exactly one of them."""
    tables = []
    common = np.argsort(-found.says.sum(axis=0), kind='stable')[:CONFUSED]
    for name, vectors in found.vectors.items():
        rows = found.present[name] & (found.says[:, common].sum(axis=1) == 1)
        if not rows.any():
            continue
        labels = found.says[rows][:, common].argmax(axis=1)
        counts = confusion(vectors[rows] @ found.text_vectors[common].T, labels)
        names = [found.texts[k] for k in common]
        tables.append(confusion_table(f'{name}: {int(rows.sum())} pairs', names, counts))
    return tables or ['<p class="note">No pair has exactly one of the frequent sentences.</p>']


def _examples(found: EmbeddedPairs) -> str:
    rows = []
    for name, vectors in found.vectors.items():
        there = np.flatnonzero(found.present[name])
        for k in there[np.unique(np.linspace(0, len(there) - 1, EXAMPLES).astype(int))]:
            cosines = found.text_vectors @ vectors[k]
            best = np.argsort(-cosines)[:3]
            said = '<br>'.join(
                f'<span class="{"right" if found.says[k, t] else "wrong"}">'
                f'{html.escape(found.texts[t])} ({cosines[t]:.2f})</span>'
                for t in best
            )
            true = '<br>'.join(html.escape(text.text) for text in found.pairs[k].texts[:3])
            rows.append(
                f'<tr><td>{_thumbnail(name, found.pairs[k])}</td><td>{name}<br>'
                f'<span class="note">{html.escape(found.pairs[k].key)}</span></td>'
                f'<td>{said}</td><td>{true}</td></tr>'
            )
    return (
        '<table><tr><th></th><th>sample</th><th>nearest sentences</th><th>said of it</th></tr>'
        f'{"".join(rows)}</table>'
    )


def _thumbnail(name: str, pair: Pair) -> str:
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
    return f'<img alt="{name}" src="data:image/jpeg;base64,{data}">'
