"""Plain OpenCLIP towers as model sets `openclip:<arch>/<tag>`, image only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.errors import ModelSetError
from encoders.model_sets.encoder import EncoderSet
from encoders.preprocess.columns import Columns
from encoders.preprocess.languagebind import image
from encoders.text.clip import ClipText, TextConfig, from_open_clip

PREFIX = 'openclip:'
# Files of open_clip on the hub, the safer format first.
FILES = ('open_clip_model.safetensors', 'open_clip_pytorch_model.bin')


@dataclass(frozen=True, slots=True)
class OpenClipEncoder:
    """OpenCLIP's image tower (see `encoders.model_sets.encoder.Encoder`)."""

    logit_scale: float
    visual: torch.nn.Module
    config: image.ImageConfig
    device: torch.device
    dtype: torch.dtype

    def preprocess(self, raw: Any, *, columns: Columns | None = None) -> tuple[Tensor, float]:
        """float32 `[3, size, size]` and the valid share."""
        return image.preprocess(raw, self.config, device=self.device)

    def encode(self, inputs: Tensor) -> Tensor:
        """Unit vectors `[B, D]` of inputs `[B, 3, size, size]`."""
        return F.normalize(self.visual(inputs.to(self.device, self.dtype)), dim=-1)


def load_open_clip(
    name: str,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> EncoderSet:
    """Load `openclip:<arch>/<tag>`; the tag may also be a file of weights.

    It has the language space of all LanguageBind sets with the same text tower.

    Raises:
        ModelSetError: The model is unknown to open_clip, was not pulled, or is not a plain CLIP.
    """
    import open_clip

    arch, tag = split_name(name)
    weights = find_weights(arch, tag)
    stated = open_clip.get_pretrained_cfg(arch, tag)
    wanted = {k: stated[k] for k in ('mean', 'std', 'interpolation', 'resize_mode') if k in stated}
    try:
        model = open_clip.create_model(
            arch,
            pretrained=str(weights),
            precision='fp32',
            force_custom_text=True,
            force_quick_gelu=bool(stated.get('quick_gelu')),
            force_preprocess_cfg=wanted,
        )
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ModelSetError(f'{name}: {weights}: {error}') from error
    config = _image_config(name, model.visual.preprocess_cfg, (options or {}).get('image', {}))
    text_config, text = plain_text(name, model.text)
    tower = ClipText(text_config, text, device=device, dtype=dtype)
    visual = model.visual.to(device, dtype).eval().requires_grad_(False)
    scale = float(model.logit_scale.detach().exp())
    encoder = OpenClipEncoder(scale, visual, config, torch.device(device), dtype)
    held = sum(p.nbytes for p in visual.parameters()) + tower.nbytes
    return EncoderSet(name, {'image': encoder}, tower, held_bytes=held, saved_bytes=0)


def split_name(name: str) -> tuple[str, str]:
    """Architecture and tag of `openclip:<arch>/<tag>`.

    Raises:
        ModelSetError: The name is malformed, or the architecture is unknown to open_clip.
    """
    import open_clip

    arch, _, tag = name.removeprefix(PREFIX).partition('/')
    if not arch or not tag:
        raise ModelSetError(f'{name}: expected openclip:<arch>/<tag>')
    if arch not in open_clip.list_models():
        raise ModelSetError(f'{name}: open_clip has no architecture {arch!r}')
    return arch, tag


def find_weights(arch: str, tag: str, *, download: bool = False) -> Path:
    """The file of weights of a tag, or `tag` itself if it is a file.

    Args:
        arch: open_clip's name of the architecture.
        tag: open_clip's name of pretrained weights, or a path.
        download: Download missing weights from the hub.

    Raises:
        ModelSetError: The tag is unknown, or it was not pulled.
    """
    import open_clip
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if Path(tag).is_file():
        return Path(tag)
    stated = open_clip.get_pretrained_cfg(arch, tag)
    if not stated:
        known = ', '.join(open_clip.list_pretrained_tags_by_model(arch)) or 'none'
        raise ModelSetError(f'{PREFIX}{arch}/{tag}: {arch} has no such tag, only {known}')
    repository, _, file = str(stated.get('hf_hub') or '').rpartition('/')
    if not repository:
        raise ModelSetError(f'{PREFIX}{arch}/{tag}: is not on the hub; name a file instead')
    if download:
        _download(repository, file)
    for name in (file,) if file else FILES:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    raise ModelSetError(
        f'{PREFIX}{arch}/{tag}: not on this machine; '
        f'get it with: lb-ros models pull {PREFIX}{arch}/{tag}'
    )


def _download(repository: str, file: str) -> None:
    from encoders.model_sets.hub import open_hub

    library, refused = open_hub()
    try:
        held = library.HfApi().list_repo_files(repository)
        wanted = next((name for name in (file, *FILES) if name in held), file or FILES[0])
        library.hf_hub_download(repository, wanted)
    except refused as error:
        raise ModelSetError(f'{repository}: cannot be downloaded: {error}') from error


def plain_text(name: str, text: Any) -> tuple[TextConfig, dict[str, Tensor]]:
    """Shape and released tensors of open_clip's text transformer.

    Raises:
        ModelSetError: It is not a transformer like CLIP's: causal, pooled at the end token.
    """
    from open_clip.transformer import QuickGELU, TextTransformer

    plain = (
        isinstance(text, TextTransformer)
        and text.pool_type == 'argmax'
        and text.attn_mask is not None
        and text.cls_emb is None
        and isinstance(text.text_projection, torch.nn.Parameter)
    )
    if not plain:
        raise ModelSetError(f"{name}: its text tower is not CLIP's")
    block = text.transformer.resblocks[0]
    config = TextConfig(
        width=text.width,
        layers=len(text.transformer.resblocks),
        heads=text.heads,
        mlp_width=block.mlp.c_fc.out_features,
        vocabulary=text.vocab_size,
        context=text.context_length,
        projection=text.output_dim,
        activation='quick_gelu' if isinstance(block.mlp.gelu, QuickGELU) else 'gelu',
        layer_norm_eps=text.ln_final.eps,
    )
    return config, from_open_clip(config, dict(text.named_parameters()))


def _image_config(
    name: str, stated: Mapping[str, Any], options: Mapping[str, Any]
) -> image.ImageConfig:
    size = stated['size']
    rows, columns = size if isinstance(size, (list, tuple)) else (size, size)
    usual = stated['interpolation'] == 'bicubic' and stated['resize_mode'] == 'shortest'
    if rows != columns or not usual:
        raise ModelSetError(f'{name}: its preprocessing is not supported: {dict(stated)}')
    values = {
        'size': int(rows),
        'round_to_bytes': True,
        'mean': tuple(stated['mean']),
        'std': tuple(stated['std']),
    }
    try:
        return image.ImageConfig(**{**asdict(image.ImageConfig()), **values, **options})
    except TypeError as error:
        raise ModelSetError(f'{name}: {error}') from error
