"""Additions to a window: more sentences, and modalities predicted from other sensors.

VIDAL-10M (Zhu et al., ICLR 2024, section 4) describes a clip by several texts and generates its
depth and infrared from its colour. Captioners, refiners and generators are callables of the user,
named as `package.module:name`; this module downloads no model.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from train.pairs.record import Pair, Text, decode, encode

DERIVABLE = ('annotation', 'task', 'sidecar', 'note')


class Captioner(Protocol):
    """Describes the content of a window."""

    def __call__(self, samples: Mapping[str, Any]) -> Sequence[str]:
        """Sentences for the samples of a window, by modality as accepted by `Binder.embed`."""
        ...


class Refiner(Protocol):
    """Rewrites sentences, for example with a language model."""

    def __call__(self, texts: Sequence[str]) -> Sequence[str]:
        """Sentences derived from all sentences of a window."""
        ...


class Generator(Protocol):
    """Predicts one modality from another, for example depth from colour."""

    #: Modality of the input.
    source: str

    def __call__(self, sample: Any) -> Any:
        """Return a sample of the new modality, as accepted by `Binder.embed`."""
        ...


@dataclass(frozen=True)
class Views:
    """Additions to the windows of all bags.

    Attributes:
        templates: Sentences with one `{}` for a text by a person.
        paraphrases: A sentence (lower case) to its paraphrases.
        captioners, refiners: Name to callable.
        generators: Modality to (name, callable); used if no sensor measured the modality.
    """

    templates: tuple[str, ...] = ()
    paraphrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    captioners: Mapping[str, Captioner] = field(default_factory=dict)
    refiners: Mapping[str, Refiner] = field(default_factory=dict)
    generators: Mapping[str, tuple[str, Generator]] = field(default_factory=dict)


def with_views(pair: Pair, views: Views) -> Pair:
    """Return the pair with the additions after its own content.

    Raises:
        ValueError: A generator returned something other than a sample of its modality.
    """
    files, generated = dict(pair.files), dict(pair.generated)
    for modality, (name, generate) in views.generators.items():
        if modality not in pair.modalities and generate.source in pair.modalities:
            files |= encode(modality, generate(decode(generate.source, pair.files)))
            generated[modality] = name
    texts = list(pair.texts)
    for text in pair.texts:
        others = views.paraphrases.get(text.text.lower(), ())
        texts += [Text(other, 'paraphrase') for other in others]
        if text.source in DERIVABLE:
            texts += [Text(t.format(text.text), 'template') for t in views.templates]
    if views.captioners:
        modalities = pair.modalities
        samples = {name: decode(name, pair.files) for name in modalities}
        for name, caption in views.captioners.items():
            texts += [Text(said, 'caption', name) for said in caption(samples)]
    for name, refine in views.refiners.items():
        said = [text.text for text in texts]
        texts += [Text(better, 'refined', name) for better in refine(said)]
    once: dict[str, Text] = {}
    for text in texts:
        if text.text.strip():
            once.setdefault(text.text, text)
    return replace(pair, files=files, texts=tuple(once.values()), generated=generated)


def load_callable(name: str) -> Any:
    """Import `package.module:name`; a class is instantiated without arguments.

    Raises:
        ValueError: The object does not exist or is not callable.
    """
    if ':' not in name:
        raise ValueError(f'{name!r}: expected package.module:name')
    try:
        found = pkgutil.resolve_name(name)
        made = found() if isinstance(found, type) else found
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f'{name}: {error}') from error
    if not callable(made):
        raise ValueError(f'{name}: is not callable')
    return made
