"""What goes wrong when a message is not what it says."""


class DecodeError(ValueError):
    """A message cannot be turned into an array; the text says what was found and what would do."""
