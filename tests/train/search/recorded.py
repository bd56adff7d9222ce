"""Depth images as bags of these tests hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoders import decode_image
from train.bags.reader import read_bag


def depth_at(bag: Path, stamp_ns: int) -> Any:
    """The depth image of a bag with this stamp, `[H, W]`."""
    messages = read_bag(bag, topics=['depth/image'])
    message = next(m.message for m in messages if m.stamp_ns == stamp_ns)
    return decode_image(message, modality='depth').array
