"""Captioners of transformers: sentences from the images or the audio of a window."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.preprocess.mini.audio import mono_wave, resample
from train.views.generators import colour
from train.views.kept import Kept, key_of
from train.views.pretrained import Pretrained

MAX_NEW_TOKENS = 40
# Of a clip, these shares of its length are described.
CLIP_SHARES = (0.0, 0.5, 1.0)
# For models that follow instructions; the others describe an image without being asked.
INSTRUCTION = 'Describe what this image shows in one short sentence.'

Samples = Mapping[str, Any]
Item = TypeVar('Item')


@dataclass(frozen=True)
class ImageCaptioner:
    """Describes colour images, and clips by their first, middle and last frame.

    Any image-to-text model of transformers (BLIP, GIT, vision-encoder-decoder, chat models).

    Attributes:
        source: Where the model is.
        batch: Images that are described together.
        kept: Where captions are kept.
    """

    source: Pretrained
    batch: int = 8
    kept: Kept = field(default_factory=Kept)

    def __call__(self, windows: Sequence[Samples]) -> list[list[str]]:
        """Return the different captions of each window; none without an image or a clip.

        Args:
            windows: Samples by modality, as accepted by `Binder.embed`.
        """
        frames = [list(_frames(samples)) for samples in windows]
        flat = [frame for found in frames for frame in found]
        keys = [key_of('caption', self.source.identity, INSTRUCTION, frame) for frame in flat]
        captions = _captions(flat, keys, self._described, batch=self.batch, kept=self.kept)
        return [_different(next(captions) for _ in found) for found in frames]

    @torch.inference_mode()
    def _described(self, images: Sequence[NDArray[np.uint8]]) -> list[str]:
        processor, model = self._loaded
        if getattr(processor, 'chat_template', None):
            content = [{'type': 'image'}, {'type': 'text', 'text': INSTRUCTION}]
            prompt = processor.apply_chat_template(
                [{'role': 'user', 'content': content}], add_generation_prompt=True
            )
            given = processor(
                text=[prompt] * len(images),
                images=[[image] for image in images],
                return_tensors='pt',
                padding=True,
                padding_side='left',  # what follows the prompt is generated
            )
        else:
            given = processor(images=list(images), return_tensors='pt')
        given = given.to(model.device)
        tokens = model.generate(**given, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        if 'input_ids' in given:  # chat models repeat the prompt
            tokens = tokens[:, given['input_ids'].shape[1] :]
        return [str(text) for text in processor.batch_decode(tokens, skip_special_tokens=True)]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return self.source.load('AutoModelForImageTextToText', processor='AutoProcessor')


@dataclass(frozen=True)
class AudioCaptioner:
    """Describes audio, with any sequence-to-sequence model of transformers for sound.

    Attributes:
        source: Where the model is.
        batch: Windows that are described together.
        kept: Where captions are kept.
    """

    source: Pretrained
    batch: int = 8
    kept: Kept = field(default_factory=Kept)

    def __call__(self, windows: Sequence[Samples]) -> list[list[str]]:
        """Return the caption of each window; none for a window without audio."""
        sounds = [samples['audio'] for samples in windows if 'audio' in samples]
        keys = [
            key_of('caption', self.source.identity, str(rate), np.asarray(wave))
            for wave, rate in sounds
        ]
        captions = _captions(sounds, keys, self._described, batch=self.batch, kept=self.kept)
        return [_different([next(captions)] if 'audio' in samples else []) for samples in windows]

    @torch.inference_mode()
    def _described(self, sounds: Sequence[tuple[NDArray[Any], int]]) -> list[str]:
        processor, model = self._loaded
        rate = int(processor.feature_extractor.sampling_rate)
        waves = [resample(mono_wave(wave), rate_hz, rate).numpy() for wave, rate_hz in sounds]
        given = processor(waves, sampling_rate=rate, return_tensors='pt').to(model.device)
        tokens = model.generate(**given, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        return [str(text) for text in processor.batch_decode(tokens, skip_special_tokens=True)]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return self.source.load('AutoModelForSpeechSeq2Seq', processor='AutoProcessor')


def _captions(
    items: Sequence[Item],
    keys: Sequence[str],
    describe: Callable[[Sequence[Item]], list[str]],
    *,
    batch: int,
    kept: Kept,
) -> Iterator[str]:
    """Yield one caption per item: the kept one, or that of a model, which sees a batch at once."""

    def ask(at: list[int]) -> list[bytes]:
        texts: list[str] = []
        for start in range(0, len(at), batch):
            texts += describe([items[k] for k in at[start : start + batch]])
        return [json.dumps(text).encode() for text in texts]

    return map(json.loads, kept.answers(keys, ask))


def _frames(samples: Samples) -> Iterable[NDArray[np.uint8]]:
    """The colour images of a window, `[H, W, 3]`: its image, or frames of its clip."""
    if 'image' in samples:
        yield colour(samples['image'])
    elif 'video' in samples:
        clip = samples['video']
        last = len(clip) - 1
        yield from (
            colour(clip[k]) for k in sorted({round(share * last) for share in CLIP_SHARES})
        )


def _different(captions: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in map(str.strip, captions) if text))
