"""Whose request it is where proxies of ours stand in front: the client's address in `X-Forwarded-For`."""

from collections.abc import Sequence
from functools import lru_cache

from gateway.exchange import Head
from gateway.networks import Networks, read_address

_MOST = 32  # hops that are looked at
_LONGEST = 64  # bytes of one
_REMEMBERED = 8192


class Clients:
    """Finds clients' addresses. `trusted` are the networks of proxies that tell the truth about who called them."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted = Networks(trusted)
        self.has_proxies = bool(self._trusted)

    def locate(self, peer: str, head: Head) -> str:
        """The client behind `peer`, the other end of the connection.

        Each proxy appends the address that it was called from, so the list is read from its end: the first address
        that is no trusted proxy is the client. All before it is the client's own invention. What is no address
        ends the reading at the proxy that vouched for it.
        """
        if not self._trusted.hold(peer):
            return peer
        values = head.get_all(b"x-forwarded-for")
        found = peer
        for told in reversed(b",".join(values).split(b",")[-_MOST:] if values else ()):
            address = _read(told) if len(told) <= _LONGEST else ""
            if not address:
                return found
            found = address
            if not self._trusted.hold(found):
                return found
        return found


@lru_cache(_REMEMBERED)
def _read(told: bytes) -> str:
    """One hop, with a port or without (`192.0.2.1:443`, `[2001:db8::1]:443`); empty where it is no address."""
    text = told.strip(b' \t"').decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    found = read_address(text)
    return "" if found is None else str(found)
