"""Whose trace a request belongs to (W3C Trace Context, level 2): taken from the caller, or begun here.

The internal id is a good trace id: 128 bits, of which the last 80 are random. So a trace that begins here has that id,
and the span of every request is its last 64 bits.
"""

import re

import msgspec

from gateway.exchange import Head

_PARENT, _STATE = b"traceparent", b"tracestate"
OWN = frozenset((_PARENT, _STATE))
"""Headers that are the gateway's own to write, where it takes part in traces."""

_MEMBERS = 32
_SAMPLED_AND_RANDOM = "03"  # what begins here is always recorded, and its id is random
_read_parent = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?").fullmatch
_read_member = re.compile(rb"([a-z0-9][a-z0-9_*/@-]{0,255})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256})").fullmatch


class Trace(msgspec.Struct, frozen=True, gc=False):
    """Where a request stands in a trace. `span` is its own, `parent` the caller's; empty where the trace begins here.

    `state` is what tracing systems told each other on the way (`tracestate`), to be passed on.
    """

    id: str
    span: str
    parent: str = ""
    flags: str = _SAMPLED_AND_RANDOM
    state: bytes = b""

    def tell(self, all: bool) -> bytes:
        """The header lines for an upstream: `all`, or nothing that the caller made up beside its ids."""
        state = b"tracestate: %b\r\n" % self.state if all and self.state else b""
        return f"traceparent: 00-{self.id}-{self.span}-{self.flags}\r\n".encode() + state


def find_trace(head: Head, id: str) -> Trace:
    """The trace of the request whose internal id is `id`. A `traceparent` that is not valid counts as none."""
    if head.get(_PARENT) is None:
        return Trace(id, id[-16:])
    given = head.get_all(_PARENT)
    found = _read_parent(given[0]) if len(given) == 1 else None
    if found is None or not _is_known(found):
        return Trace(id, id[-16:])
    _, trace, parent, flags, _ = found.groups()
    kept = int(flags, 16) & 3  # sampled, random; what the others mean is not known
    return Trace(trace.decode(), id[-16:], parent.decode(), f"{kept:02x}", _read_state(head.get_all(_STATE)))


def _is_known(found: re.Match[bytes]) -> bool:
    """Whether the version can be read, and no id is zero. Later versions may say more at the end ("Versioning")."""
    version, trace, parent, _, rest = found.groups()
    return version != b"ff" and (version != b"00" or rest is None) and bool(trace.strip(b"0") and parent.strip(b"0"))


def _read_state(given: list[bytes]) -> bytes:
    """The members of a `tracestate` as one line; empty where one of them breaks the rules (3.3).

    Of members with the same key the first, which is the newest, stays.
    """
    members: dict[bytes, bytes] = {}
    for member in b",".join(given).split(b","):
        if not (text := member.strip(b" \t")):
            continue
        found = _read_member(text)
        if found is None or len(members) == _MEMBERS:
            return b""
        members.setdefault(found[1], text)
    return b",".join(members.values())
