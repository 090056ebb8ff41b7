"""Requests that are wrong: each must be refused for what it is, before a model sees it."""

import json
from collections.abc import Iterator, Mapping

import msgspec

from gateway.cli.loadtest.caller import Caller, Purse, Shot
from gateway.cli.loadtest.figure import Row

_WRONG = {"Authorization": "Bearer not-a-key-of-anybody"}
_OPEN, _SHUT = b"[" * 1000, b"]" * 1000


class Bad(msgspec.Struct, frozen=True):
    """A bad request and the statuses that are right. An empty `path` is the chat's; `key`: None sends the real one."""

    what: str
    statuses: tuple[int, ...]
    body: bytes = b""
    method: str = "POST"
    path: str = ""
    headers: Mapping[str, str] = {}
    key: str | None = None


class Validation:
    """Sends a dozen of them, one after the other."""

    name = "validation"

    def __init__(self, caller: Caller, purse: Purse) -> None:
        self._caller = caller
        self._purse = purse
        self._shots: list[tuple[Bad, Shot]] = []

    async def run(self) -> None:
        target = self._caller.target
        for bad in _list_bad(target.model, has_key=bool(target.key)):
            if self._purse.take():
                path = bad.path or target.path
                shot = await self._caller.send(bad.method, path, bad.body, bad.headers, key=bad.key)
                self._shots.append((bad, shot))

    def rows(self) -> Iterator[Row]:
        for bad, shot in self._shots:
            wanted = " or ".join(map(str, bad.statuses))
            if shot.fault:
                yield Row(self.name, bad.what, "FAILED", f"{shot.fault} instead of {wanted}")
            elif shot.status == 429 and 429 not in bad.statuses:
                yield Row(self.name, bad.what, "skipped", "a limit was reached first")
            elif shot.status not in bad.statuses:
                yield Row(self.name, bad.what, "FAILED", f"{shot.status} instead of {wanted}")
            elif not _is_envelope(shot.body):
                yield Row(self.name, bad.what, "FAILED", f"{shot.status}, but not as OpenAI tells errors")
            else:
                yield Row(self.name, bad.what, "ok", f"{shot.status}" + f" ({shot.number})" * bool(shot.number))


def _list_bad(model: str, *, has_key: bool) -> Iterator[Bad]:
    name = json.dumps(model).encode()
    if has_key:
        yield Bad("no key", (401,), _body(model), key="")
        yield Bad("a wrong key", (401, 429), _body(model), headers=_WRONG, key="")
    yield Bad("no JSON", (400, 422), b"this is not JSON")
    yield Bad("JSON that breaks off", (400, 422), _body(model)[:-2])
    yield Bad("no object", (400, 422), b"[1, 2]")
    yield Bad("no UTF-8", (400, 422), b'{"model": ' + name + b', "messages": ["\xff\xfe"]}')
    yield Bad("a field twice", (400, 422), b'{"model": "x", "model": ' + name + b', "messages": []}')
    yield Bad("JSON that is too deep", (400, 413, 422), b'{"model": ' + name + b', "messages": ' + _OPEN + _SHUT + b"}")
    yield Bad("no model", (400, 422), b'{"messages": []}')
    yield Bad("a model that is a number", (400, 422), b'{"model": 7, "messages": []}')
    yield Bad("an unknown model", (403, 404), _body("no-such-model-as-this"))
    yield Bad("an unknown path", (403, 404), path="/no/such/path", method="GET")
    yield Bad("a wrong method", (403, 404, 405), method="DELETE")
    yield Bad("a body that is said to be gzip", (400, 415), _body(model), headers={"Content-Encoding": "gzip"})


def _body(model: str) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}).encode()


def _is_envelope(body: bytes) -> bool:
    """Whether an OpenAI client can read the error."""
    try:
        error = json.loads(body)["error"]
        return isinstance(error["message"], str) and {"type", "param", "code"} <= error.keys()
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
