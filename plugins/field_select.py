"""Only the fields that a client asks for: `?fields=id,usage.total_tokens` on JSON answers.

    plugins:
      - field_select: {}

Names are separated by commas, and by dots for what is inside; lists are gone through element by element. Of the
envelope of a list, an object whose `data` is a list or which has `status` and `meta` beside it, the fields of `data`
are meant, and the rest stays. What an answer does not have is passed over. At most 50 fields, 10 deep; anything else is
refused (1219). Only whole answers of 2xx in JSON are touched, no streams; the values that stay are the same bytes. The
parameter does not go on to the server unless `pass: true`.

Put it before `http_cache`: `response` hooks run in the order of the chain, and an ETag is of what the client gets.
"""

import re
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Exchange
from gateway.wire import forget_bytes, is_json

Tree = dict[str, Any]  # name -> Tree of what is wanted inside; empty: all of it

_FIELDS, _DEPTH, _LENGTH = 50, 10, 4096
_is_path = re.compile(r"[^\s.,\x00-\x1f\x7f]{1,128}(?:\.[^\s.,\x00-\x1f\x7f]{1,128})*").fullmatch
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_lists = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode


class Settings(BaseSettings, frozen=True):
    parameter: str = "fields"
    pass_: bool = msgspec.field(name="pass", default=False)


class Plugin(BasePlugin[Settings]):
    place = "shape"
    buffers = True

    def access(self, exchange: Exchange) -> None:
        parameter = self.settings.parameter
        if parameter not in exchange.query:
            return
        query = exchange.query if exchange.forwarded_query is None else exchange.forwarded_query
        others, asked = split_query(query, parameter)
        if not asked:
            return
        if len(asked) > 1:
            raise GatewayError(1219, f"`{parameter}` stands twice in the query.", param=parameter)
        exchange.notes[self] = read_tree(unquote_plus(asked[0]), parameter)
        if not self.settings.pass_:
            exchange.forwarded_query = others
        exchange.replaced[b"accept-encoding"] = exchange.replaced[b"range"] = None  # the answer is read, and whole

    def response(self, exchange: Exchange) -> None:
        tree, reply = exchange.notes.get(self), exchange.reply
        if tree is None or reply is None or not isinstance(reply.body, bytes) or reply.is_stream:
            return
        if not 200 <= reply.status < 300 or reply.status == 206 or not is_json(reply.get(b"content-type")):
            return
        if reply.get(b"content-encoding") in (None, b"identity"):
            selected = select(reply.body, tree)
            if selected is not None:
                reply.body = selected
                reply.headers = forget_bytes(reply.headers)


def split_query(query: str, parameter: str) -> tuple[str, list[str]]:
    """The query without a parameter, and that parameter's values as they stand."""
    others: list[str] = []
    found: list[str] = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) == parameter:
            found.append(value)
        else:
            others.append(part)
    return "&".join(others), found


def read_tree(text: str, parameter: str = "fields") -> Tree:
    """`a,b.c` as a tree. Raises GatewayError 1219."""
    paths = text.split(",")
    if len(text) > _LENGTH or len(paths) > _FIELDS:
        raise GatewayError(1219, f"`{parameter}` names at most {_FIELDS} fields.", param=parameter)
    whole: set[tuple[str, ...]] = set()
    for path in paths:
        if not _is_path(path):
            text = f"`{parameter}` is a list of names such as id,usage.total_tokens; {path[:64]!r} is none."
            raise GatewayError(1219, text, param=parameter)
        steps = tuple(path.split("."))
        if len(steps) > _DEPTH:
            raise GatewayError(1219, f"`{parameter}` goes at most {_DEPTH} deep.", param=parameter)
        whole.add(steps)
    tree: Tree = {}
    for steps in whole:
        if any(steps[:length] in whole for length in range(1, len(steps))):
            continue  # all of what it lies in is wanted
        branch = tree
        for step in steps:
            branch = branch.setdefault(step, {})
    return tree


def select(body: bytes, tree: Tree) -> bytes | None:
    """The wanted part of a JSON document; None if it is no object or list, or not JSON at all."""
    try:
        members = _open(body)
        if members is None:
            return None
        if isinstance(members, dict) and _is_envelope(members):
            data = _pick(members["data"], tree)
            return _encode({**members, "data": data}) if data is not None else None
        return bytes(_pick(msgspec.Raw(body), tree) or b"null")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _is_envelope(members: dict[str, msgspec.Raw]) -> bool:
    data = members.get("data")
    if data is None:
        return False
    return _kind(data) == b"[" or (_kind(data) == b"{" and "status" in members and "meta" in members)


def _pick(raw: msgspec.Raw, tree: Tree) -> msgspec.Raw | None:
    """What `tree` wants of a value; None where it wants something inside and there is no inside."""
    if not tree:
        return raw
    members = _open(raw)
    if members is None:
        return None
    if isinstance(members, list):
        picked = [part for part in (_pick(member, tree) for member in members) if part is not None]
        return msgspec.Raw(_encode(picked))
    kept: dict[str, msgspec.Raw] = {}
    for name, value in members.items():
        branch = tree.get(name)
        if branch is not None and (part := _pick(value, branch)) is not None:
            kept[name] = part
    return msgspec.Raw(_encode(kept))


def _open(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | list[msgspec.Raw] | None:
    """One level of a JSON document, None for what has no inside."""
    kind = _kind(raw)
    if kind == b"{":
        return _objects.decode(raw)
    return _lists.decode(raw) if kind == b"[" else None


def _kind(raw: bytes | msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:64]).lstrip(b" \t\r\n")[:1]
