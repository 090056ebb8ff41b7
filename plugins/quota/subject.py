"""Whose counters a request is charged to."""

import hashlib
import ipaddress
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from gateway.plugin import Exchange
from plugins.quota.rule import escape

SESSION = "x-session-id"
_LONGEST = 64  # characters of a value in a key; a longer one is told by its hash
_READ = 128  # characters of a header that count
_INSIDE = frozenset(("consumer", "credential", "session"))  # kept with everything else of the caller's

_is_plain = re.compile(r"[\w./@+=-]*", re.ASCII).fullmatch

Reader = Callable[[Exchange], str | None]


def make_reader(kind: str) -> Reader:
    """What tells the value of one word of a limit's `by`; None where a request has none."""
    if kind.startswith("header:"):
        name = kind[7:].lower()
        return lambda exchange: _read(exchange, name)
    return _READERS[kind]


def find_caller(exchange: Exchange) -> tuple[str, str]:
    """Who is charged where nothing else is said: the consumer, or the address of somebody unknown."""
    credential = exchange.credential
    return ("ip", address_of(exchange)) if credential is None else ("consumer", credential.consumer)


def address_of(exchange: Exchange) -> str:
    """The peer's address; of IPv6 its /64: one customer holds at least that."""
    return _network(exchange.peer) if ":" in exchange.peer else exchange.peer


def name_subject(by: tuple[str, ...], values: Mapping[str, str | None], caller: tuple[str, str]) -> str:
    """The beginning of a key: `{consumer:acme}`, `{model:m}`, `{consumer:acme}:model:m`.

    What the request has no value for is left out; where nothing is left it is the caller. Counters of one consumer
    share their braces, so that a cluster keeps them together.
    """
    parts = [(kind, value) for kind in by if (value := values[kind]) is not None] or [caller]
    if any(kind in _INSIDE for kind, _ in parts):
        parts = [caller, *(part for part in parts if part != caller and part[0] != "consumer")]
    (kind, value), *rest = parts
    return f"{{{_tell(kind)}:{_tell(value)}}}" + "".join(f":{_tell(kind)}:{_tell(value)}" for kind, value in rest)


@lru_cache(4096)
def _network(address: str) -> str:
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))


def _read(exchange: Exchange, name: str) -> str | None:
    return (exchange.header(name) or "")[:_READ] or None


@lru_cache(4096)
def _tell(value: str) -> str:
    text = value if _is_plain(value) else escape(value)
    return text if len(text) <= _LONGEST else f"~{hashlib.sha256(value.encode()).hexdigest()[:32]}"


_READERS: dict[str, Reader] = {
    "consumer": lambda exchange: exchange.credential.consumer if exchange.credential is not None else None,
    "credential": lambda exchange: exchange.credential.id if exchange.credential is not None else None,
    "project": lambda exchange: (exchange.credential.project or None) if exchange.credential is not None else None,
    "ip": address_of,
    "session": lambda exchange: _read(exchange, SESSION),
    "model": lambda exchange: exchange.model_label or None,
    "route": lambda exchange: exchange.route or None,
}
