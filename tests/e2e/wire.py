"""A client that hides nothing: raw requests over a socket, and every answer with how and when it ended."""

import http.client
import itertools
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.wire import Gone
from tests.harness import Gateway, eventually

CHAT = "/v1/chat/completions"
_ids = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """`is_cut`: it ended before it said so. Seconds count from the moment when the request was sent."""

    status: int
    headers: list[tuple[str, str]]  # names in lower case
    body: bytes
    is_cut: bool
    first: float  # until the head
    seconds: float  # until the end
    request_id: str  # the one that was sent

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> int:
        """The number of the catalogue: in the envelope and the header, which must agree."""
        number = self.json["error"]["number"]
        assert self.get("x-tollkeeper-error") == str(number)
        assert self.json["meta"]["documentation_url"] == f"/errors/{number}"
        assert self.get("x-request-id") == self.json["meta"]["request_id"]
        return int(number)

    def get(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    def names(self) -> set[str]:
        return {name for name, _ in self.headers}


class Line:
    """One connection. `address` is a pair, or the path of a unix socket."""

    def __init__(
        self, address: tuple[str, int] | str, *, tls: ssl.SSLContext | None = None, name: str | None = None,
        timeout: float = 15.0, receive: int = 0,
    ) -> None:  # fmt: skip
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            if receive:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=name)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, method: str = "GET", request_id: str = "") -> Answer:
        """The next answer; one at a time, nothing pipelined. Raises Gone when the connection ends before a head."""
        started = time.monotonic()
        answer = http.client.HTTPResponse(self.socket, method=method)
        try:
            answer.begin()
        except (http.client.BadStatusLine, ConnectionError) as error:
            raise Gone(repr(error)) from None
        first = time.monotonic() - started
        body, is_cut = _read_body(answer)
        headers = [(name.lower(), value) for name, value in answer.getheaders()]
        return Answer(answer.status, headers, body, is_cut, first, time.monotonic() - started, request_id)

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer only if the connection ends."""
        received = b""
        while len(received) < size and (data := self.socket.recv(size - len(received))):
            received += data
        return received

    def drain(self) -> bytes:
        """Everything that comes until the connection ends."""
        received = b""
        try:
            while data := self.socket.recv(65_536):
                received += data
        except ConnectionError:
            pass
        return received

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        data, request_id = encode(method, path, headers, body)
        self.send(data)
        return self.read(method, request_id)


def _read_body(answer: http.client.HTTPResponse) -> tuple[bytes, bool]:
    body = b""
    try:
        while data := answer.read1(65_536):
            body += data
    except (http.client.IncompleteRead, ConnectionError):
        return body, True
    return body, bool(answer.length)


def encode(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> tuple[bytes, str]:
    """A request's bytes, and the X-Request-ID in it."""
    fields = {"Host": "test", "X-Request-ID": f"e2e-{next(_ids)}", **(headers or {})}
    if body:
        fields.setdefault("Content-Length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body, fields["X-Request-ID"]


def bearer(key: str, **others: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **others}


def ask(
    gateway: Gateway, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """One request on a connection of its own."""
    with Line(gateway.address) as line:
        return line.ask(method, path, headers, body)


def ask_raw(gateway: Gateway, head: str, body: bytes = b"") -> Answer:
    """One request exactly as written, on a connection of its own; lines of `head` end in LF here."""
    with Line(gateway.address) as line:
        line.send(head.strip("\n").replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        return line.read(head.split(" ", 1)[0])


def row_of(gateway: Gateway, request_id: str, count: int = 1) -> Any:
    """The one row of a request in the store."""
    found = eventually(
        lambda: gateway.query("SELECT * FROM requests WHERE request_id = ?", request_id), what=f"a row of {request_id}"
    )
    assert len(found) == count, [dict(row) for row in found]
    return found[0]
