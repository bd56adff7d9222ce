"""Selection of windows so that frequent words of a vocabulary do not dominate."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

from train.pairs.plan import Window

WORD = re.compile(r"[a-z0-9][a-z0-9'-]*")


def balanced(
    windows: Sequence[Window], vocabulary: Sequence[str], *, most: int, seed: int
) -> tuple[list[int], Counter[str]]:
    """Return the windows to keep, and how often each entry then occurs.

    In random order, a window is kept while one of its entries occurs in fewer than `most` kept
    windows (compare the balanced curation of Xu et al. 2024, "Demystifying CLIP data"). Each entry
    keeps at least `most` windows, or all it has; windows without an entry are dropped.

    Args:
        windows: All windows.
        vocabulary: Words or phrases; if empty, every sentence is an entry.
        most: Windows per entry.
        seed: Seed of the random order.
    """
    phrases = [words_of(entry) for entry in vocabulary]
    order = list(range(len(windows)))
    random.Random(seed).shuffle(order)
    counts: Counter[str] = Counter()
    kept = []
    for index in order:
        found = entries_of(windows[index], phrases)
        if any(counts[entry] < most for entry in found):
            kept.append(index)
            counts.update(found)
    return sorted(kept), counts


def entries_of(window: Window, phrases: Sequence[tuple[str, ...]]) -> set[str]:
    """Entries of the vocabulary that occur in the sentences of a window."""
    if not phrases:
        return {text.text.lower() for text in window.texts}
    found = set()
    for text in window.texts:
        words = words_of(text.text)
        found |= {' '.join(phrase) for phrase in phrases if _contains(words, phrase)}
    return found


def words_of(text: str) -> tuple[str, ...]:
    """Split a text into lower-case words."""
    return tuple(WORD.findall(text.lower()))


def _contains(words: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    size = len(phrase)
    return any(words[k : k + size] == phrase for k in range(len(words) - size + 1))
