"""Statistics of a window of a series, by which a few examples can be told apart.

A vector holds what its encoder was trained to tell apart. These hold how far, how strongly and how
evenly every channel changed, whatever it was trained for. They are computed from the input of the
network, so that they are scaled by the statistics of the training data.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.preprocess.mini.series import SeriesConfig

PARTS = 4  # of a window, whose means are taken


def window_statistics(inputs: Tensor, config: SeriesConfig) -> Tensor:
    """Statistics of each sample, float32 `[B, S]`.

    Of each channel: the mean of every form in each of four parts of the window; least, greatest
    and standard deviation of its last form; and the means over patches of both logarithms of the
    spread. What was masked does not count.

    Args:
        inputs: Result of `preprocess`, float32 `[B, C, patches, V]`.
        config: Its configuration.
    """
    patch, forms = config.patch, len(config.forms)
    measured = inputs[..., : patch * (forms + 1)]
    cut = measured.reshape(*measured.shape[:-1], forms + 1, patch)
    planes = cut.transpose(2, 3).flatten(-2)  # [B, C, forms + 1, steps]
    shown = planes[:, :, -1:] > 0
    values = planes[:, :, :-1].where(shown, 0.0)
    parts = zip(values.tensor_split(PARTS, -1), shown.tensor_split(PARTS, -1), strict=True)
    means = [part.sum(-1) / seen.sum(-1).clamp(min=1) for part, seen in parts]
    last, seen = values[:, :, -1], shown[:, :, 0]
    count = seen.sum(-1, keepdim=True).clamp(min=1)
    mean = last.sum(-1, keepdim=True) / count
    square = ((last - mean).square() * seen).sum(-1, keepdim=True) / count
    least = last.where(seen, torch.inf).amin(-1, keepdim=True).nan_to_num(posinf=0.0)
    greatest = last.where(seen, -torch.inf).amax(-1, keepdim=True).nan_to_num(neginf=0.0)
    spreads = inputs[..., -2:].mean(dim=2)
    found = [torch.cat(means, dim=-1), least, greatest, square.sqrt(), spreads]
    return torch.cat(found, dim=-1).flatten(1).float()
