"""Signed requests: what is signed, what is refused, and the client that anybody may copy (S03, S04, S07, S59)."""

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange
from gateway.http.head import read_head
from gateway.loader import load_plugin
from gateway.settings.problem import ConfigError
from plugins.hmac_auth import client
from tests.plugins.issuer import NOW, Worker

SECRET = "a secret of the partner that nobody else has"
BODY = b'{"model": "m"}'
CREDENTIAL = {"id": "partner-a", "secret": SECRET, "consumer": "acme", "tier": "pro"}
Parameters = dict[str, str]


def parameters(**changes: str) -> Parameters:
    """Those of a good request, computed by the words of the manual; `changes` replace what is signed."""
    given = {"method": "POST", "path": "/v1/x", "query": "a=1&b=%20", "timestamp": f"{NOW:.0f}", "nonce": "n" * 16,
             "content": hashlib.sha256(BODY).hexdigest(), "secret": SECRET, "credential": "partner-a",
             **changes}  # fmt: skip
    names = ("method", "path", "query", "timestamp", "nonce", "content")
    lines = "\n".join(("TK1-HMAC-SHA256", *(given[name] for name in names)))
    signature = hmac.new(given["secret"].encode(), lines.encode(), hashlib.sha256).hexdigest()
    shown = {name: given[name] for name in ("credential", "timestamp", "nonce", "content")}
    return {**shown, "signature": signature}


def header(given: Parameters) -> str:
    return "TK1-HMAC-SHA256 " + ", ".join(f"{name}={value}" for name, value in given.items())


def request(*values: str, method: str = "POST", target: str = "/v1/x?a=1&b=%20") -> Exchange:
    fields = [(b"authorization", value.encode("latin-1")) for value in values]
    head = read_head(method.encode(), target.encode(), "1.1", [(b"host", b"a"), *fields])
    exchange = Exchange("id", head, method, head.path, 0.0)
    exchange.query = head.query
    return exchange


def make(**changes: Any) -> Any:
    return load_plugin("hmac_auth", {"credentials": [CREDENTIAL], **changes})


def identify(exchange: Exchange, worker: Worker | None = None, **changes: Any) -> Credential | None:
    services: Any = worker or Worker()

    async def run() -> None:
        plugin = make(**changes)
        await plugin.start(services)
        await plugin.access(exchange)

    asyncio.run(run())
    return exchange.credential


def refuse(number: int, exchange: Exchange, worker: Worker | None = None, **changes: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        identify(exchange, worker, **changes)
    assert caught.value.number == number, caught.value
    assert caught.value.body("id"), "its details can be told"
    assert exchange.credential is None or number == 1004
    if caught.value.status == 401:
        assert caught.value.headers["WWW-Authenticate"] == "TK1-HMAC-SHA256"
    return caught.value


def test_a_signed_request_is_its_signers() -> None:
    exchange = request(header(parameters()))
    assert identify(exchange) == Credential("partner-a", "acme", "pro", kind="hmac")
    assert exchange.body_digest == hashlib.sha256(BODY).digest()


def test_a_signature_that_was_computed_elsewhere() -> None:
    """With `openssl dgst -sha256 -hmac`, from the seven lines of a GET of / without a body."""
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    signature = "fb65d19204e55e208a64ece2036a55775e9cbabf15c1f113e391b64f9f48aa3d"
    given = {"credential": "partner-a", "timestamp": "1800000000", "nonce": "n" * 16, "content": nothing,
             "signature": signature}  # fmt: skip
    assert identify(request(header(given), method="GET", target="/")) is not None


def test_a_role_may_bring_the_tier_and_scopes_come_along() -> None:
    signer = {**CREDENTIAL, "tier": "", "role": "developer", "project": "p", "models": ["m*"], "routes": ["/v1/*"]}
    found = identify(request(header(parameters())), credentials=[signer])
    assert found is not None and (found.tier, found.role, found.project) == ("pro", "developer", "p")
    assert (found.models, found.routes, found.is_scoped) == (("m*",), ("/v1/*",), True)


def test_names_have_no_order_and_blanks_no_meaning() -> None:
    given = parameters()
    value = "tk1-hmac-sha256   " + ",".join(f"\t{name}={given[name]} " for name in reversed(given))
    assert identify(request(value)) is not None


@pytest.mark.parametrize("values", [(), ("Bearer x",), ("TK1",), ("TK1-HMAC-SHA512 x",), ("Bearer TK1-HMAC-SHA256",)])
def test_without_a_signature_it_abstains(values: tuple[str, ...]) -> None:
    exchange = request(*values)
    assert identify(exchange) is None and exchange.body_digest is None


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "PUT"}, {"path": "/v1/y"}, {"query": "a=1"}, {"query": "b=%20&a=1"}, {"secret": SECRET + "x"},
        {"path": "/v1/x\n"}, {"path": "/v1", "method": "POST\n/v1/x"},
    ],
)  # fmt: skip
def test_what_was_not_signed_is_refused(changes: Parameters) -> None:
    refuse(1010, request(header(parameters(**changes))))


