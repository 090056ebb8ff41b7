"""Consumers' keys and what they are allowed."""

import re
from collections.abc import Iterator

from gateway.relay.registry import matches
from gateway.settings.credentials import key_digest, parse_expiry, shown_id
from gateway.settings.key import is_damaged, is_importable
from gateway.settings.problem import Problem, join
from gateway.settings.schema import Config, Key

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_credentials(config: Config, now: float) -> Iterator[Problem]:
    """Keys can be read, belong to one consumer and have not expired (`now`: unix seconds); scopes match something."""
    seen: dict[tuple[str, object], str] = {}
    for name, consumer in config.consumers.items():
        path = f"consumers.{name}"
        yield from _scopes(config, consumer.models, f"{path}.models")
        for at, key in enumerate(consumer.keys):
            where = join(f"{path}.keys", at)
            broken = [*_key(key, where, now)]
            yield from broken
            yield from _scopes(config, key.models, f"{where}.models")
            if any(problem.level == "error" for problem in broken):
                continue
            for mark in (("key", key_digest(key)), ("id", shown_id(key))):
                if mark in seen:
                    yield Problem(where, f"the same {mark[0]} stands at {seen[mark]}")
                    break
                seen[mark] = where


def _key(key: Key, path: str, now: float) -> Iterator[Problem]:
    if bool(key.sha256) == bool(key.key):
        yield Problem(path, "must have either `sha256` or `key`")
    elif key.sha256 and not _SHA256.fullmatch(key.sha256):
        yield Problem(f"{path}.sha256", "is not a SHA-256 in 64 lower-case hex digits; `printf %s KEY | sha256sum`")
    elif key.key and is_damaged(key.key):
        yield Problem(f"{path}.key", "is mistyped: its check digits do not fit")
    elif key.key and not is_importable(key.key):
        yield Problem(f"{path}.key", "must be 8 to 512 visible ASCII characters")
    try:
        expires = parse_expiry(key.expires)
    except ValueError:
        yield Problem(f"{path}.expires", f"`{key.expires}` is not a date such as 2027-01-31 or 2027-01-31T12:00:00Z")
        return
    if expires and expires <= now:
        yield Problem(f"{path}.expires", f"the key has expired on {key.expires}; remove it", "warning")


def _scopes(config: Config, patterns: tuple[str, ...], path: str) -> Iterator[Problem]:
    for pattern in patterns:
        if not any(matches((pattern,), name) or matches((name,), pattern) for name in config.models):
            yield Problem(path, f"`{pattern}` matches no model of `models`", "warning")
