"""The file that describes channels: of recipes, bags, and the node `signals_encoder`."""

from __future__ import annotations

from pathlib import Path

from encoders.decode.channels import ChannelDescription, one_by_one
from train.validated import InvalidRecordError, read_record


def read_channels(path: Path, *, of_topics: bool = False) -> dict[str, ChannelDescription]:
    """Read a file of channels in words; entries of arrays are channels of their own.

    Args:
        path: YAML file: name to the keys of `ChannelDescription`.
        of_topics: Require `topic` and `field` of every channel.

    Raises:
        OSError: The file cannot be read.
        InvalidRecordError: It is not YAML, or keys or values are invalid; one line for each.
    """
    described = read_record(path, dict[str, ChannelDescription])
    if not described:
        raise InvalidRecordError(f'{path}: it describes no channel')
    nowhere = [name for name, one in described.items() if not one.topic]
    if of_topics and nowhere:
        raise InvalidRecordError(f'{path}: topic and field are missing of {", ".join(nowhere)}')
    try:
        return one_by_one(described)
    except ValueError as error:
        raise InvalidRecordError(f'{path}: {error}') from error
