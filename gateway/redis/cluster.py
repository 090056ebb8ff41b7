"""Which node of a Redis cluster holds a key. Pure."""

import binascii
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from gateway.redis.location import Address

SLOTS = 16_384


def slot_of(key: str) -> int:
    """The slot of a key: of what stands in its first braces, if anything does (Redis cluster specification)."""
    start = key.find("{")
    if start >= 0 and (end := key.find("}", start + 1)) > start + 1:
        key = key[start + 1 : end]
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


class SlotMap:
    """Ranges of slots and the addresses of their masters, as CLUSTER SLOTS told; `asked` is who was asked."""

    def __init__(self, reply: Sequence[Any], asked: Address) -> None:
        ranges = sorted((row[0], row[1], _address(row[2], asked)) for row in reply)
        self._starts = [start for start, _, _ in ranges]
        self._ranges = ranges

    def find(self, slot: int) -> Address | None:
        """The master of a slot; None where nobody serves it."""
        at = bisect_right(self._starts, slot) - 1
        return self._ranges[at][2] if at >= 0 and slot <= self._ranges[at][1] else None

    def masters(self) -> dict[Address, int]:
        """Every master, and a slot of it."""
        return {address: start for start, _, address in self._ranges}


def key_of(slot: int) -> str:
    """Some key of a slot."""
    return next(key for number in range(10_000_000) if slot_of(key := f"tk:{{probe{number}}}") == slot)


def parse_redirection(error: str, asked: Address) -> Address:
    """Where `MOVED 42 host:port` or `ASK …` points to; an empty host is the one that was asked."""
    host, _, port = error.split(" ")[2].rpartition(":")
    return host or asked[0], int(port)


def _address(node: Sequence[Any], asked: Address) -> Address:
    host = node[0].decode() if node[0] else ""
    return host or asked[0], int(node[1])
