"""What every message on the link is: a Struct that travels as an array, its name first."""

import msgspec


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Fields are only ever appended."""
