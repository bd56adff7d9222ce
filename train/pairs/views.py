"""Further views of a window: more sentences, and sensors that were predicted from others.

VIDAL-10M (Zhu et al., ICLR 2024, section 4) describes a clip by several texts and gets its depth
and infrared from its colour. What says or predicts something is a callable of the user's, named by
`package.module:name`; nothing here downloads a model.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from train.pairs.record import Pair, Text, decode, encode

DERIVABLE = ('annotation', 'task', 'sidecar', 'note')


class Captioner(Protocol):
    """Says what a window shows."""

    def __call__(self, samples: Mapping[str, Any]) -> Sequence[str]:
        """Sentences for the samples of a window, by modality as `Binder.embed` takes them."""
        ...


class Refiner(Protocol):
    """Says the same in other words, for example by a language model."""

    def __call__(self, texts: Sequence[str]) -> Sequence[str]:
        """Sentences made of all sentences of a window."""
        ...


class Generator(Protocol):
    """Predicts one sensor from another, for example depth from colour."""

    #: Modality it reads.
    source: str

    def __call__(self, sample: Any) -> Any:
        """A sample of the new modality, as `Binder.embed` takes it."""
        ...


@dataclass(frozen=True)
class Views:
    """What is added to the windows of all bags.

    Attributes:
        templates: Sentences with one `{}` for what a person said.
        paraphrases: A sentence (lower case) to other ways to say it.
        captioners, refiners: Name to callable.
        generators: Modality to (name, callable); used where no sensor measured it.
    """

    templates: tuple[str, ...] = ()
    paraphrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    captioners: Mapping[str, Captioner] = field(default_factory=dict)
    refiners: Mapping[str, Refiner] = field(default_factory=dict)
    generators: Mapping[str, tuple[str, Generator]] = field(default_factory=dict)


def with_views(pair: Pair, views: Views) -> Pair:
    """The pair with what the views add; what was there stays first.

    Raises:
        ValueError: A generator returned something that is no sample of its modality.
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
    """What `package.module:name` is; a class is made an object without arguments.

    Raises:
        ValueError: There is no such thing, or it cannot be called.
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
