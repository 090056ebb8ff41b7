"""Answers as they are kept, and which may be (RFC 9111, 3 and 4)."""

from collections.abc import Sequence
from hashlib import sha256

import msgspec

from gateway.exchange import Head, Reply
from gateway.plugin import Cache, Credential
from gateway.wire import read_directives, read_seconds
from plugins.http_cache.date import read_date

_NEVER = ("no-store", "private", "no-cache")  # the last could only be used after asking again
_SHAREABLE = ("public", "s-maxage", "must-revalidate")
_pack = msgspec.msgpack.Encoder().encode
_names = msgspec.msgpack.Decoder(list[bytes])


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """`made` is unix seconds, so long ago as the upstream said (`Age`); fresh for `lifetime` seconds from then."""

    made: float
    lifetime: float
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def age(self, now: float) -> float:
        return max(0.0, now - self.made)


_stored = msgspec.msgpack.Decoder(Stored)


def name_tenant(tenant: str, credential: Credential | None, peer: str) -> tuple[object, ...]:
    """Who shares what is kept. What a key may see is in it, for lists show no more than that."""
    if credential is None:
        return ("",) if tenant == "all" else ("peer", peer)
    who = {"consumer": ("consumer", credential.consumer), "project": ("project", credential.project)}.get(tenant, ())
    if who == ("project", ""):
        who = ("consumer", credential.consumer)
    return (
        *who, credential.role, credential.permissions, credential.models, credential.routes, credential.key_models,
        credential.key_routes,
    )  # fmt: skip


class Shelf:
    """What is kept in `cache`: under the key of a request the names that its answers vary on (RFC 9111, 4.1), and
    under that key with the values of these headers an answer.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def get(self, key: bytes, head: Head) -> Stored | None:
        names = self._cache.get(key)
        kept = self._cache.get(_vary(key, _names.decode(names), head)) if names is not None else None
        return _stored.decode(kept) if kept is not None else None

    def put(self, key: bytes, head: Head, names: list[bytes], stored: Stored, now: float) -> None:
        left = stored.lifetime - stored.age(now)
        self._cache.put(key, _pack(names), left)
        self._cache.put(_vary(key, names, head), _pack(stored), left)

    def drop(self, key: bytes) -> None:
        self._cache.put(key, b"", 0.0)


def make_key(*parts: object) -> bytes:
    return sha256(_pack(parts)).digest()


def _vary(key: bytes, names: Sequence[bytes], head: Head) -> bytes:
    return sha256(key + _pack([(name, head.get_all(name)) for name in names])).digest()


def vary_names(reply: Reply) -> list[bytes] | None:
    """The request headers that an answer depends on, in lower case; None where nobody can tell (`*`)."""
    names = {name.strip().lower() for key, value in reply.headers if key == b"vary" for name in value.split(b",")}
    if reply.get(b"content-encoding") is not None:
        names.add(b"accept-encoding")  # even if the upstream does not say so
    return None if b"*" in names else sorted(names - {b""})


def find_lifetime(reply: Reply, ttl: float, is_between_users: bool, now: float) -> float:
    """Seconds for which a 200 may be kept by a shared cache, 0 for not at all. `ttl` counts where the upstream says
    nothing. `is_between_users`: the request had a credential, and the answer would be for others too (3.5): then
    an upstream that speaks of caching must allow it in so many words.
    """
    if reply.get(b"set-cookie") is not None:
        return 0.0
    told = read_directives(value for key, value in reply.headers if key == b"cache-control")
    if any(name in told for name in _NEVER):
        return 0.0
    if told and is_between_users and not any(name in told for name in _SHAREABLE):
        return 0.0
    for name in ("s-maxage", "max-age"):
        if name in told:
            return float(read_seconds(told[name]) or 0)
    expires = reply.get(b"expires")
    if expires is not None:
        return max(0.0, (read_date(expires, now) or 0.0) - now)
    return ttl
