"""Tiny models with the real architectures, made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

WORDS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '[DEC]', 'a', 'red', 'drawer', 'is', 'open')

CHAT_WORDS = ('a', 'red', 'drawer', 'is', 'open', 'user', ':', 'assistant')
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}"
    '{% endfor %}{% endfor %}assistant :'
)
SOUND_WORDS = ('a', 'drawer', 'shuts', 'loudly')


def write_blip(folder: Path) -> Path:
    """An image captioner."""
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder.mkdir(parents=True)
    (folder / 'vocab.txt').write_text('\n'.join(WORDS))
    tokenizer = BertTokenizer(str(folder / 'vocab.txt'))
    tokenizer.add_special_tokens({'bos_token': '[DEC]'})
    size = {'hidden_size': 16, 'intermediate_size': 16, 'num_hidden_layers': 1}
    size |= {'num_attention_heads': 2, 'projection_dim': 16}
    ends = {'bos_token_id': 5, 'eos_token_id': 3, 'sep_token_id': 3, 'pad_token_id': 0}
    config = BlipConfig(
        text_config={'vocab_size': len(WORDS), 'encoder_hidden_size': 16, **size, **ends},
        vision_config={'image_size': 32, 'patch_size': 16, **size},
    )
    torch.manual_seed(0)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    images = BlipImageProcessor(size={'height': 32, 'width': 32})
    BlipProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def write_llava_next(folder: Path) -> Path:
    """A chat model that reads images; how many tokens an image has depends on its shape."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
        PreTrainedTokenizerFast,
    )

    ends = {'pad_token': '<pad>', 'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>'}
    words = [*ends.values(), '<image>', *CHAT_WORDS]
    split = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token='<unk>'))
    split.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=split, additional_special_tokens=['<image>'], **ends
    )
    size = {'hidden_size': 16, 'intermediate_size': 16, 'num_attention_heads': 2}
    shapes = [[28, 56], [56, 28], [56, 56]]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(image_size=28, patch_size=14, num_hidden_layers=2, **size),
        text_config=LlamaConfig(
            vocab_size=len(words),
            num_hidden_layers=1,
            num_key_value_heads=2,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            **size,
        ),
        image_token_index=words.index('<image>'),
        image_grid_pinpoints=shapes,
        image_seq_length=4,
    )
    torch.manual_seed(1)
    LlavaNextForConditionalGeneration(config).save_pretrained(folder)
    images = LlavaNextImageProcessor(
        size={'shortest_edge': 28},
        crop_size={'height': 28, 'width': 28},
        image_grid_pinpoints=shapes,
    )
    LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy='default',
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    return folder


def write_whisper(folder: Path) -> Path:
    """A sequence-to-sequence model for sound, of windows of a second."""
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    special = ['<|endoftext|>', '<|startoftranscript|>', '<|notimestamps|>']
    words = [*special, *(f'\u0120{word}' for word in SOUND_WORDS)]  # as a space in byte-level BPE
    tokenizer = WhisperTokenizer(
        vocab={word: place for place, word in enumerate(words)},
        merges=[],
        additional_special_tokens=special,
    )
    config = WhisperConfig(
        vocab_size=len(words),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=20,
        max_source_positions=50,
        max_target_positions=64,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    torch.manual_seed(1)
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    sounds = WhisperFeatureExtractor(feature_size=20, chunk_length=1)
    WhisperProcessor(sounds, tokenizer).save_pretrained(folder)
    return folder


def write_glpn(folder: Path) -> Path:
    """A depth estimator in metres."""
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessor

    config = GLPNConfig(
        num_encoder_blocks=4,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
    )
    torch.manual_seed(0)
    GLPNForDepthEstimation(config).save_pretrained(folder)
    GLPNImageProcessor().save_pretrained(folder)
    return folder


def write_depth_anything(folder: Path) -> Path:
    """A depth estimator of relative inverse depth."""
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessor,
    )

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    torch.manual_seed(0)
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    processor = DPTImageProcessor(size={'height': 28, 'width': 28}, ensure_multiple_of=14)
    processor.save_pretrained(folder)
    return folder


class Darker(nn.Module):
    """An image-to-image network: half of the red channel."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return `[N, 1, H, W]` of `[N, 3, H, W]`."""
        return image[:, :1] * 0.5


def write_onnx(file: Path, network: nn.Module, *, size: int = 32) -> Path:
    """A network in ONNX."""
    torch.onnx.export(network.eval(), (torch.zeros(1, 3, size, size),), file, dynamo=True)
    return file
