"""Distinguishes mp3 from PCM: drivers send both in the same message type, mp3 by default."""

from __future__ import annotations

KBITS_PER_S = {  # layer III, by version
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def is_mp3(raw: bytes) -> bool:
    """Whether these bytes are complete mp3 frames, or start with an ID3 tag."""
    if raw.startswith(b'ID3'):
        return True
    at = 0
    while at < len(raw):
        length = _frame_bytes(raw[at : at + 4])
        if not length:
            return False
        at += length
    return at == len(raw) > 0


def _frame_bytes(header: bytes) -> int:
    """Length of the frame with this header (ISO 11172-3, 2.4.2.3); 0 if it is invalid."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, rate, speed = (header[1] >> 3) & 3, (header[2] >> 2) & 3, header[2] >> 4
    if version == 1 or rate == 3 or speed in (0, 15):
        return 0
    family = 1 if version == 3 else 2
    bits = 1000 * KBITS_PER_S[family][speed]
    padding = (header[2] >> 1) & 1
    return (144 if family == 1 else 72) * bits // RATES_HZ[version][rate] + padding