@pytest.mark.parametrize("name", ["timestamp", "nonce", "content"])
def test_parameters_are_signed_too(name: str) -> None:
    other = {"timestamp": f"{NOW + 1:.0f}", "nonce": "m" * 16, "content": "0" * 64}[name]
    refuse(1010, request(header({**parameters(), name: other})))
    refuse(1010, request(header({**parameters(), "signature": "0" * 64})))


def test_s03_an_unknown_credential_is_a_wrong_signature() -> None:
    unknown = refuse(1010, request(header(parameters(credential="partner-b"))))
    wrong = refuse(1010, request(header(parameters(secret="x" * 32))))
    assert unknown.body("id", None)[:200] == wrong.body("id", None)[:200]
    refuse(1010, request(header(parameters(credential="partner-b", secret="nobody's, so that it takes as long"))))


@pytest.mark.parametrize(
    ("off", "window", "number"),
    [
        (60, 60, 0),
        (-60, 60, 0),
        (61, 60, 1012),
        (-61, 60, 1012),
        (900, 900, 0),
        (10**9, 60, 1012),
        (-(10**9), 60, 1012),
    ],
)
def test_a_timestamp_is_within_the_window(off: int, window: int, number: int) -> None:
    exchange = request(header(parameters(timestamp=f"{NOW + off:.0f}")))
    if number:
        error = refuse(number, exchange, window=window)
        assert error.details["window"] == window
    else:
        assert identify(exchange, window=window) is not None


def test_a_nonce_is_taken_once_for_as_long_as_it_could_be_sent_again() -> None:
    worker = Worker()
    early = header(parameters(timestamp=f"{NOW + 60:.0f}"))  # good until 120 s from now
    assert identify(request(early), worker) is not None
    for worker.now in (0, 60, 119, 120):
        refuse(1011, request(early), worker)
    worker.now = 121
    refuse(1012, request(early), worker)
    worker.now = 0
    assert identify(request(header(parameters(nonce="o" * 16))), worker) is not None


def test_a_wrong_signature_uses_no_nonce_up() -> None:
    worker = Worker()
    refuse(1010, request(header({**parameters(), "signature": "0" * 64})), worker)
    assert worker.seen == {}
    assert identify(request(header(parameters())), worker) is not None


def test_where_replays_cannot_be_told_nobody_is_let_in() -> None:
    worker = Worker()

    async def fail(key: bytes, ttl: float) -> bool:
        raise ConnectionError("the store is away")

    worker.add = fail  # type: ignore[method-assign]
    assert refuse(1601, request(header(parameters())), worker).status == 503


GOOD = parameters()


