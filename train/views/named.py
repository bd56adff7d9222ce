"""From names on the command line to captioners, generators and refiners."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from encoders.modalities import MODALITIES
from train.views.captions import AudioCaptioner, ImageCaptioner
from train.views.generators import FAR_M, NEAR_M, DepthGenerator, OnnxGenerator
from train.views.kept import Kept
from train.views.pretrained import Pretrained
from train.views.refine import NO_KEY, OpenAIRefiner

KEY_VARIABLE = 'OPENAI_API_KEY'


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What all models share.

    Attributes:
        device: A torch device, or `auto`.
        download: Whether models that are not on this machine are downloaded.
        batch: Images, or windows of audio, at a time.
        prompt: Text of a refiner's request.
        most_requests: Requests that a refiner may make; None for any number.
        kept: Where answers are kept.
    """

    device: str = 'auto'
    download: bool = False
    batch: int = 8
    prompt: str = ''
    most_requests: int | None = None
    kept: Kept = field(default_factory=Kept)


@dataclass(frozen=True, slots=True)
class Each:
    """A function of one item, as a function of several."""

    function: Callable[[Any], Any]

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """Apply the function to each item."""
        return [self.function(item) for item in items]


@dataclass(frozen=True, slots=True)
class EachGenerated(Each):
    """A generator of one sample, as a generator of several.

    Attributes:
        source: Modality of the input.
        provenance: Name in records of what was generated.
    """

    source: str = ''
    provenance: str = ''


def captioner_of(name: str, options: ViewOptions) -> Any:
    """Return a captioner by name: `hf:MODEL`, `hf-audio:MODEL` or `package.module:name`.

    Raises:
        ValueError: It cannot be used.
    """
    kind, _, rest = name.partition(':')
    made = {'hf': ImageCaptioner, 'hf-audio': AudioCaptioner}.get(kind)
    if made is None:
        return Each(load_callable(name))
    source = Pretrained(rest, device=options.device, download=options.download)
    source.check()
    return made(source, batch=options.batch, kept=options.kept)


def generator_of(modality: str, name: str, options: ViewOptions) -> Any:
    """Return a generator of a modality by name.

    Args:
        modality: Name of the modality.
        name: `hf:MODEL[?near=M&far=M]` for depth, `onnx:FILE[?low=V&high=V]` for infrared, or
            `package.module:name`.
        options: Shared options.

    Raises:
        ValueError: It cannot be used.
    """
    kind, _, rest = name.partition(':')
    if kind not in ('hf', 'onnx'):
        function = load_callable(name)
        source = getattr(function, 'source', None)
        if source not in MODALITIES:
            raise ValueError(f'{name}: its attribute `source` must be a modality')
        return EachGenerated(function, source, name)
    wanted = {'hf': 'depth', 'onnx': 'infrared'}[kind]
    if modality != wanted:
        raise ValueError(f'{name}: generates {wanted}, not {modality}')
    where, _, query = rest.partition('?')
    if kind == 'hf':
        given = Pretrained(where, device=options.device, download=options.download)
        given.check()
        near_m, far_m = _numbers(name, query, near=NEAR_M, far=FAR_M)
        return DepthGenerator(given, near_m, far_m, batch=options.batch, kept=options.kept)
    path = Path(where)
    if not path.is_file():
        raise ValueError(f'{name}: no such file')
    low, high = _numbers(name, query, low=0.0, high=1.0)
    network = OnnxGenerator(path, low, high, kept=options.kept)
    network.check()
    return network


def refiner_of(name: str, options: ViewOptions) -> Any:
    """Return a refiner by name: `openai:URL#MODEL` or `package.module:name`.

    Raises:
        ValueError: It cannot be used.
    """
    kind, _, rest = name.partition(':')
    if kind != 'openai':
        return Each(load_callable(name))
    try:
        import openai  # noqa: F401
    except ImportError as error:
        raise ValueError(f'{name} needs openai: pip install "lb_ros[refine]"') from error
    url, _, model = rest.partition('#')
    if urlsplit(url).scheme not in ('http', 'https') or not model:
        raise ValueError(
            f'{name}: expected openai:URL#MODEL, as in openai:http://localhost:8000/v1#MODEL'
        )
    return OpenAIRefiner(
        url=url,
        model=model,
        prompt=options.prompt,
        most=options.most_requests,
        key=os.environ.get(KEY_VARIABLE, NO_KEY),
        kept=options.kept,
    )


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


def _numbers(name: str, query: str, **numbers: float) -> list[float]:
    """The numbers, with those that a query `KEY=NUMBER&...` sets instead."""
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in numbers:
            raise ValueError(f'{name}: unknown {key!r}, expected {" or ".join(numbers)}')
        try:
            numbers[key] = float(text)
        except ValueError:
            raise ValueError(f'{name}: {key}={text!r} is no number') from None
    return list(numbers.values())
