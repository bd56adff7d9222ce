"""`Binder`, the public class: sensor arrays and sentences to vectors of one language space."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.decode.channels import ChannelDescription
from encoders.decode.options import ImageOptions
from encoders.decode.temperature import Objection, Remark
from encoders.model_sets.encoder import EncoderSet, no_encoder
from encoders.model_sets.engines import (
    dtype_for,
    faster_engines,
    open_engines,
    reducers_of,
    usable,
)
from encoders.model_sets.evidence import Evidence
from encoders.model_sets.readouts import identity_of
from encoders.model_sets.sources import Source, load_encoders
from encoders.model_sets.towers import free_towers, towers_of
from encoders.preprocess import PLAIN, objection, preprocess_picture, remarks, statistics_of
from encoders.preprocess.columns import Columns
from encoders.vision.compiled import ReadyCalls, is_compiled, usual
from encoders.vision.engines import TowerEngine
from encoders.vision.packed import Encodings, observe_together
from encoders.vision.precision import check_device, name_of
from encoders.vision.prepacked import prepack

Vectors = NDArray[np.float32]


class Embedded(dict[str, Vectors]):
    """Unit vectors float32 `[B, D]` by modality, and which of them do not count as evidence.

    Attributes:
        invalid: Modality to one reason per sample, empty if the sample counts as evidence. Only
            modalities with a reason. `PredicateBank.score` respects it.
    """

    def __init__(
        self, vectors: Mapping[str, Vectors], invalid: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__(vectors)
        self.invalid = {name: tuple(reasons) for name, reasons in invalid.items() if any(reasons)}


class Binder:
    """Encoders of several modalities and their text tower.

    Attributes:
        model: Name of the model set.
        space: Identity of the language space; only vectors of equal spaces may be compared.
        modalities: Names of the modalities that can be embedded.
        weights_sha256: SHA-256 of the weights; empty for a set without a manifest.
        calibration: Cosines to probabilities; None if the set is not calibrated.
        readouts: By modality, the readout of its tokens, on the CPU; empty for a set without.
        readout_ids: By modality, the identity of its readout (`identity_of`).
        readout_calibration: Log-odds of the readouts to probabilities; None without a fit.
        preprocessing: Preprocessing constants by modality.
        logit_scales: By modality, the factor of its cosines in training. It applies to a sensor
            and a sentence, not to two sensors, which were never compared in training.
        precision: Number format of the weights: `fp32`, `bf16` or `fp16`.
        is_compiled: Whether `prepare` compiles calls.
        engines: Modality to the engine that runs its tower instead of PyTorch.
        held_bytes: Memory of all parameters, bytes.
        saved_bytes: Additional memory that one model per modality would take, bytes.
    """

    def __init__(
        self,
        encoder_set: EncoderSet,
        *,
        precision: str = 'fp32',
        is_compiled: bool = False,
        engines: Mapping[str, TowerEngine] = MappingProxyType({}),
    ) -> None:
        self.model, self.calibration = encoder_set.name, encoder_set.calibration
        self.precision, self.is_compiled, self.engines = precision, is_compiled, engines
        self.held_bytes, self.saved_bytes = encoder_set.held_bytes, encoder_set.saved_bytes
        self.weights_sha256 = encoder_set.weights_sha256
        self._encoders, self._text = encoder_set.encoders, encoder_set.text
        self._towers = towers_of(self._encoders)
        # Towers that run in one pass.
        self._packable = {n: t for n, t in self._towers.items() if n not in engines}
        self.readouts = dict(encoder_set.readouts)
        self.readout_ids = {name: identity_of(each) for name, each in self.readouts.items()}
        self.readout_calibration = encoder_set.readout_calibration
        self._reducers = reducers_of(encoder_set)
        self._ready: ReadyCalls | None = None
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
        channels: Mapping[str, ChannelDescription] | None = None,
        device: str = 'cpu',
        dtype: torch.dtype | str = torch.float32,
        compilation: str = 'never',
        engine: str = 'torch',
        progress: Callable[[str], object] = lambda text: None,
    ) -> Binder:
        """Load a model set.

        Args:
            source: Name of a shipped or pulled set (`lb-mini`, `languagebind-large`), a folder,
                `openclip:<arch>/<tag>`, or modality to the folder of a LanguageBind checkpoint in
                its released layout: `{'depth': DIR, 'infrared': DIR}`.
            modalities: Load only these encoders; None loads all.
            options: By modality, preprocessing values that replace those of LanguageBind:
                `{'depth': {'holes': 'filled'}}`.
            channels: Described channels that the modality `signals` has instead of those of its
                training (`encoders.model_sets.described`); None for those.
            device: A torch device.
            dtype: dtype of the weights; also `fp32`, `bf16`, `fp16`, or `auto`: bfloat16 if the
                hardware supports it, which is slightly less exact, else float32.
            compilation: Whether `prepare` compiles calls: `always`, `never`, or `auto`, which
                compiles on a GPU (see `encoders.vision.compiled`).
            engine: What runs the towers: `torch`, `onnxruntime` on a CPU in float32, `tensorrt` on
                an NVIDIA GPU in float32 or float16, or `auto`: ONNX Runtime on a CPU, for the
                towers that it runs faster here. The first time, each tower is exported, which
                takes seconds to a minute.
            progress: Receives a description of each step.

        Raises:
            EngineError: The engine does not run here, or gives other vectors than PyTorch.
            ModuleNotFoundError: The extra of the engine is not installed.
            ModelSetError: The set is missing or damaged.
            SpaceError: The encoders have different language spaces.
            KeyError: The set has no encoder for one of `modalities`.
            ValueError: `device`, `dtype`, `compilation` or `engine` is invalid, or the set has no
                described channels of `signals`.
        """
        check_device(device)
        engine = usable(engine, device=device)
        compiles = is_compiled(compilation, device=device)
        chosen = dtype_for(engine, dtype, device=device)
        load = partial(
            load_encoders, source, modalities=modalities, options=options, channels=channels
        )
        encoder_set = load(device=device, dtype=chosen)
        engines: dict[str, TowerEngine] = {}
        if engine != 'torch':
            is_exact = engine != 'auto' or chosen == torch.float32
            exact = encoder_set if is_exact else load(device=device, dtype=torch.float32)
            known = 'onnxruntime' if engine == 'auto' else engine
            engines = open_engines(known, exact.encoders, reducers_of(exact), progress=progress)
        if not compiles:  # compilers cannot handle rearranged weights
            prepack(towers_of(encoder_set.encoders).values())
        if engine == 'auto':
            engines = faster_engines(engines, encoder_set.encoders, reducers_of(encoder_set))
        return cls(encoder_set, precision=name_of(chosen), is_compiled=compiles, engines=engines)

    def prepare(
        self,
        counts: Mapping[str, int],
        *,
        log: Callable[[str], object] = print,
        progress: Callable[[str], object] = lambda text: None,
    ) -> None:
        """Compile the frequent calls of `encode_evidence` if `is_compiled`; may take minutes.

        Args:
            counts: Largest number of samples of each modality in a call.
            log: Receives a line, once, for calls that run uncompiled, with the reason.
            progress: Receives a description of each step.
        """
        counts = {name: count for name, count in counts.items() if name not in self.engines}
        if self.is_compiled and any(counts.values()):
            calls = ReadyCalls(self._packable, log=log, reducers=self._reducers)
            calls.prepare(usual(counts), progress=progress)
            self._ready = calls

    def preprocess(self, modality: str, raw: Any) -> Tensor:
        """The network's input for one raw sample, float32 `[1, 3, H, W]`.

        For a video clip, `[1, 3, T, H, W]`; for a series, `[1, C, patches, V]`. Raises the errors
        of `preprocess_with_validity`.
        """
        return self.preprocess_with_validity(modality, raw)[0]

    def preprocess_with_validity(
        self, modality: str, raw: Any, *, columns: Columns | None = None
    ) -> tuple[Tensor, float]:
        """As `preprocess`, also returns the valid share of the sample, 0..1.

        For a window of an audio stream, `columns` may reuse spectrogram frames of earlier windows
        (see `encoders.preprocess.columns`).

        Raises:
            KeyError: The set has no encoder for this modality.
            ValueError: The shape or dtype of the array is not supported for this modality.
        """
        if modality not in self._encoders:
            raise no_encoder(modality, self.model, self._encoders)
        inputs, valid = self._encoders[modality].preprocess(raw, columns=columns)
        return inputs.unsqueeze(0), valid

    def preprocess_picture(self, modality: str, raw: Any) -> Tensor:
        """Preprocess one image of a video clip, float32 `[3, H, W]`; a clip is a stack of them.

        Raises:
            KeyError: The set has no encoder for this modality.
            ValueError: The array is not uint8 `[H, W, 3]`, or the modality is not video.
        """
        if modality not in self._encoders:
            raise no_encoder(modality, self.model, self._encoders)
        encoder = self._encoders[modality]
        return preprocess_picture(raw, encoder.config, device=encoder.device)

    @torch.inference_mode()
    def encode(self, inputs: dict[str, Tensor]) -> dict[str, Vectors]:
        """Unit vectors float32 `[B, D]` per modality, from preprocessed inputs `[B, ...]`.

        Several modalities run in one pass (see `encoders.vision.packed`).
        """
        return _arrays(self._run(inputs, tokens=()).vectors)

    @torch.inference_mode()
    def encode_evidence(
        self, inputs: dict[str, Tensor], *, tokens: Container[str] | None = None
    ) -> dict[str, list[Evidence]]:
        """Evidence per modality and sample, from preprocessed inputs `[B, ...]`.

        Args:
            inputs: Preprocessed inputs by modality.
            tokens: Modalities whose tokens are wanted, if they have a readout; None for all.
                Without tokens the last block of a tower computes less.
        """
        wanted = self._reducers.keys() if tokens is None else tokens
        found = self._run(inputs, tokens=wanted)
        # Read from the device before NumPy splits them into samples.
        reduced = {name: rows.cpu().numpy() for name, rows in found.tokens.items()}
        observed = {}
        for name, vectors in _arrays(found.vectors).items():
            tokens_of = reduced.get(name)
            known = statistics_of(inputs[name], self.preprocessing[name])
            observed[name] = [
                Evidence(
                    vector,
                    None if tokens_of is None else tokens_of[index],
                    statistics=None if known is None else known[index],
                )
                for index, vector in enumerate(vectors)
            ]
        return observed

    def _run(self, inputs: dict[str, Tensor], *, tokens: Container[str]) -> Encodings:
        """Vectors and tokens of preprocessed inputs, on the device of the encoders."""
        for name in inputs:
            if name not in self._encoders:
                raise no_encoder(name, self.model, self._encoders)
        packed = {name: inputs[name] for name in inputs if name in self._packable}
        found = Encodings({}, {})
        if packed and self._ready is not None:
            found = self._ready(packed)
        elif packed:
            reducers = {n: r for n, r in self._reducers.items() if n in tokens and n in packed}
            found = observe_together(self._towers, packed, reducers=reducers)
        vectors, reduced = dict(found.vectors), dict(found.tokens)
        for name in inputs.keys() - packed.keys():
            if name in self.engines:
                wants = name in tokens and name in self._reducers
                vectors[name], rows = self.engines[name](inputs[name], tokens=wants)
                reduced |= {} if rows is None else {name: rows}
            else:
                vectors[name] = self._encoders[name].encode(inputs[name])
        reduced = {name: rows for name, rows in reduced.items() if name in tokens}
        return Encodings({name: vectors[name] for name in inputs}, reduced)

    def grid(self, modality: str) -> tuple[int, int]:
        """Number of patches (rows, columns) of a modality's input.

        Raises:
            KeyError: The set has no encoder of patches for this modality.
        """
        if modality not in self._towers:
            raise no_encoder(modality, self.model, self._towers)
        return self._towers[modality].config.grid

    def objection(
        self, modality: str, raw: Any, *, options: ImageOptions = PLAIN
    ) -> Objection | None:
        """Why an embedding of a raw sample does not count as evidence; None if it counts.

        Args:
            modality: A modality of the set.
            raw: The raw sample, as for `preprocess`.
            options: Options with which it was decoded.

        Raises:
            KeyError: The set has no encoder for this modality.
        """
        if modality not in self._encoders:
            raise no_encoder(modality, self.model, self._encoders)
        return objection(raw, self._encoders[modality].config, options)

    def remarks(self, modality: str, raw: Any) -> list[Remark]:
        """What to report about a raw sample that counts as evidence, one line each.

        Of a series: masked channels, another frame than in training, and an untared sensor.

        Raises:
            KeyError: The set has no encoder for this modality.
        """
        if modality not in self._encoders:
            raise no_encoder(modality, self.model, self._encoders)
        return remarks(raw, self._encoders[modality].config)

    def embed(self, **raw: Any) -> Embedded:
        """Unit vectors float32 `[B, D]` per modality, from raw samples.

        Args:
            raw: Modality to one raw sample, or to a list of samples. `image`, `touch`: uint8
                `[H, W, 3]` RGB; `video`: uint8 `[T, H, W, 3]`; `depth`: uint16 millimetres or
                float metres `[H, W]`; `infrared`: uint8 or uint16 `[H, W]`; `audio`: (wave, rate
                in hertz); `wrench`, `joints`, `imu`: `encoders.Series`.

        Returns:
            Vectors by modality, and the samples that do not count as evidence; see `Embedded`.

        Raises:
            KeyError: The set has no encoder for a modality.
            ValueError: The shape or dtype of a sample is not supported for its modality.
        """
        inputs, invalid = self._inputs(raw)
        return Embedded(self.encode(inputs), invalid)

    def observe(self, **raw: Any) -> dict[str, Evidence | list[Evidence]]:
        """Evidence per modality, from raw samples: a vector, and tokens where there is a readout.

        Args:
            raw: As for `embed`.

        Returns:
            By modality, the evidence of a sample, or a list for a list of samples;
            `PredicateBank.score` takes both.

        Raises the errors of `embed`.
        """
        inputs, invalid = self._inputs(raw)
        observed: dict[str, Evidence | list[Evidence]] = {}
        for name, found in self.encode_evidence(inputs).items():
            marked = [
                replace(each, invalid_reason=reason)
                for each, reason in zip(found, invalid[name], strict=True)
            ]
            observed[name] = marked if isinstance(raw[name], list) else marked[0]
        return observed

    def _inputs(self, raw: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """Preprocessed inputs `[B, ...]`, and a reason per sample, by modality."""
        inputs, invalid = {}, {}
        for name, samples in raw.items():
            several = samples if isinstance(samples, list) else [samples]
            inputs[name] = torch.cat([self.preprocess(name, sample) for sample in several])
            found = [self.objection(name, sample) for sample in several]
            invalid[name] = ['' if each is None else each.reason for each in found]
        return inputs, invalid

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors float32 `[N, D]` of sentences.

        Raises:
            ValueError: A sentence is empty.
        """
        return self._text.embed(texts)

    def unread(self, text: str) -> int:
        """Number of tokens that `embed_text` truncates at the end of a sentence."""
        return self._text.unread(text)

    def free_encoders(self) -> None:
        """Free the weights of all towers: from now on, only texts are embedded."""
        free_towers(self._towers.values())

    def unload_text(self) -> None:
        """Unload the text tower's mapped weights; the next new sentence takes 5 ms more."""
        self._text.unload()


def _arrays(vectors: Mapping[str, Tensor]) -> dict[str, Vectors]:
    return {name: found.float().cpu().numpy() for name, found in vectors.items()}
