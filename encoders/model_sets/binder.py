"""The public face: raw sensor arrays and sentences to unit vectors of one language space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.decode.options import ImageOptions
from encoders.decode.temperature import Objection
from encoders.model_sets.encoder import EncoderSet, no_encoder
from encoders.model_sets.sources import Source, load_encoders
from encoders.model_sets.towers import towers_of
from encoders.preprocess import PLAIN, objection, preprocess_picture
from encoders.preprocess.columns import Columns
from encoders.vision.compiled import ReadyCalls, is_compiled, usual
from encoders.vision.packed import encode_together
from encoders.vision.precision import dtype_of, name_of
from encoders.vision.prepacked import prepack

Vectors = NDArray[np.float32]
Together = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class Embedded(dict[str, Vectors]):
    """Unit vectors float32 `[B, D]` by modality, and which of them are no evidence.

    Attributes:
        invalid: Modality to a reason for each of its samples, empty where it is evidence; holds
            only modalities with a reason. `PredicateBank.score` respects it.
    """

    def __init__(
        self, vectors: Mapping[str, Vectors], invalid: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__(vectors)
        self.invalid = {name: tuple(reasons) for name, reasons in invalid.items() if any(reasons)}


class Binder:
    """Encoders of several modalities and the text tower they are bound to.

    Attributes:
        model: Name of the model set.
        space: Identity of the language space; only vectors with equal spaces may be compared.
        modalities: Names of the modalities that can be embedded.
        calibration: From cosines to probabilities, or None where the set has not been calibrated.
        preprocessing: Its constants by modality.
        logit_scales: By modality, the factor its cosines were trained with. Cosines of two sensors
            carry none: only a sensor and a sentence were compared in training.
        precision: Number format of the weights at work: `fp32`, `bf16` or `fp16`.
        is_compiled: Whether `prepare` makes calls ready.
        held_bytes: Memory of all parameters.
        saved_bytes: What one model per modality would take more.
    """

    def __init__(
        self, encoder_set: EncoderSet, *, precision: str = 'fp32', is_compiled: bool = False
    ) -> None:
        self.model, self.calibration = encoder_set.name, encoder_set.calibration
        self.precision, self.is_compiled = precision, is_compiled
        self.held_bytes, self.saved_bytes = encoder_set.held_bytes, encoder_set.saved_bytes
        self._encoders, self._text = encoder_set.encoders, encoder_set.text
        self._towers = towers_of(self._encoders)
        self._together: Together = partial(encode_together, self._towers)
        self.space = self._text.space
        self.modalities = tuple(self._encoders)
        self.preprocessing = {name: e.config for name, e in self._encoders.items()}
        self.logit_scales = {name: e.logit_scale for name, e in self._encoders.items()}

    @classmethod
    def load(
        cls,
        source: Source,
        *,
        modalities: Sequence[str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        device: str = 'cpu',
        dtype: torch.dtype | str = torch.float32,
        compilation: str = 'never',
    ) -> Binder:
        """Load a model set.

        Args:
            source: Name of a shipped or pulled set (`lb-mini`, `languagebind-large`), a folder,
                `openclip:<arch>/<tag>`, or modality to the folder of a LanguageBind checkpoint in
                its released layout: `{'depth': DIR, 'infrared': DIR}`.
            modalities: Load only these encoders; all where None.
            options: LanguageBind's preprocessing by modality, where it should differ from the
                released one: `{'depth': {'holes': 'filled'}}`.
            device: A torch device.
            dtype: Of the weights at work; also `fp32`, `bf16`, `fp16`, or `auto`: bfloat16 where
                the hardware multiplies it, which costs a little exactness, else float32.
            compilation: Whether `prepare` makes calls ready: `always`, `never`, or `auto`: on a
                GPU (see `encoders.vision.compiled`).

        Raises:
            ModelSetError: There is no such set, or it is damaged.
            SpaceError: Its encoders lie in different language spaces.
            KeyError: The set has no encoder for one of `modalities`.
            ValueError: There is no such precision or choice of compilation.
        """
        compiles = is_compiled(compilation, device=device)
        chosen = dtype_of(dtype, device=device) if isinstance(dtype, str) else dtype
        encoder_set = load_encoders(
            source, modalities=modalities, options=options, device=device, dtype=chosen
        )
        if not compiles:  # a compiler cannot read rearranged weights
            prepack(towers_of(encoder_set.encoders).values())
        return cls(encoder_set, precision=name_of(chosen), is_compiled=compiles)

    def prepare(
        self,
        counts: Mapping[str, int],
        *,
        log: Callable[[str], object] = print,
        progress: Callable[[str], object] = lambda text: None,
    ) -> None:
        """Make the usual calls of `encode` ready, where it `is_compiled`; takes its time.

        Args:
            counts: Samples of each modality that may come together.
            log: Takes a line, once, for what runs as it is, and why.
            progress: Told what is being done.
        """
        if self.is_compiled and any(counts.values()):
            calls = ReadyCalls(self._towers, log=log)
            calls.prepare(usual(counts), progress=progress)
            self._together = calls

    def preprocess(self, modality: str, raw: Any) -> Tensor:
        """The network's input for one raw sample: float32 `[1, 3, H, W]`, a clip with its frames.

        A clip is `[1, 3, T, H, W]`.

        Raises what `preprocess_with_validity` raises.
        """
        return self.preprocess_with_validity(modality, raw)[0]

    def preprocess_with_validity(
        self, modality: str, raw: Any, *, columns: Columns | None = None
    ) -> tuple[Tensor, float]:
        """As `preprocess`, with the valid share of the sample, 0..1.

        Of a window of a stream of sound, `columns` may know what earlier ones had in common with
        it (see `encoders.preprocess.columns`).

        Raises:
            KeyError: The set has no encoder for this modality.
            ValueError: The array has a shape or dtype that this modality does not take.
        """
        if modality not in self._encoders:
            raise no_encoder(modality, self.model, self._encoders)
        inputs, valid = self._encoders[modality].preprocess(raw, columns=columns)
        return inputs.unsqueeze(0), valid

    def preprocess_picture(self, modality: str, raw: Any) -> Tensor:
        """One picture of a clip, float32 `[3, H, W]`; a clip is a stack of them (`frames`).

        Raises:
            KeyError: The set has no encoder for this modality.
            ValueError: The array is not uint8 `[H, W, 3]`, or the modality has no clips.
        """
        if modality not in self._encoders:
            raise no_encoder(modality, self.model, self._encoders)
        encoder = self._encoders[modality]
        return preprocess_picture(raw, encoder.config, device=encoder.device)

    @torch.inference_mode()
    def encode(self, inputs: dict[str, Tensor]) -> dict[str, Vectors]:
        """Unit vectors float32 `[B, D]` per modality, from preprocessed inputs `[B, ...]`.

        Several modalities are run in one pass (see `encoders.vision.packed`).
        """
        for name in inputs:
            if name not in self._encoders:
                raise no_encoder(name, self.model, self._encoders)
        packed = {name: batch for name, batch in inputs.items() if name in self._towers}
        vectors = self._together(packed) if packed else {}
        for name in inputs.keys() - packed.keys():
            vectors[name] = self._encoders[name].encode(inputs[name])
        return {name: vectors[name].float().cpu().numpy() for name in inputs}

    def objection(
        self, modality: str, raw: Any, *, options: ImageOptions = PLAIN
    ) -> Objection | None:
        """Why an embedding of a raw sample is no evidence for predicates; None where it is.

        Args:
            modality: Of the set.
            raw: The sample, as `preprocess` takes it.
            options: With which it was decoded.

        Raises:
            KeyError: The set has no encoder for this modality.
        """
        if modality not in self._encoders:
            raise no_encoder(modality, self.model, self._encoders)
        return objection(raw, self._encoders[modality].config, options)

    def embed(self, **raw: Any) -> Embedded:
        """Unit vectors float32 `[B, D]` per modality, from raw samples.

        Args:
            raw: Modality to one raw sample, or to a list of samples. `image`: uint8 `[H, W, 3]`
                RGB; `video`: uint8 `[T, H, W, 3]`; `depth`: uint16 millimetres or float metres
                `[H, W]`; `infrared`: uint8 or uint16 `[H, W]`; `audio`: (wave, rate in hertz).

        Returns:
            A dictionary that also says which samples are no evidence, see `Embedded`.

        Raises:
            KeyError: The set has no encoder for a modality.
            ValueError: A sample has a shape or dtype that its modality does not take.
        """
        inputs, invalid = {}, {}
        for name, samples in raw.items():
            several = samples if isinstance(samples, list) else [samples]
            inputs[name] = torch.cat([self.preprocess(name, sample) for sample in several])
            found = [self.objection(name, sample) for sample in several]
            invalid[name] = ['' if each is None else each.reason for each in found]
        return Embedded(self.encode(inputs), invalid)

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors float32 `[N, D]` of sentences.

        Raises:
            ValueError: A sentence is empty.
        """
        return self._text.embed(texts)

    def unread(self, text: str) -> int:
        """How many tokens at the end of a sentence `embed_text` leaves out: it is too long."""
        return self._text.unread(text)
