"""Generators: depth and infrared that a model predicts from a colour image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from train.views.kept import Kept, key_of
from train.views.pretrained import Pretrained

# Models of transformers whose depth is in metres although their configuration does not say so.
METRIC = ('glpn', 'zoedepth', 'depth_pro', 'prompt_depth_anything')
# Percentiles of relative inverse depth that are put at the far and the near end.
FAR_PERCENT, NEAR_PERCENT = 2.0, 98.0
MAX_DEPTH_MM = 65_535
NEAR_M, FAR_M = 0.3, 5.0
# Networks with a coarse grid cannot take smaller images.
MIN_SIDE = 64


@dataclass(frozen=True)
class DepthGenerator:
    """Predicts depth with any depth-estimation model of transformers (GLPN, DPT, Depth Anything).

    Models with metric depth are used as they are. Relative models predict inverse depth up to
    scale and shift: its percentiles are put at `far_m` and `near_m`, which guesses the scene.

    Attributes:
        given: Where the model is.
        near_m, far_m: Range of depth of a relative model.
        kept: Where predictions are kept.
    """

    given: Pretrained
    near_m: float = NEAR_M
    far_m: float = FAR_M
    kept: Kept = field(default_factory=Kept)
    source: str = 'image'
    batch: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.near_m < self.far_m:
            raise ValueError(
                f'depth between {self.near_m} and {self.far_m} m: near must be above 0 and '
                f'below far'
            )

    @cached_property
    def provenance(self) -> str:
        """Version of the model and scale of its depth, for records of what was generated."""
        scale = 'metric' if self.is_metric else f'relative, {self.near_m:g} to {self.far_m:g} m'
        return f'hf:{self.given.identity} ({scale})'

    @cached_property
    def is_metric(self) -> bool:
        """Whether the model predicts metres."""
        config = self._loaded[1].config
        metric = getattr(config, 'depth_estimation_type', '') == 'metric'
        return metric or config.model_type in METRIC

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint16]]:
        """Return the depth of images in millimetres, uint16 `[H, W]`; see `colour`."""
        images = [colour(image) for image in images]
        keys = [key_of('depth', self.provenance, image) for image in images]
        answers = self.kept.answers(keys, lambda at: self._predictions([images[k] for k in at]))
        return [_plane(answer) for answer in answers]

    def _predictions(self, images: Sequence[NDArray[np.uint8]]) -> list[bytes]:
        planes: list[NDArray[np.float32]] = []
        for start in range(0, len(images), self.batch):
            planes += self._predicted(images[start : start + self.batch])
        return [_png(self._millimetres(plane)) for plane in planes]

    @torch.inference_mode()
    def _predicted(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        processor, model = self._loaded
        found: dict[int, NDArray[np.float32]] = {}
        # Images of one size are one batch.
        sizes = sorted({image.shape[:2] for image in images})
        for size in sizes:
            at = [k for k, image in enumerate(images) if image.shape[:2] == size]
            given = processor(images=[_enlarged(images[k]) for k in at], return_tensors='pt')
            output = model(**given.to(model.device))
            depths = processor.post_process_depth_estimation(output, target_sizes=[size] * len(at))
            for k, depth in zip(at, depths, strict=True):
                found[k] = depth['predicted_depth'].float().cpu().numpy().squeeze()
        return [found[k] for k in range(len(images))]

    def _millimetres(self, plane: NDArray[np.float32]) -> NDArray[np.uint16]:
        if self.is_metric:
            metres = plane
        else:
            far, near = np.percentile(plane, [FAR_PERCENT, NEAR_PERCENT])
            share = np.clip((plane - far) / max(float(near - far), 1e-6), 0, 1)
            inverse = (1 - share) / self.far_m + share / self.near_m
            metres = 1 / inverse
        millimetres = np.nan_to_num(metres * 1000, nan=0, posinf=0, neginf=0)
        return np.clip(np.round(millimetres), 0, MAX_DEPTH_MM).astype(np.uint16)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return self.given.load('AutoModelForDepthEstimation', processor='AutoImageProcessor')


@dataclass(frozen=True)
class OnnxGenerator:
    """Predicts a one-channel image with an image-to-image network in ONNX.

    The network has one input, float `[N, 3, H, W]`, and one output, float `[N, C, H, W]` of any
    size; channels of the output are averaged. `H` and `W` may be fixed or free.

    Attributes:
        path: The file.
        low, high: Range of the values of the input and of the output.
        kept: Where predictions are kept.
    """

    path: Path
    low: float = 0.0
    high: float = 1.0
    kept: Kept = field(default_factory=Kept)
    source: str = 'image'

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f'onnx:{self.path}: low must be below high')

    @cached_property
    def provenance(self) -> str:
        """Name and hash of the file."""
        from encoders.model_sets.manifest import sha256_of

        return f'onnx:{self.path.name}@{sha256_of(self.path)[:12]}'

    def check(self) -> None:
        """Open the network.

        Raises:
            ValueError: onnxruntime is missing, or the file is no such network.
        """
        shape = self._session.get_inputs()[0].shape
        if len(self._session.get_inputs()) != 1 or len(shape) != 4 or shape[1] != 3:
            raise ValueError(f'onnx:{self.path}: expected one input [N, 3, H, W], not {shape}')

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Return the predictions for images, uint8 `[H, W]`; see `colour`."""
        images = [colour(image) for image in images]
        keys = [
            key_of('onnx', self.provenance, f'{self.low} {self.high}', image) for image in images
        ]
        answers = self.kept.answers(
            keys, lambda at: [_png(self._predicted(images[k])) for k in at]
        )
        return [_plane(answer) for answer in answers]

    def _predicted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        given = self._session.get_inputs()[0]
        height, width = (
            size if isinstance(size, int) else whole
            for size, whole in zip(given.shape[2:], image.shape[:2], strict=True)
        )
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        span = self.high - self.low
        values = (resized.astype(np.float32) / 255 * span + self.low).transpose(2, 0, 1)[None]
        output = self._session.run(None, {given.name: values})[0]
        if output.ndim != 4:
            raise ValueError(f'onnx:{self.path}: output {list(output.shape)}, expected 4 axes')
        plane = np.clip((output[0].mean(0) - self.low) / span, 0, 1) * 255
        whole = cv2.resize(plane.astype(np.float32), image.shape[1::-1])
        return np.asarray(np.round(whole).astype(np.uint8))

    @cached_property
    def _session(self) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(
                f'onnx:{self.path} needs onnxruntime: pip install "lb_ros[export]"'
            ) from error
        try:
            return onnxruntime.InferenceSession(
                str(self.path), providers=onnxruntime.get_available_providers()
            )
        except Exception as error:  # onnxruntime raises classes of its own
            first = str(error).strip().partition('\n')[0]
            raise ValueError(f'onnx:{self.path}: {first}') from error


def colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image, `[H, W]` or `[H, W, 3]`, with three channels."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = MIN_SIDE / min(image.shape[:2])
    return image if factor <= 1 else np.asarray(cv2.resize(image, None, fx=factor, fy=factor))


def _png(plane: NDArray[Any]) -> bytes:
    done, data = cv2.imencode('.png', plane)
    if not done:
        raise ValueError(f'a plane {list(plane.shape)} {plane.dtype} cannot be stored')
    return bytes(data)


def _plane(data: bytes) -> NDArray[Any]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
