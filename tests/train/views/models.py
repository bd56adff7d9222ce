"""Tiny models with the real architectures, made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

WORDS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '[DEC]', 'a', 'red', 'drawer', 'is', 'open')


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
