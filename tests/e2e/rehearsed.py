"""A request that is explained first and then performed: both must tell the same."""

import http.client
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.e2e.wire import Answer, encode
from tests.harness import Gateway

UPSTREAM = frozenset((
    "content-type", "content-length", "transfer-encoding", "date", "server", "cache-control", "x-accel-buffering",
))  # fmt: skip


class Case(NamedTuple):
    """A request. `number` is the refusal that is expected, 0 for none; `peer` is the address it comes from."""

    number: int
    method: str
    path: str
    key: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = {}
    peer: str = "127.0.0.1"

    def fields(self) -> dict[str, str]:
        """All headers that a client would send."""
        headers = {"Host": "test", **self.headers}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        if self.body:
            headers["Content-Length"] = str(len(self.body))
        return headers


def explain(gateway: Gateway, case: Case) -> Any:
    headers = [*case.fields().items()]
    question = {"method": case.method, "path": case.path, "headers": headers, "body": case.body, "peer": case.peer}
    return gateway.command("explain", **question)


def perform(gateway: Gateway, case: Case) -> Answer:
    data, request_id = encode(case.method, case.path, case.fields(), case.body)
    connection = http.client.HTTPConnection(*gateway.address, timeout=15, source_address=(case.peer, 0))
    connection.connect()
    try:
        connection.sock.sendall(data)
        answer = http.client.HTTPResponse(connection.sock, method=case.method)
        answer.begin()
        body = b"" if answer.status == 101 else answer.read()
        headers = [(name.lower(), value) for name, value in answer.getheaders()]
        return Answer(answer.status, headers, body, False, 0.0, 0.0, request_id)
    finally:
        connection.close()


def compare(gateway: Gateway, case: Case, others: frozenset[str] = frozenset()) -> None:
    """Explain, perform, and compare. `others`: headers that plugins add to a model server's answer."""
    told, real = explain(gateway, case), perform(gateway, case)
    number = int(real.get("x-tollkeeper-error") or 0)
    assert (told.get("error", 0), number) == (case.number, case.number), told
    assert (told["verdict"] == "refused") == bool(case.number)
    names = {header.partition(":")[0].lower() for header in told["headers"]}
    if told["verdict"] == "sent on":
        assert told["status"] is None and names <= real.names()
        assert real.names() - names <= UPSTREAM | others
        return
    assert told["status"] == real.status
    assert names | {"connection"} == real.names() | {"connection"}
    if case.number and case.method != "HEAD":
        error = real.json["error"]
        assert told["message"] == error["message"] or "Retry-After" in str(told["headers"])  # times differ
        assert told["details"].keys() == error["details"].keys()
