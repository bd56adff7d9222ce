"""Additions to windows: more sentences, and modalities predicted from other sensors.

VIDAL-10M (Zhu et al., ICLR 2024, section 4) describes a clip by several texts and generates its
depth and infrared from its colour. `train/views` holds models that do so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from train.pairs.options import PairsReport
from train.pairs.record import Pair, Text, decode, encode

DERIVABLE = ('annotation', 'task', 'sidecar', 'note')
# Pairs that models see together.
TOGETHER = 32


class Captioner(Protocol):
    """Describes the content of windows."""

    def __call__(self, windows: Sequence[Mapping[str, Any]], /) -> Sequence[Sequence[str]]:
        """Sentences for the samples of each window, by modality as `Binder.embed` accepts."""
        ...


class Refiner(Protocol):
    """Rewrites sentences, for example with a language model."""

    def __call__(self, windows: Sequence[Sequence[str]], /) -> Sequence[Sequence[str]]:
        """Sentences derived from all sentences of each window."""
        ...


class Generator(Protocol):
    """Predicts one modality from another, for example depth from colour."""

    @property
    def source(self) -> str:
        """Modality of the input."""
        ...

    @property
    def provenance(self) -> str:
        """What predicts it, for records of what was generated."""
        ...

    def __call__(self, samples: Sequence[Any], /) -> Sequence[Any]:
        """Return samples of the new modality, as accepted by `Binder.embed`."""
        ...


@dataclass(frozen=True)
class Views:
    """Additions to the windows of all bags.

    Attributes:
        templates: Sentences with one `{}` for a text by a person.
        paraphrases: A sentence (lower case) to its paraphrases.
        captioners, refiners: Name to callable.
        generators: Modality to its generator, used where no sensor measured the modality.
    """

    templates: tuple[str, ...] = ()
    paraphrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    captioners: Mapping[str, Captioner] = field(default_factory=dict)
    refiners: Mapping[str, Refiner] = field(default_factory=dict)
    generators: Mapping[str, Generator] = field(default_factory=dict)


def viewed(pairs: Iterable[Pair], views: Views, *, report: PairsReport) -> Iterator[Pair]:
    """Yield pairs with the additions of `with_views`.

    A model sees many pairs together. Where it fails, it sees them one by one, and those at which
    it fails again go without all additions and are counted.
    """
    waiting = iter(pairs)
    while together := list(islice(waiting, TOGETHER)):
        try:
            yield from with_views(together, views)
        except Exception:  # models and the functions of users raise anything
            for pair in together:
                yield _alone(pair, views, report)


def _alone(pair: Pair, views: Views, report: PairsReport) -> Pair:
    try:
        return with_views([pair], views)[0]
    except Exception as error:
        report.dropped['views that failed'] += 1
        report.problem(f'{pair.key}: a view failed ({type(error).__name__}: {error})')
        return pair


def with_views(pairs: Sequence[Pair], views: Views) -> list[Pair]:
    """Return pairs with the additions after their own content.

    Raises:
        ValueError: A generator returned something other than a sample of its modality.
    """
    made = list(pairs)
    for modality, generator in views.generators.items():
        _generate(made, modality, generator)
    texts = [[*pair.texts, *_derived(pair, views)] for pair in made]
    if views.captioners:
        samples = [{m: decode(m, pair.files) for m in pair.modalities} for pair in made]
        for name, captioner in views.captioners.items():
            _extend(texts, captioner(samples), 'caption', name)
    for name, refiner in views.refiners.items():
        known = [[text.text for text in _once(found)] for found in texts]
        _extend(texts, refiner(known), 'refined', name)
    return [
        replace(pair, texts=tuple(_once(found))) for pair, found in zip(made, texts, strict=True)
    ]


def _generate(pairs: list[Pair], modality: str, generator: Generator) -> None:
    """Add a modality to the pairs that lack it, in place."""
    lacking = [
        k
        for k, pair in enumerate(pairs)
        if modality not in pair.modalities and generator.source in pair.modalities
    ]
    if not lacking:
        return
    predicted = generator([decode(generator.source, pairs[k].files) for k in lacking])
    for k, sample in zip(lacking, predicted, strict=True):
        pairs[k] = replace(
            pairs[k],
            files={**pairs[k].files, **encode(modality, sample)},
            generated={**pairs[k].generated, modality: generator.provenance},
        )


def _derived(pair: Pair, views: Views) -> Iterator[Text]:
    """Paraphrases, and templates around what a person said."""
    for text in pair.texts:
        for other in views.paraphrases.get(text.text.lower(), ()):
            yield Text(other, 'paraphrase')
        if text.source in DERIVABLE:
            yield from (Text(each.format(text.text), 'template') for each in views.templates)


def _extend(
    texts: Sequence[list[Text]], added: Sequence[Sequence[str]], source: str, maker: str
) -> None:
    for known, sentences in zip(texts, added, strict=True):
        known.extend(Text(sentence, source, maker) for sentence in sentences)


def _once(texts: Iterable[Text]) -> list[Text]:
    """Texts that are not empty, without repetitions."""
    once: dict[str, Text] = {}
    for text in texts:
        if text.text.strip():
            once.setdefault(text.text, text)
    return list(once.values())
