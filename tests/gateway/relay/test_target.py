from types import SimpleNamespace
from typing import Any

import pytest

from gateway.backend import Blame
from gateway.errors import CATALOGUE
from gateway.exchange import Credential, Exchange, Outcome
from gateway.http.faults import (
    BadResponse,
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    HeaderTooLarge,
    IdleTimeout,
    ResetBeforeResponse,
    ResponseTooLarge,
    TotalTimeout,
    Truncated,
    UpstreamError,
)
from gateway.http.head import read_head
from gateway.loader import load_backend
from gateway.relay.dialect.kind import CHAT
from gateway.relay.target import Target, blame_failure, explain_failure, no_endpoint
from gateway.settings.schema import Backend
from gateway.wire import parse_object

URL = "http://10.0.0.5:8000"


def target(url: str = URL, key: str = "", **settings: Any) -> Target:
    raw = {"endpoints": [{"url": url}], **({"key": key} if key else {})}
    return Target("up", Backend(engine=("http", raw), **settings), load_backend("up", "http", raw))


def exchange(path: str = "/v1/x", *headers: tuple[str, str], query: str = "", method: str = "POST") -> Exchange:
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    head = read_head(method.encode(), path.encode(), "1.1", [(b"host", b"gate.example"), *fields])
    made = Exchange("internal", head, method, head.path, 0.0)
    made.request = SimpleNamespace(head=head)
    made.request_id, made.query, made.peer = "shown", query, "192.0.2.7"
    return made


def lines(made: Exchange, to: Target, url: str = URL, strip: str = "", framing: bytes = b"") -> list[str]:
    head = to.request_head(made, url, strip, framing)
    assert head.endswith(b"\r\n\r\n") and head.count(b"\r\n\r\n") == 1
    return head.decode("latin-1")[:-4].split("\r\n")


@pytest.mark.parametrize(
    ("path", "query", "strip", "url", "first"),
    [
        ("/v1/x", "", "", URL, "/v1/x"),
        ("/v1/x", "a=1&b=%20", "", URL, "/v1/x?a=1&b=%20"),
        ("/files/a", "", "/files", URL, "/a"),
        ("/files", "", "/files", URL, "/"),  # `/files/*` takes it too
        ("/files/", "", "/files", URL, "/"),
        ("/files", "q", "/files", URL, "/?q"),
        ("/v1/x", "", "", "http://10.0.0.5:8000/base", "/base/v1/x"),
        ("/files/a", "", "/files", "http://10.0.0.5:8000/base/", "/base/a"),
    ],
)
def test_the_path_that_goes_on(path: str, query: str, strip: str, url: str, first: str) -> None:
    assert lines(exchange(path, query=query), target(url), url, strip)[0] == f"POST {first} HTTP/1.1"


@pytest.mark.parametrize(
    ("path", "url", "first"),
    [
        ("/v1/chat/completions", "https://api.openai.com/v1", "/v1/chat/completions"),
        ("/v1/chat/completions", "https://example.com/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/v1/models", "https://example.com/api/v1", "/api/v1/models"),
        ("/v1x/models", "https://example.com/api/v1", "/api/v1/v1x/models"),
        ("/v1", "https://example.com/api/v1", "/api/v1/v1"),
        ("/v1/v1/x", "https://example.com/v1", "/v1/v1/x"),
    ],
)
def test_a_path_that_stands_for_the_beginning_of_ours(path: str, url: str, first: str) -> None:
    backend = load_backend("up", "openai", {"url": url, "key": "sk-1", "organization": "org-1"})
    made = exchange(path, ("openai-organization", "theirs"), ("openai-project", "theirs"), ("authorization", "theirs"))
    got = lines(made, Target("up", Backend(engine=("openai", {})), backend), url)
    assert got[0] == f"POST {first} HTTP/1.1"
    assert got[-2:] == ["authorization: Bearer sk-1", "openai-organization: org-1"]
    assert not any("theirs" in line for line in got)


