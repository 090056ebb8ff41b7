"""What crosses the gateway and what it says of whom: headers (S22-S29), addresses (S34), labels (S55), errors (S57)."""

import json
import socket

import pytest

from tests.e2e.scene import KEYS
from tests.e2e.wire import CHAT, Answer, ask, ask_raw, bearer, row_of
from tests.faults.origin import Origin
from tests.harness import Gateway

KEY = KEYS["second"]


def _seen(answer: Answer) -> list[tuple[str, str]]:
    """The headers as the upstream saw them, names in lower case."""
    assert answer.status == 200, answer
    return [(name.lower(), value) for name, value in answer.json["headers"]]


def _names(answer: Answer) -> set[str]:
    return {name for name, _ in _seen(answer)}


def test_s22_identities_are_ours_alone(site: Gateway) -> None:
    forged = {
        "X-Consumer-ID": "root", "x-consumer-id": "root", "X-CONSUMER-TIER": "gold", "X-Consumer-Groups": "admin",
        "X-Consumer-Project": "theirs", "X-Credential-Identifier": "x", "X-Anonymous-Consumer": "true",
        "X-Gateway-Auth": "1", "X-Tollkeeper-Role": "admin", "X-Forwarded-User": "root", "Forwarded": "for=1.2.3.4",
        "X-Real-IP": "1.2.3.4",
    }  # fmt: skip
    told = {"x-consumer-id": "acme", "x-consumer-tier": "monthly", "x-consumer-project": "anvils"}
    prefixes = ("x-consumer-", "x-credential-", "x-anonymous-", "x-gateway-", "x-tollkeeper-")
    seen = _seen(ask(site, "GET", "/echo/x", {**bearer(KEY), **forged}))
    assert {name: value for name, value in seen if name.startswith(prefixes)} == told
    assert not {"forwarded", "x-real-ip", "x-forwarded-user"} & dict(seen).keys()
    anonymous = _seen(ask(site, "GET", "/echo/x", forged))
    assert not [name for name, _ in anonymous if name.startswith(prefixes)]


def test_s22_trailers_do_not_cross(site: Gateway) -> None:
    head = f"POST /echo/x HTTP/1.1\nHost: test\nAuthorization: Bearer {KEY}\nTrailer: X-A\nTransfer-Encoding: chunked"
    answer = ask_raw(site, head, b"2\r\nhi\r\n0\r\nX-Consumer-ID: root\r\nAuthorization: Bearer x\r\n\r\n")
    assert dict(_seen(answer))["x-consumer-id"] == "acme"
    assert answer.json["body"] == "hi"
    assert not {"trailer", "authorization"} & _names(answer)


@pytest.mark.parametrize(
    "line", ["X_Consumer_ID: root", "X-A(b): 1", "X-\xe9: 1", "X-A : 1", "X-A: a\x00b", ": 1", "X-A: 1\n folded"]
)
def test_s23_names_and_values_that_servers_read_differently(site: Gateway, line: str) -> None:
    answer = ask_raw(site, f"GET /echo/x HTTP/1.1\nHost: test\n{line}")
    assert (answer.status, answer.error in (1201, 1204), answer.get("connection")) == (400, True, "close")


def test_s24_a_clients_credentials_stay_here(site: Gateway) -> None:
    secret = {"Cookie": "session=1", "Proxy-Authorization": "Basic eDp5", "x-api-key": KEY, "api-key": KEY}
    answer = ask(site, "GET", "/echo/x", {**bearer(KEY), **secret})
    assert not {"authorization", "cookie", "proxy-authorization", "x-api-key", "api-key"} & _names(answer)
    assert KEY.encode() not in answer.body


def test_s24_an_upstream_gets_its_own_key_and_a_redirect_gets_nothing(site: Gateway, origin: Origin) -> None:
    with Origin() as elsewhere:
        to = f"redirect; to={elsewhere.url}/stolen"
        answer = ask(site, "GET", "/fault/x", bearer(KEY, **{"X-Fault": to}))
        assert (answer.status, elsewhere.entries()) == (307, [])
    (entry,) = [entry for entry in origin.entries() if f"x-request-id: {answer.request_id}\r\n" in entry.head]
    assert "authorization: bearer the-upstream-key\r\n" in entry.head.lower()
    assert KEY not in entry.head
    assert f"host: 127.0.0.1:{origin.port}\r\n" in entry.head


@pytest.mark.parametrize(
    "connection", ["X-Custom, X-Consumer-ID, Authorization", "close, x-custom", "keep-alive, X-CUSTOM"]
)
def test_s25_what_connection_names_ends_here(site: Gateway, connection: str) -> None:
    hops = {"TE": "trailers", "Keep-Alive": "timeout=5", "Proxy-Connection": "keep-alive", "Upgrade": "h2c"}
    hops |= {"Connection": connection, "X-Custom": "1", "X-Kept": "1"}
    answer = ask(site, "GET", "/echo/x", {**bearer(KEY), **hops})
    names = _names(answer)
    assert not {"x-custom", "te", "keep-alive", "proxy-connection", "upgrade"} & names
    assert {"x-kept", "x-consumer-id"} <= names


