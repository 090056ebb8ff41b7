"""The admin address and its key."""

import re
from collections.abc import Iterator

from gateway.settings.address import parse_address
from gateway.settings.problem import Problem
from gateway.settings.schema import Config

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHORTEST = 16  # characters


def check_admin(config: Config) -> Iterator[Problem]:
    """The key is long enough and no consumer's; the address is not open to others in plain text."""
    admin = config.admin
    if admin.key and admin.sha256:
        yield Problem("admin", "must have either `sha256` or `key`, or neither: then one is made at the first start")
    if admin.sha256 and not _SHA256.fullmatch(admin.sha256):
        yield Problem("admin.sha256", "is not a SHA-256 in 64 lower-case hex digits; `printf %s KEY | sha256sum`")
    if admin.key and len(admin.key) < _SHORTEST:
        yield Problem("admin.key", f"must have {_SHORTEST} characters or more; `openssl rand -hex 32` makes a good one")
    try:
        address = parse_address(config.listen.admin)
    except ValueError:
        return  # told by another rule, or there is none
    if not address.is_local:
        message = f"{address} is open to others, without TLS: put a proxy with TLS before it, or keep it on 127.0.0.1"
        yield Problem("listen.admin", message, "warning")
