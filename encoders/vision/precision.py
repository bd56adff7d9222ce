"""Choice of the number format in which encoders compute."""

from __future__ import annotations

import torch

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
PRECISIONS = ('auto', *DTYPES)


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