def test_a_head_for_the_upstream() -> None:
    made = exchange(
        "/v1/x", ("Authorization", "Bearer client"), ("Cookie", "c"), ("X-Consumer-ID", "root"), ("Accept", "*/*"),
        ("X-Forwarded-For", "1.2.3.4"), ("x-request-id", "theirs"), ("content-length", "5"), ("x-own", "kept"),
    )  # fmt: skip
    assert lines(made, target(), framing=b"content-length: 5\r\n") == [
        "POST /v1/x HTTP/1.1", "host: 10.0.0.5:8000", "content-length: 5", "accept: */*", "x-own: kept",
        "x-request-id: shown",
    ]  # fmt: skip


def test_a_backends_own_credential() -> None:
    got = lines(exchange("/v1/x", ("authorization", "Bearer client")), target(key="secret"))
    assert [line for line in got if line.startswith("authorization")] == ["authorization: Bearer secret"]


def test_identity_is_told_where_it_is_wanted() -> None:
    made = exchange("/v1/x", ("x-consumer-id", "root"))
    made.credential = Credential("k", "acme", "free", "rockets")
    told = lines(made, target(identity=True))
    for line in (
        "x-forwarded-for: 192.0.2.7", "x-forwarded-proto: http", "x-consumer-id: acme", "x-consumer-tier: free",
        "x-consumer-project: rockets",
    ):  # fmt: skip
        assert line in told
    assert "x-consumer-id: root" not in told
    assert not any(line.startswith(("x-consumer", "x-forwarded")) for line in lines(made, target()))
    made.credential = None
    assert not any(line.startswith("x-consumer") for line in lines(made, target(identity=True)))


def test_a_backend_may_be_spared_the_clients_headers() -> None:
    made = exchange("/v1/x", ("content-type", "text/x"), ("accept", "a/b"), ("x-own", "secret"))
    assert lines(made, target(headers=False))[2:-1] == ["content-type: text/x", "accept: a/b"]


def test_an_answer_that_is_read_comes_uncompressed_and_its_question_is_called_json() -> None:
    made = exchange("/v1/x", ("accept-encoding", "gzip"), ("content-type", "text/plain"))
    made.fields, made.dialect = parse_object(b'{"model":"m"}', 8), CHAT
    got = lines(made, target())
    assert "content-type: application/json" in got
    assert not any(line.startswith(("accept-encoding", "content-type: text")) for line in got)
    made.fields = made.dialect = None
    got = lines(made, target())
    assert "accept-encoding: gzip" in got and "content-type: text/plain" in got


