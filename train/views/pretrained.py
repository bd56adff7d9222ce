"""Models of transformers: a folder, or a name on the hub that is downloaded only when asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from encoders.vision.precision import check_device


@dataclass(frozen=True)
class Pretrained:
    """Where a model is, and where it runs.

    Attributes:
        name: A folder, or a name on the hub, which is read from the local cache of the hub.
        device: A torch device; `auto` for the GPU if there is one.
        download: Whether a name that is not in the cache is downloaded.
    """

    name: str
    device: str = 'auto'
    download: bool = False

    def check(self) -> None:
        """Refuse what cannot be loaded, without loading it.

        Raises:
            ValueError: The model is not on this machine and must not be downloaded, or the device
                does not exist.
        """
        check_device(self.torch_device)
        if Path(self.name).is_dir() and not (Path(self.name) / 'config.json').exists():
            raise ValueError(f'hf:{self.name}: the folder has no config.json')
        if not self.download and not self.is_here():
            raise ValueError(
                f'hf:{self.name} is neither a folder nor in the cache of the hub; give --download '
                f'to fetch it'
            )

    def is_here(self) -> bool:
        """Return whether the model is on this machine."""
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        if Path(self.name).is_dir():
            return True
        try:
            return isinstance(try_to_load_from_cache(self.name, 'config.json'), str)
        except HFValidationError:
            return False

    @cached_property
    def identity(self) -> str:
        """Name of the model with its version: the commit on the hub, or a hash of its weights."""
        from encoders.model_sets.manifest import sha256_of

        folder = Path(self.name)
        if folder.is_dir():
            files = sorted(folder.glob('*.safetensors')) or sorted(folder.glob('*.bin'))
            return f'{folder.name}@{"".join(sha256_of(file)[:12] for file in files)}'
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(self.name, local_files_only=not self.download)
        return f'{self.name}@{getattr(config, "_commit_hash", None) or "unknown"}'

    @property
    def torch_device(self) -> str:
        """The device, with `auto` resolved."""
        if self.device != 'auto':
            return self.device
        return 'cuda' if torch.cuda.is_available() else 'cpu'

    def load(self, kind: str, *, processor: str) -> tuple[Any, Any]:
        """Load a model with its processor.

        Args:
            kind: Class of transformers, such as `AutoModelForDepthEstimation`.
            processor: Class of its processor.

        Raises:
            ValueError: The files are no such model.
        """
        import transformers

        try:
            loaded = [
                getattr(transformers, name).from_pretrained(
                    self.name, local_files_only=not self.download
                )
                for name in (processor, kind)
            ]
        except (OSError, ValueError, KeyError) as error:
            first = str(error).strip().partition('\n')[0]
            raise ValueError(f'hf:{self.name}: no {kind}: {first}') from error
        return loaded[0], loaded[1].to(self.torch_device).eval()
