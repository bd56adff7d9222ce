"""Which number format encoders compute in: what is fast on this machine and exact enough."""

from __future__ import annotations

import torch

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
PRECISIONS = ('auto', *DTYPES)


def dtype_of(precision: str, *, device: str | torch.device = 'cpu') -> torch.dtype:
    """The dtype of a precision; `auto` is bfloat16 where the hardware multiplies it, else fp32.

    On a CPU that is AVX512-BF16 or AMX; without them bfloat16 is slower than float32.

    Raises:
        ValueError: There is no such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f'precision must be one of {", ".join(PRECISIONS)}, not {precision!r}')
    if precision != 'auto':
        return DTYPES[precision]
    fast = torch.cuda.is_bf16_supported if torch.device(device).type == 'cuda' else cpu_has_bf16
    return torch.bfloat16 if fast() else torch.float32


def name_of(dtype: torch.dtype) -> str:
    """The precision of a dtype."""
    names = {known: name for name, known in DTYPES.items()}
    return names.get(dtype, str(dtype).removeprefix('torch.'))


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 (AVX512-BF16 or AMX)."""
    features = torch.backends.cpu.get_cpu_capability()
    return features == 'AVX512' and bool(
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )
