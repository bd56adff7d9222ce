"""BERT's text encoder (Devlin et al. 2018) on PyTorch's own layers, loaded from published files.

The transformers library, with which it was published, takes long to import and uses much memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from encoders.memory import unload_mapped
from encoders.transformer import unfilled

WEIGHTS = 'model.safetensors'
# Published names of the modules of a layer, and their names in `nn.TransformerEncoderLayer`.
_PARTS = {
    'attention.output.dense': 'self_attn.out_proj',
    'attention.output.LayerNorm': 'norm1',
    'intermediate.dense': 'linear1',
    'output.dense': 'linear2',
    'output.LayerNorm': 'norm2',
}
_KINDS = ('weight', 'bias')


class Bert(nn.Module):
    """Tokens to states: embeddings, then post-LayerNorm layers."""

    def __init__(self, config: Mapping[str, int], tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        width, layers = config['hidden_size'], config['num_hidden_layers']
        epsilon = float(config['layer_norm_eps'])
        self._words = nn.Parameter(tensors['embeddings.word_embeddings.weight'])
        self._positions = nn.Parameter(tensors['embeddings.position_embeddings.weight'])
        # A single sentence has the first of two token types.
        self._type = nn.Parameter(tensors['embeddings.token_type_embeddings.weight'][0])
        with unfilled():
            self._norm = nn.LayerNorm(width, eps=epsilon)
            layer = nn.TransformerEncoderLayer(
                width,
                config['num_attention_heads'],
                config['intermediate_size'],
                activation='gelu',
                layer_norm_eps=epsilon,
                batch_first=True,
            )
            self._layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        norm = {kind: tensors[f'embeddings.LayerNorm.{kind}'] for kind in _KINDS}
        self._norm.load_state_dict(norm, assign=True)
        state: dict[str, Tensor] = {}
        for index in range(layers):
            state |= _layer_state(f'encoder.layer.{index}', f'layers.{index}', tensors)
        self._layers.load_state_dict(state, assign=True)
        self.requires_grad_(False).eval()

    def forward(self, tokens: Tensor, is_padding: Tensor) -> Tensor:
        """States float32 `[B, T, D]` of tokens int64 `[B, T]` and padding mask bool `[B, T]`."""
        states = F.embedding(tokens, self._words) + self._positions[: tokens.shape[1]] + self._type
        found: Tensor = self._layers(self._norm(states), src_key_padding_mask=is_padding)
        return found


class BertTokenizer:
    """Sentences to tokens by the published `tokenizer.json`, truncated at `limit` tokens."""

    def __init__(self, path: Path, *, limit: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.enable_truncation(limit)
        self._tokenizer.enable_padding()
        self._ends = self._tokenizer.num_special_tokens_to_add(is_pair=False)

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Tokens int64 `[B, T]` and padding mask bool `[B, T]`."""
        found = self._tokenizer.encode_batch(texts)
        tokens = torch.tensor([each.ids for each in found])
        return tokens, torch.tensor([each.attention_mask for each in found]) == 0

    def unread(self, text: str) -> int:
        """Number of tokens that are truncated at the end of a sentence."""
        parts = self._tokenizer.encode(text).overflowing
        return sum(sum(part.attention_mask) - self._ends for part in parts)


def _layer_state(published: str, own: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {}
    for kind in _KINDS:
        # PyTorch stores the three projections of attention in one matrix.
        state[f'{own}.self_attn.in_proj_{kind}'] = torch.cat(
            [tensors[f'{published}.attention.self.{n}.{kind}'] for n in ('query', 'key', 'value')]
        )
        for part, name in _PARTS.items():
            state[f'{own}.{name}.{kind}'] = tensors[f'{published}.{part}.{kind}']
    return state


def load_bert(folder: Path, *, limit: int) -> tuple[Bert, BertTokenizer]:
    """Load the encoder of a folder, and its tokenizer."""
    tensors = load_file(folder / WEIGHTS)
    bert = Bert(json.loads((folder / 'config.json').read_text()), tensors)
    # Joined projections are copies, so that the pages they were read from are needed no more.
    unload_mapped(folder / WEIGHTS)
    return bert, BertTokenizer(folder / 'tokenizer.json', limit=limit)
