"""What other protocols say when they knock at the wrong door, and seeded noise that cannot be a start line."""

import random

from tests.faults.families.template import Cases, Template

_STRANGERS = {
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "http2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "smtp": b"EHLO example.com\r\nMAIL FROM:<a@b>\r\n\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n\r\n",
    "proxy-v1": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "proxy-v2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + b"\r\n\r\n",
    "socks5": b"\x05\x01\x00\r\n\r\n",
    "http-0.9": b"GET /\r\n\r\n",
    "json": b'{"method":"ping"}\r\n\r\n',
    "stun": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12) + b"\r\n\r\n",
    "postgres": b"\x00\x00\x00\x08\x04\xd2\x16\x2f\r\n\r\n",
    "answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


def noise(template: Template, seed: int) -> Cases:
    """Every noise begins with a control character, which begins no request (RFC 9112, 2.2 and 3)."""
    yield from _STRANGERS.items()
    dice = random.Random(seed)
    for number in range(200):
        first = bytes((dice.choice((*range(0x00, 0x09), *range(0x0E, 0x20))),))
        yield f"noise-{number}", first + dice.randbytes(dice.randint(4, 200)) + b"\r\n\r\n"