def test_an_upgrade_is_asked_for_anew() -> None:
    made = exchange(
        "/ws", ("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "x"), method="GET"
    )
    made.request.head.upgrade = b"websocket"
    got = lines(made, target())
    assert got.count("connection: upgrade") == 1 and got.count("upgrade: websocket") == 1
    assert "sec-websocket-key: x" in got


def test_no_endpoint_is_503() -> None:
    made = target()
    assert made.pick(exchange(), {URL}) is None
    assert made.pick(exchange(), ()) is made.candidate(URL)
    error = no_endpoint(made, 2.3)
    assert (error.number, error.headers["Retry-After"]) == (1706, "3")
    assert error.details == {"backend": "up", "endpoints": 1, "wait": 3}
    assert no_endpoint(made, 0.0).headers["Retry-After"] == "1"


def test_origins_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.target._ORIGINS", 3)
    made = target()
    assert made.origin(URL) is made.origin(URL)
    for port in range(1, 50):
        made.origin(f"http://127.0.0.1:{port}")
        assert len(made._origins) <= 3


FAILURES = [
    # the failure; before the first byte: number, outcome, blame
    (ConnectFailed("x", kind="refused", sent=False), 1701, "not_reached", Blame.ENDPOINT),
    (ConnectFailed("x", kind="dns", sent=False), 1701, "not_reached", Blame.ENDPOINT),
    (ConnectFailed("x", kind="tls", sent=False), 1701, "not_reached", Blame.ENDPOINT),
    (ConnectTimeout("x", sent=False), 1801, "not_reached", Blame.ENDPOINT),
    (ResetBeforeResponse("x", sent=False), 1702, "not_reached", Blame.ENDPOINT),
    (ResetBeforeResponse("x"), 1702, "upstream_failed", Blame.UNCLEAR),
    (ResetBeforeResponse("x", got=True), 1702, "upstream_failed", Blame.ENDPOINT),
    (BadResponse("x", got=True), 1703, "upstream_failed", Blame.ENDPOINT),
    (HeaderTooLarge("x", got=True), 1704, "upstream_failed", Blame.ENDPOINT),
    (Truncated("x", got=True), 1705, "upstream_failed", Blame.ENDPOINT),
    (ResponseTooLarge("x", got=True), 1712, "upstream_failed", Blame.CLIENT),
    (FirstByteTimeout("x"), 1805, "upstream_failed", Blame.UNCLEAR),
    (FirstByteTimeout("x", got=True), 1805, "upstream_failed", Blame.ENDPOINT),
    (IdleTimeout("x", got=True), 1806, "upstream_failed", Blame.ENDPOINT),
    (TotalTimeout("x"), 1807, "upstream_failed", Blame.UNCLEAR),
    (TotalTimeout("x", got=True), 1807, "upstream_failed", Blame.UNCLEAR),
]


@pytest.mark.parametrize(("error", "number", "outcome", "blame"), FAILURES)
def test_every_failure_has_a_number_an_outcome_and_somebody_to_blame(
    error: UpstreamError, number: int, outcome: str, blame: Blame
) -> None:
    made = exchange()
    assert explain_failure(made, error, died="").number == number
    assert made.outcome is not None and made.outcome.value == outcome
    assert blame_failure(error) is blame
    assert number in CATALOGUE
    made.first_byte = 1.0
    explain_failure(made, error, died="")
    assert made.outcome is Outcome.BROKEN


def test_an_engine_that_died_is_told_as_such() -> None:
    made = exchange()
    assert explain_failure(made, ResetBeforeResponse("x"), died="signal 9").number == 1711
    assert made.outcome is Outcome.ENGINE_DIED
    made.first_byte = 1.0
    assert explain_failure(made, Truncated("x", got=True), died="signal 9").number == 1711
    assert made.outcome is Outcome.ENGINE_DIED


def test_a_server_that_takes_no_names_of_clients_is_told_ours() -> None:
    made, to = exchange("/v1/x"), target()
    assert "x-request-id: shown" in lines(made, to)
    to.backend.wants_uuids = True
    assert f"x-request-id: {made.id}" in lines(made, to)


def test_s47_the_key_of_an_engine_takes_the_place_of_any_other() -> None:
    to, made = target(), exchange("/v1/x", ("Authorization", "Bearer client's"), ("Accept", "a/b"))
    made.replaced = {b"authorization": b"Bearer theirs"}  # by a plugin: the client's is dropped anyway
    to.learn_key(URL, "")
    assert "authorization: Bearer theirs" in lines(made, to)
    to.learn_key(URL, "first")
    to.learn_key(URL, "second")
    told = [line for line in lines(made, to) if line.startswith("authorization")]
    assert told == ["authorization: Bearer second"] and "accept: a/b" in lines(made, to)
    assert "authorization: Bearer theirs" in lines(made, to, "http://10.0.0.6:8000"), "of that engine only"
    for port in range(2000):
        to.learn_key(f"http://127.0.0.1:{port}", "k")
    assert len(to._keys) < 2000
    to.learn_key(URL, "")
    assert "authorization: Bearer theirs" in lines(made, to)
