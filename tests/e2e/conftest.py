"""What tests of whole gateways share: the fault origin, and a gateway with consumers, scopes and CORS."""

import hashlib
from collections.abc import Iterator

import pytest

from tests.faults.origin import Origin
from tests.harness import Gateway, config, running_gateway

GOOD = "https://good.example"
KEYS = {
    "spaced": "My API Key",
    "second": "second-key-of-acme",
    "mini": "key-for-the-mini-model",
    "paths": "key-for-some-paths",
    "old": "a-key-that-has-expired",
    "later": "a-key-that-will-expire",
    "narrow": "key-of-a-narrow-consumer",
}


def _key(name: str, **more: object) -> dict[str, object]:
    return {"sha256": hashlib.sha256(KEYS[name].encode()).hexdigest(), "id": name, **more}


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="session")
def site(origin: Origin) -> Iterator[Gateway]:
    document = config(
        consumers={
            "acme": {
                "tier": "monthly",
                "project": "anvils",
                "keys": [
                    {"key": "${SPACED_KEY}", "id": "spaced"},
                    _key("second"),
                    _key("mini", models=["*-mini"]),
                    _key("paths", routes=["/echo/open*", "/v1/models"]),
                    _key("old", expires="2020-01-01"),
                    _key("later", expires="2099-12-31T23:59:59Z"),
                ],
            },
            "narrow": {"tier": "monthly", "models": ["echo*"], "keys": [_key("narrow", models=["*"])]},
        },
        backends={
            "echo": {"echo": {}, "identity": True},
            "origin": {"http": {"endpoints": [{"url": origin.url}], "key": "the-upstream-key"}},
        },
        models={
            "echo": {"backend": "echo"},
            "echo-mini": {"backend": "echo"},
            "origin": {"backend": "origin"},
            "renamed": {"backend": "echo", "name": "as-the-engine-says"},
        },
        plugins=[{"cors": {"origins": [GOOD], "methods": ["GET", "POST"], "headers": ["authorization", "content-type"],
                           "credentials": True}}, "key_auth", "quota"],
        routes=[
            {"path": "/v1/chat/completions"},
            {"path": "/read/*", "to": "echo", "strip": "/read", "methods": ["GET"], "auth": "none"},
            {"path": "/echo/strict/*", "to": "echo"},
            {"path": "/echo/small", "to": "echo", "body": "100KB"},
            {"path": "/echo/*", "to": "echo", "auth": "optional"},
            {"path": "/v1/echo/ws", "to": "echo"},
            {"path": "/fault/*", "to": "origin", "strip": "/fault"},
        ],
    )  # fmt: skip
    with running_gateway(document, environment={"SPACED_KEY": KEYS["spaced"]}) as gateway:
        yield gateway
