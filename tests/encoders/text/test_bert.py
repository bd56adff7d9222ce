"""The text encoder equals that of the library it was published with."""

from __future__ import annotations

import string
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.text.minilm import MAX_TOKENS, MiniLM, _minilm_folder, text_tower

WORDS = st.text(string.ascii_letters + string.digits + " ,.-'()üßéñ日本語😀", min_size=1)


@pytest.fixture(scope='module')
def published() -> Any:
    transformers = pytest.importorskip('transformers', reason='comes with peft')
    folder = _minilm_folder()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.BertModel.from_pretrained(folder, local_files_only=True).eval()

    @torch.inference_mode()
    def embed(texts: list[str]) -> Any:
        tokens = tokenizer(
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors='pt'
        )
        mask = tokens['attention_mask'].unsqueeze(-1)
        pooled = (model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(pooled, dim=-1).numpy()

    return embed


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(WORDS.filter(str.strip), min_size=1, max_size=5))
def test_sentences_of_any_kind_and_length(published: Any, texts: list[str]) -> None:
    texts = [*texts, 'the drawer is open', 'word ' * 200]
    own = text_tower('minilm-l6-v2').embed(texts)
    np.testing.assert_allclose(own, published(texts), atol=2e-6)


def test_loading_a_text_tower_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    MiniLM()
    torch.testing.assert_close(torch.rand(3), wanted, rtol=0, atol=0)


def test_loading_a_set_imports_no_library_that_takes_seconds() -> None:
    program = (
        'import sys; from encoders import Binder; Binder.load("lb-mini").embed_text(["a"]); '
        'assert not {"transformers", "torch._dynamo", "sympy"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', program], check=True, timeout=120)
