"""CLIP's text tower, based on open_clip: tokens, unit vectors, identity of the language space."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from encoders.errors import ModelSetError
from encoders.text.minilm import ENDS, KEPT, forget_first
from encoders.transformer import check_transformer, unfilled

START, END = 49406, 49407  # END is also the padding
VOCABULARY = 49408
# open_clip's names of the special tokens, and those in the released vocabularies.
SPECIAL = {'<start_of_text>': '<|startoftext|>', '<end_of_text>': '<|endoftext|>'}
BATCH = 64
# Released names of the modules of a block, and their names in open_clip.
_BLOCK = {
    'layer_norm1': 'ln_1',
    'layer_norm2': 'ln_2',
    'mlp.fc1': 'mlp.c_fc',
    'mlp.fc2': 'mlp.c_proj',
    'self_attn.out_proj': 'attn.out_proj',
}
_ENDS = {
    'text_model.embeddings.token_embedding.weight': 'token_embedding.weight',
    'text_model.embeddings.position_embedding.weight': 'positional_embedding',
    'text_model.final_layer_norm.weight': 'ln_final.weight',
    'text_model.final_layer_norm.bias': 'ln_final.bias',
}
_PROJECTION = 'text_projection.weight'


@dataclass(frozen=True, slots=True)
class TextConfig:
    """Shape of a text tower: `vocabulary` and `context` in tokens, others as in VisionConfig."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    vocabulary: int
    context: int
    projection: int
    activation: str = 'gelu'
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_transformer(self.width, self.heads, self.activation)


class ClipText:
    """A frozen CLIP text tower.

    Attributes:
        name: `clip:` and the language space.
        space: Identity of the language space; equal for equal shapes and tensors.
        size: Number of dimensions of its vectors.
        context: Maximum number of tokens of a sentence.
        nbytes: Memory of the parameters, bytes.
    """

    def __init__(
        self,
        config: TextConfig,
        tensors: Mapping[str, Tensor],
        *,
        device: str | torch.device = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Build the tower from tensors with released names (see `text_shapes`)."""
        self.space = text_space(config, tensors)
        self.name, self.size, self.context = (
            f'clip:{self.space}',
            config.projection,
            config.context,
        )
        self.vocabulary = config.vocabulary
        self._device = torch.device(device)
        self.module = build_text(config, tensors, device=self._device, dtype=dtype)
        self.nbytes = sum(p.nbytes for p in self.module.parameters())
        self._known: dict[str, NDArray[np.float32]] = {}
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32 `[N, D]`; results are cached.

        Raises:
            ValueError: A sentence is empty, or the tower does not have CLIP's vocabulary.
        """
        for index, text in enumerate(texts):
            if not text.strip():
                raise ValueError(f'text {index} is empty')
        if self.vocabulary != VOCABULARY:
            raise ValueError(
                f'this text tower knows {self.vocabulary} tokens, but CLIP tokenizes into '
                f'{VOCABULARY}; embed_tokens takes its own'
            )
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._known]
            for start in range(0, len(new), BATCH):
                batch = new[start : start + BATCH]
                rows = self.embed_tokens(tokenize(batch, context=self.context))
                self._known.update(zip(batch, rows, strict=True))
            found = [self._known[text] for text in texts]
            forget_first(self._known, KEPT)
        return np.stack(found) if found else np.zeros((0, self.size), np.float32)

    def unload(self) -> None:
        """Does nothing: the weights are copies, not mapped from a file."""

    def unread(self, text: str) -> int:
        """Number of tokens that are truncated at the end of a sentence."""
        room = self.context - ENDS
        if len(text.encode()) <= room:  # a token has at least one byte
            return 0
        with self._lock:
            return max(0, len(_tokenizer().encode(text)) - room)

    @torch.inference_mode()
    def embed_tokens(self, tokens: Tensor) -> NDArray[np.float32]:
        """Unit vectors float32 `[N, D]` of token ids int64 `[N, context]`."""
        projected = self.module(tokens.to(self._device))
        return np.asarray(F.normalize(projected.float(), dim=-1).cpu().numpy(), np.float32)