@pytest.mark.parametrize(
    "value",
    [
        "", "x", ",", "=", header(GOOD)[16:] + ",", "credential=partner-a", "  ",
        *(header({n: v for n, v in GOOD.items() if n != name})[16:] for name in GOOD),
        *(header({**GOOD, name: ""})[16:] for name in GOOD),
        *(header(GOOD)[16:] + f", {name}={GOOD[name]}" for name in GOOD),
        header(GOOD)[16:] + ", more=1",
        header({**GOOD, "nonce": "n" * 15})[16:], header({**GOOD, "nonce": "n" * 65})[16:],
        header({**GOOD, "nonce": "n" * 15 + "\xe9"})[16:], header({**GOOD, "timestamp": "1e9"})[16:],
        header({**GOOD, "timestamp": "-1"})[16:], header({**GOOD, "timestamp": "\xb2"})[16:],
        header({**GOOD, "signature": GOOD["signature"].upper()})[16:], header({**GOOD, "credential": "a/../b"})[16:],
        header({**GOOD, "credential": "' OR '1'='1"})[16:], "x" * 5000, header(GOOD)[16:].replace(",", ";"),
    ],
)  # fmt: skip
def test_s04_what_is_not_of_the_form_is_refused(value: str) -> None:
    refuse(1005, request(f"TK1-HMAC-SHA256 {value}"))


def test_s07_a_second_credential_is_one_too_many() -> None:
    refuse(1004, request(header(parameters()), header(parameters(nonce="o" * 16))))
    exchange = request(header(parameters()))
    exchange.credential = Credential("k", "other", "free")
    refuse(1004, exchange)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"credentials": []}, "empty"),
        ({"credentials": [{**CREDENTIAL, "secret": "x" * 31}]}, "32 bytes"),
        ({"credentials": [CREDENTIAL, CREDENTIAL]}, "same `id`"),
        ({"credentials": [{**CREDENTIAL, "id": "a b"}]}, "id"),
        ({"credentials": [{**CREDENTIAL, "id": "a\n"}]}, "id"),
        ({"window": 901}, "window"),
        ({"window": 0}, "window"),
    ],
)
def test_settings_that_cannot_work_are_told(raw: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make(**raw)


def test_a_tier_must_exist() -> None:
    for changes in ({"tier": "gold"}, {"tier": ""}, {"tier": "", "role": "viewer"}):
        with pytest.raises(ValueError, match="tier"):
            identify(request(), credentials=[{**CREDENTIAL, **changes}])


@settings(deadline=None)
@given(st.one_of(st.binary(), st.binary().map(lambda b: b"TK1-HMAC-SHA256 " + b)))
def test_s03_no_bytes_make_it_stumble(value: bytes) -> None:
    exchange = request(value.decode("latin-1"))
    try:
        identify(exchange)
    except GatewayError as error:
        assert error.number in (1005, 1010, 1012)
    assert exchange.credential is None


def test_s59_signatures_are_compared_in_constant_time() -> None:
    source = Path(__file__).parents[2].joinpath("plugins/hmac_auth/__init__.py").read_text()
    assert source.count("compare_digest(") == 1 and "signature ==" not in source and '["signature"] ==' not in source


def test_the_client_to_copy_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.time, "time_ns", lambda: int(NOW * 1e9))
    first = client.authorize("partner-a", SECRET, "POST", "/v1/x", "a=1&b=%20", BODY)
    second = client.authorize("partner-a", SECRET, "POST", "/v1/x", "a=1&b=%20", BODY)
    worker = Worker()
    for value in (first, second):
        exchange = request(value)
        assert identify(exchange, worker) is not None and exchange.body_digest == hashlib.sha256(BODY).digest()
    refuse(1011, request(first), worker)


def test_a_query_is_signed_as_the_bytes_it_has() -> None:
    target = "/v1/x?q=%C3%A9"
    assert identify(request(header(parameters(query="q=%C3%A9")), target=target)) is not None
    refuse(1010, request(header(parameters(query="q=\u00e9")), target=target))
