"""Choice of the number format in which encoders compute."""

from __future__ import annotations

import torch

from encoders.vision.choices import PRECISIONS

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


def dtype_of(precision: str, *, device: str | torch.device = 'cpu') -> torch.dtype:
    """The dtype of a precision; `auto` is bfloat16 if the hardware supports it, else float32.

    A CPU needs AVX512-BF16 or AMX; without them bfloat16 is slower than float32.

    Raises:
        ValueError: `precision` is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f'precision must be one of {", ".join(PRECISIONS)}, not {precision!r}')
    if precision != 'auto':
        return DTYPES[precision]
    fast = torch.cuda.is_bf16_supported if torch.device(device).type == 'cuda' else cpu_has_bf16
    return torch.bfloat16 if fast() else torch.float32


def name_of(dtype: torch.dtype) -> str:
    """The name of a dtype's precision."""
    names = {known: name for name, known in DTYPES.items()}
    return names.get(dtype, str(dtype).removeprefix('torch.'))


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 (AVX512-BF16 or AMX)."""
    features = torch.backends.cpu.get_cpu_capability()
    return features == 'AVX512' and bool(
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def check_device(device: str | torch.device) -> None:
    """Refuse a device that this machine lacks.

    Raises:
        ValueError: It is no device, or not here; the text names those that are.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise ValueError(f'device {device!r}: expected cpu, cuda or cuda:NUMBER') from None
    if wanted.type in ('cpu', 'meta'):
        return
    kind = torch.get_device_module(wanted.type)
    count = kind.device_count() if kind.is_available() else 0
    if (wanted.index or 0) >= count:
        here = ', '.join(['cpu', *(f'{wanted.type}:{index}' for index in range(count))])
        raise ValueError(f"device '{device}': this machine has no such device, only {here}")
