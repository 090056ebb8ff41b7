"""API keys: how they are made, recognised and hashed. Pure but for the randomness of `make_key`.

A made key is `tk_<id>_<secret>_<check>`: the id (12 characters) is what lists and traces show, the secret (43) holds
256 bits, the check (6) is the CRC-32 of all that stands before it, so that a typing error is told from a revoked key
without a look-up. Digits of all three are base 62. What is stored is the SHA-256 of the whole key: a slow hash protects
passwords, which are guessable; these are not.
"""

import hashlib
import re
import secrets
import zlib

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MADE = re.compile(r"tk_([0-9A-Za-z]{12})_[0-9A-Za-z]{43}_([0-9A-Za-z]{6})")
_IMPORTED = re.compile(r"[\x21-\x7e][\x20-\x7e]{6,510}[\x21-\x7e]")


def make_key() -> str:
    """A new key; its id is `key_id` of it."""
    body = f"tk_{_random(12)}_{_random(43)}"
    return f"{body}_{_check(body)}"


def make_demo_key(tier: str) -> str:
    """A key for the demo consumer of a tier: it says in plain text what it is for."""
    return f"tk_demo_{re.sub('[^0-9A-Za-z]', '-', tier)}_{_random(43)}"


def digest(key: str) -> bytes:
    """What the directory stores and looks up."""
    return hashlib.sha256(key.encode()).digest()


def key_id(key: str) -> str:
    """The public name of a key: the id of a made key, else the first 12 hex digits of its digest."""
    match = _MADE.fullmatch(key)
    return match[1] if match else digest_id(digest(key))


def digest_id(hashed: bytes) -> str:
    """The public name of a key of which only the digest is known."""
    return hashed.hex()[:12]


def is_damaged(key: str) -> bool:
    """Whether `key` looks like a made key whose check does not fit: it was mistyped or cut."""
    match = _MADE.fullmatch(key)
    return match is not None and match[2] != _check(key[: match.start(2) - 1])


def is_importable(key: str) -> bool:
    """Whether a key made elsewhere may be used: 8 to 512 ASCII characters, visible ones or spaces inside."""
    return _IMPORTED.fullmatch(key) is not None and not is_damaged(key)


def _random(length: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(length))


def _check(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = _DIGITS[digit] + digits
    return digits