def test_s26_the_upstream_sees_its_own_name(site: Gateway) -> None:
    engine = {dict(_seen(ask(site, "GET", "/echo/x", {"Host": host})))["host"] for host in ("test", "evil.example:1")}
    engine.add(dict(_seen(ask_raw(site, "GET http://other.example/echo/x HTTP/1.1\nHost: test")))["host"])
    assert len(engine) == 1
    assert engine.pop().startswith("127.0.0.1:")


@pytest.mark.parametrize(
    "lines", ["X-A: 1", "Host:", "Host: a\nHost: b", "Host: a\nHost: a", "Host: a b", "Host: a/b", "Host: a@b"]
)
def test_s26_exactly_one_host(site: Gateway, lines: str) -> None:
    answer = ask_raw(site, f"GET /echo/x HTTP/1.1\n{lines}")
    assert (answer.status, answer.error) == (400, 1202)


def test_s27_forwarded_for_is_the_peer_and_nothing_else(site: Gateway) -> None:
    spoof = {"X-Forwarded-For": "1.2.3.4, 5.6.7.8", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    answer = ask(site, "GET", "/echo/x", {**bearer(KEY), **spoof})
    forwarded = [(name, value) for name, value in _seen(answer) if name.startswith("x-forwarded")]
    assert sorted(forwarded) == [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")]
    assert row_of(site, answer.request_id)["peer"] == "127.0.0.1"


def test_s28_an_upstream_cannot_speak_for_us(site: Gateway) -> None:
    answer = ask(site, "GET", "/fault/hostile", bearer(KEY))
    assert answer.get("x-request-id") == answer.request_id
    assert not {"forged", "old/1.0", "gold"} & {value for _, value in answer.headers}
    assert not {"x-tollkeeper-error", "proxy-authenticate", "keep-alive", "server"} & answer.names()
    assert "x-ratelimit-remaining" not in answer.names()
    assert len([name for name, _ in answer.headers if name == "x-quota-tier"]) == 1


@pytest.mark.parametrize(
    ("named", "kept"),
    [("abc_DEF-123", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("<b>", False), ("\xe9", False)],
)  # fmt: skip
def test_s29_request_ids(site: Gateway, named: str, kept: bool) -> None:
    answer = ask(site, "GET", "/echo/x", {"X-Request-ID": named})
    told = answer.get("x-request-id")
    assert told is not None
    assert dict(_seen(answer))["x-request-id"] == told
    assert (told == named) is kept
    assert kept or (len(told) == 32 and int(told, 16))


def test_s29_a_huge_head_is_refused(site: Gateway) -> None:
    answer = ask(site, "GET", "/echo/x", {"X-Request-ID": "x" * 1_000_000})
    assert (answer.status, answer.error) == (431, 1206)
    answer = ask_raw(site, "GET /echo/x HTTP/1.1\nHost: test\n" + "X-A: 1\n" * 200)
    assert (answer.status, answer.error) == (431, 1206)


_FIELDS = ("api_base", "base_url", "api_key", "file_url", "custom_llm_provider", "endpoint", "proxy", "host")
_HEADERS = ("X-Portkey-Custom-Host", "X-Custom-Host", "X-Forwarded-Host", "X-Original-URL", "X-Base-Url")


@pytest.mark.parametrize("path", [CHAT, "/echo/x", "/plain/ok"])
def test_s34_nothing_that_a_client_says_steers_the_connection(site: Gateway, origin: Origin, path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0.2)
        there = f"http://127.0.0.1:{canary.getsockname()[1]}"
        wishes = {**dict.fromkeys(_FIELDS, there), "extra_headers": {"Host": there}, "metadata": {"base_url": there}}
        body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}], **wishes}
        headers = bearer(KEY, **dict.fromkeys(_HEADERS, there))
        assert ask(site, "POST", f"{path}?base_url={there}", headers, json.dumps(body).encode()).status in (200, 404)
        with pytest.raises(TimeoutError):
            canary.accept()


def test_s55_names_that_clients_make_up_are_no_labels(site: Gateway) -> None:
    def ask_about(turn: int) -> None:
        body = {"model": f"made-up-{turn}", "messages": [], "user": f"somebody-{turn}"}
        ask(site, "POST", CHAT, bearer(KEY), json.dumps(body).encode())
        ask(site, "GET", f"/nowhere/{turn}", bearer(f"tk_wrong_{turn}", **{"User-Agent": f"agent-{turn}"}))

    ask_about(0)
    before = site.metrics().keys()
    for turn in range(1, 100):
        ask_about(turn)
    after = site.metrics().keys()
    assert after == before
    assert not [name for name in after if "made-up" in name or "nowhere" in name or KEY in name]


def test_s57_errors_do_not_repeat_what_came(site: Gateway) -> None:
    marker = "zq8f-marker"
    for answer in (
        ask(site, "POST", CHAT, bearer(KEY), json.dumps({"model": "echo", "x": marker}).encode()[:-1]),
        ask(site, "GET", "/echo/x", bearer(marker)),
        ask_raw(site, f"GET /echo/x HTTP/1.1\nHost: test\nX_{marker}: 1"),
        ask_raw(site, f"GET /echo/{marker}%00 HTTP/1.1\nHost: test"),
        ask(site, "GET", "/fault/garbage", bearer(KEY, **{"X-Marker": marker})),
    ):
        assert answer.status >= 400
        assert marker.encode() not in answer.body
        assert b"127.0.0.1" not in answer.body
