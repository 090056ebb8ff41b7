"""The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): who is behind the proxy that connects to us.

The header precedes everything else on a connection, a TLS handshake too. It is taken from the socket before there is a
transport: looked at with MSG_PEEK and read to its last byte and no further, so that nothing has to be handed on.
"""

import asyncio
import socket
from typing import NamedTuple

from gateway.networks import read_address

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"  # of version 2
_V1 = b"PROXY "
_LONGEST_V1 = 107  # bytes, with CRLF
_LONGEST = 4096  # bytes; version 2 could say 65,551, of which only the addresses matter
_ADDRESSES = {0x11: (4, 12), 0x21: (16, 36), 0x31: (0, 216)}  # family and STREAM: bytes of one address, of all of it
_FAMILIES = {b"TCP4": 4, b"TCP6": 6}


class Preface(NamedTuple):
    """A complete header: its bytes, and the client's address, empty for a unix socket, None where none is told."""

    size: int
    client: str | None


def parse_preface(data: bytes) -> Preface | None:
    """What stands at the beginning of `data`; None while it is not all there. Raises ValueError for anything else."""
    if data.startswith(_SIGNATURE):
        return _parse_v2(data)
    if any(beginning.startswith(data) for beginning in (_SIGNATURE, _V1)):
        return None
    if not data.startswith(_V1):
        raise ValueError("the connection does not begin with a PROXY header")
    end = data.find(b"\r\n", 0, _LONGEST_V1)
    if end < 0:
        if len(data) >= _LONGEST_V1:
            raise ValueError("the PROXY header does not end")
        return None
    return Preface(end + 2, _parse_v1(data[6:end].split(b" ")))


def _parse_v1(words: list[bytes]) -> str | None:
    if words[0] == b"UNKNOWN":
        return None
    version = _FAMILIES.get(words[0])
    if version is None or len(words) != 5 or not all(map(_is_port, words[3:])):
        raise ValueError("the PROXY header is malformed")
    for word in words[1:3]:
        address = read_address(word.decode("latin-1"))
        if address is None or (version == 4) != (b":" not in word):
            raise ValueError("the PROXY header's addresses are none")
    return str(read_address(words[1].decode("latin-1")))


def _is_port(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 5 and int(word) < 65_536


def _parse_v2(data: bytes) -> Preface | None:
    if len(data) < 16:
        return None
    command, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    size = 16 + length
    if command not in (0x20, 0x21) or size > _LONGEST:
        raise ValueError("the PROXY header has an unknown command, or is too long")
    if command == 0x20 or family == 0:  # LOCAL, or nothing is known
        return Preface(size, None) if len(data) >= size else None
    if family not in _ADDRESSES or length < _ADDRESSES[family][1]:
        raise ValueError("the PROXY header has an unknown family, or is too short for it")
    if len(data) < size:
        return None
    bits = _ADDRESSES[family][0]
    if not bits:
        return Preface(size, "")
    packed = socket.inet_ntop(socket.AF_INET if bits == 4 else socket.AF_INET6, data[16 : 16 + bits])
    return Preface(size, str(read_address(packed)))


async def receive_preface(sock: socket.socket) -> str | None:
    """Take the header from a non-blocking socket; the client as in `Preface`. Raises ValueError, or OSError."""
    taken = b""
    while True:
        await _wait_readable(sock)
        try:
            seen = sock.recv(_LONGEST - len(taken), socket.MSG_PEEK)
            if not seen:
                raise ValueError("the connection ended inside the PROXY header")
            found = parse_preface(taken + seen)
            taken += sock.recv(len(seen) if found is None else found.size - len(taken))
        except BlockingIOError:
            continue
        if found is not None:
            return found.client


async def _wait_readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock.fileno())
