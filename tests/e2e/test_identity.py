"""Callers with tokens and with signatures, through two workers; the issuer is a server that rotates and fails."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest

from plugins.hmac_auth.client import authorize
from tests.e2e.wire import CHAT, Answer, ask, bearer, row_of
from tests.harness import Gateway, config, eventually, running_gateway
from tests.plugins.issuer import private_key, public_jwk, published

SECRET = "a secret that the partner and the gateway share"
BODY = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hi"}]}).encode()


class Issuer:
    """Publishes `document` with `status`, and counts how often it is asked."""

    def __init__(self) -> None:
        self.status, self.document, self.asked = 200, published(public_jwk("RS256")), 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(issuer.document)))
                self.end_headers()
                self.wfile.write(issuer.document)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway(issuer: Issuer) -> Iterator[Gateway]:
    signer = {
        "id": "partner",
        "secret": SECRET,
        "consumer": "partner-gmbh",
        "tier": "open",
        "routes": ["/v1/*", "/echo/*"],
    }
    document = config(
        workers=2,
        limits={"failed_logins": "unlimited"},
        plugins=[
            {"key_auth": {}},
            {"jwt": {"jwks": issuer.url, "allow_private": True, "issuer": "https://id.example.com/",
                     "audience": "tollkeeper", "default_tier": "open", "refresh": 2}},
            {"hmac_auth": {"credentials": [signer]}},
            {"quota": {}},
        ],
    )  # fmt: skip
    with running_gateway(document) as running:
        yield running


def token(number: int = 0, kid: str = "a", **changes: Any) -> str:
    now = int(time.time())
    told = {
        "iss": "https://id.example.com/",
        "aud": "tollkeeper",
        "sub": "alice",
        "iat": now,
        "exp": now + 600,
        **changes,
    }
    return jwt.encode(told, private_key("RS256", number), "RS256", {"kid": kid})


def chat(gateway: Gateway, authorization: str, body: bytes = BODY, **headers: str) -> Answer:
    headers = {"Authorization": authorization, "Content-Type": "application/json", **headers}
    return ask(gateway, "POST", CHAT, headers, body)


def test_a_token_is_its_bearer(gateway: Gateway) -> None:
    answer = chat(gateway, f"Bearer {token(jti='t-1', tier='free', project='search')}")
    assert answer.status == 200, answer.body
    row = row_of(gateway, answer.request_id)
    assert (row["consumer"], row["tier"], row["credential"], row["project"]) == ("alice", "free", "t-1", "search")
    who = json.loads(ask(gateway, "GET", "/api/v1/me", bearer(token())).body)["data"]
    assert (who["consumer"], who["credential"]["kind"], who["tier"]) == ("alice", "jwt", "open")


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"exp": 1}, 1007), ({"aud": "other"}, 1013), ({"iss": "https://id.example.com"}, 1013), ({"number": 1}, 1006),
        ({"nbf": 4_000_000_000}, 1008), ({"exp": 4_000_000_000}, 1006),
    ],
)  # fmt: skip
def test_a_bad_token_is_refused(gateway: Gateway, changes: dict[str, Any], number: int) -> None:
    answer = chat(gateway, f"Bearer {token(**changes)}")
    assert (answer.status, answer.error) == (401, number)
    challenge = answer.get("www-authenticate")
    assert challenge is not None and challenge.startswith('Bearer error="invalid_token", error_description="')
    row = row_of(gateway, answer.request_id)
    assert (row["outcome"], row["units"], row["consumer"]) == ("refused", 0, "")


def test_s07_a_token_beside_a_key_or_a_signature(gateway: Gateway) -> None:
    for other in ({"x-api-key": gateway.key("free")}, {"api-key": gateway.key("open")}):
        answer = chat(gateway, f"Bearer {token()}", **other)
        assert (answer.status, answer.error) == (400, 1004)


def test_s16_nothing_is_fetched_that_a_token_names(gateway: Gateway, issuer: Issuer) -> None:
    told = {"jku": issuer.url, "x5u": issuer.url}
    before = issuer.asked
    forged = jwt.encode({"sub": "root"}, private_key("RS256", 1), "RS256", {"kid": "a", **told})
    assert chat(gateway, f"Bearer {forged}").error == 1006
    assert issuer.asked <= before + 2  # each worker's own refresh may fall in between


def test_s19_keys_come_and_go_and_outages_take_none(gateway: Gateway, issuer: Issuer) -> None:
    new = f"Bearer {token(1, 'b', jti='rotated')}"
    old = f"Bearer {token(jti='old')}"
    assert chat(gateway, new).error == 1009
    issuer.document = published(public_jwk("RS256"), public_jwk("RS256", 1, kid="b"))
    # by both workers: eight connections in a row may well all be one worker's, and each asks the issuer itself
    eventually(lambda: all(chat(gateway, new).status == 200 for _ in range(40)), 15, "the new key is taken")
    issuer.status = 500
    time.sleep(2.5)
    for _ in range(8):
        assert chat(gateway, new).status == chat(gateway, old).status == 200
    failures = "tollkeeper_jwks_refresh_failures_total"
    eventually(lambda: chat(gateway, old) and gateway.metrics().get(failures, 0) > 0, 10, "failures are counted")
    assert "the last good one stays in use" in gateway.log


def test_a_signed_request_is_its_signers(gateway: Gateway) -> None:
    answer = chat(gateway, authorize("partner", SECRET, "POST", CHAT, body=BODY))
    assert answer.status == 200, answer.body
    row = row_of(gateway, answer.request_id)
    assert (row["consumer"], row["credential"], row["tier"]) == ("partner-gmbh", "partner", "open")


def test_a_signature_is_for_one_request_once(gateway: Gateway) -> None:
    """Whichever worker it comes to."""
    value = authorize("partner", SECRET, "POST", CHAT, body=BODY)
    assert chat(gateway, value).status == 200
    for _ in range(8):
        assert chat(gateway, value).error == 1011
    assert chat(gateway, authorize("partner", SECRET[:-1] + "?", "POST", CHAT, body=BODY)).error == 1010


@pytest.mark.parametrize("path", [CHAT, "/echo/anything"])
def test_a_body_that_was_not_signed_goes_nowhere(gateway: Gateway, path: str) -> None:
    value = authorize("partner", SECRET, "POST", path, body=BODY)
    other = BODY.replace(b"hi", b"ha")
    answer = ask(gateway, "POST", path, {"Authorization": value, "Content-Type": "application/json"}, other)
    assert (answer.status, answer.error) == (401, 1010)
    assert row_of(gateway, answer.request_id)["units"] == 0


def test_requests_without_a_body_are_signed_too(gateway: Gateway) -> None:
    value = authorize("partner", SECRET, "GET", "/v1/models", "x=1&y=%20")
    assert ask(gateway, "GET", "/v1/models?x=1&y=%20", {"Authorization": value}).status == 200
    value = authorize("partner", SECRET, "GET", "/v1/models", "x=1")
    assert ask(gateway, "GET", "/v1/models?x=2", {"Authorization": value}).error == 1010
    value = authorize("partner", SECRET, "GET", "/api/v1/me")
    assert ask(gateway, "GET", "/api/v1/me", {"Authorization": value}).error == 1102  # outside the signer's routes