def tokenize(texts: Sequence[str], *, context: int = 77) -> Tensor:
    """Token ids int64 `[N, context]`: start, byte-pair codes, end, padded with end.

    Long sentences lose their last codes but keep the end token. Text is cleaned as by
    LanguageBind's tokenizer (ftfy, single spaces, lower case); open_clip also unescapes HTML.
    """
    tokenizer = _tokenizer()
    rows = torch.full((len(texts), context), END, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        codes = [START, *tokenizer.encode(text)[: context - ENDS]]
        row[: len(codes)] = torch.tensor(codes)
    return rows


def check_tokenizer(folder: Path) -> None:
    """Check that a checkpoint's vocab.json, if present, is CLIP's.

    Raises:
        ModelSetError: The vocabulary differs, so that sentences would get wrong tokens.
    """
    path = folder / 'vocab.json'
    if not path.is_file():
        return
    try:
        vocabulary = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ModelSetError(f'{path}: {error}') from error
    known = _tokenizer().encoder
    for token in sorted(vocabulary.keys() ^ known.keys()):
        raise ModelSetError(f"{path}: token {token!r} is not in both this and CLIP's vocabulary")
    for token, code in known.items():
        if vocabulary[token] != code:
            raise ModelSetError(f'{path}: token {token!r} is {vocabulary[token]}, not {code}')


def text_shapes(config: TextConfig) -> dict[str, torch.Size]:
    """Released names and shapes of the tensors of a text tower."""
    width, hidden = config.width, config.mlp_width
    shapes: dict[str, tuple[int, ...]] = {
        'text_model.embeddings.token_embedding.weight': (config.vocabulary, width),
        'text_model.embeddings.position_embedding.weight': (config.context, width),
        'text_model.final_layer_norm.weight': (width,),
        'text_model.final_layer_norm.bias': (width,),
        _PROJECTION: (config.projection, width),
    }
    for layer in range(config.layers):
        block = f'text_model.encoder.layers.{layer}'
        for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
            shapes[f'{block}.self_attn.{name}.weight'] = (width, width)
            shapes[f'{block}.self_attn.{name}.bias'] = (width,)
        for name in ('layer_norm1', 'layer_norm2'):
            shapes |= {f'{block}.{name}.weight': (width,), f'{block}.{name}.bias': (width,)}
        shapes |= {
            f'{block}.mlp.fc1.weight': (hidden, width),
            f'{block}.mlp.fc1.bias': (hidden,),
            f'{block}.mlp.fc2.weight': (width, hidden),
            f'{block}.mlp.fc2.bias': (width,),
        }
    return {name: torch.Size(shape) for name, shape in shapes.items()}


def text_space(config: TextConfig, tensors: Mapping[str, Tensor]) -> str:
    """Identity of a language space: a hash of the configuration and of all tensors as float32."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    for name in sorted(text_shapes(config)):
        digest.update(name.encode())
        digest.update(tensors[name].detach().float().cpu().contiguous().numpy().tobytes())
    return f'clip-text:{digest.hexdigest()[:16]}'


def build_text(
    config: TextConfig,
    tensors: Mapping[str, Tensor],
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> torch.nn.Module:
    """open_clip's text transformer with these tensors, frozen: tokens to projected vectors."""
    from open_clip.transformer import LayerNorm, QuickGELU, TextTransformer

    with unfilled():
        module = TextTransformer(
            context_length=config.context,
            vocab_size=config.vocabulary,
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            mlp_ratio=config.mlp_width / config.width,
            output_dim=config.projection,
            act_layer=torch.nn.GELU if config.activation == 'gelu' else QuickGELU,
            norm_layer=partial(LayerNorm, eps=config.layer_norm_eps),
        )
    loaded = {k: v.to(device, dtype) for k, v in _as_open_clip(config, tensors).items()}
    module.load_state_dict(loaded, strict=True, assign=True)
    # This buffer is not in checkpoints and has no values yet.
    module.attn_mask = module.build_causal_mask().to(device, dtype)
    frozen: torch.nn.Module = module.eval().requires_grad_(False)
    return frozen


def _as_open_clip(config: TextConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {new: tensors[old] for old, new in _ENDS.items()}
    renamed['text_projection'] = tensors[_PROJECTION].T.contiguous()
    for layer in range(config.layers):
        old, new = f'text_model.encoder.layers.{layer}', f'transformer.resblocks.{layer}'
        for kind in ('weight', 'bias'):
            parts = [tensors[f'{old}.self_attn.{p}_proj.{kind}'] for p in 'qkv']
            renamed[f'{new}.attn.in_proj_{kind}'] = torch.cat(parts)
            for module, name in _BLOCK.items():
                renamed[f'{new}.{name}.{kind}'] = tensors[f'{old}.{module}.{kind}']
    return renamed


def from_open_clip(config: TextConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of open_clip's text transformer, with their released names."""
    named = {old: tensors[new] for old, new in _ENDS.items()}
    named[_PROJECTION] = tensors['text_projection'].T.contiguous()
    for layer in range(config.layers):
        old, new = f'text_model.encoder.layers.{layer}', f'transformer.resblocks.{layer}'
        for kind in ('weight', 'bias'):
            parts = tensors[f'{new}.attn.in_proj_{kind}'].chunk(3)
            for part, tensor in zip('qkv', parts, strict=True):
                named[f'{old}.self_attn.{part}_proj.{kind}'] = tensor
            for module, name in _BLOCK.items():
                named[f'{old}.{module}.{kind}'] = tensors[f'{new}.{name}.{kind}']
    return named


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from open_clip import tokenizer as clip

    tokenizer: Any = clip.SimpleTokenizer()
    pattern = tokenizer.pat.pattern
    for old, new in SPECIAL.items():
        pattern = pattern.replace(old, clip.re.escape(new))
        for table in (tokenizer.encoder, tokenizer.cache):
            table[new] = table.pop(old)
        tokenizer.cache[new] = new
    tokenizer.pat = clip.re.compile(pattern, clip.re.IGNORECASE)
    tokenizer.clean_fn = _clean
    return tokenizer


def _clean(text: str) -> str:
    import ftfy

    return re.sub(r'\s+', ' ', ftfy.fix_text(text)).strip().lower()
