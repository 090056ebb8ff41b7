"""The configurations of the gateways that tests share."""

import hashlib
from typing import Any

from tests.faults.origin import Origin
from tests.harness import Document, config

CONNECT, FIRST_BYTE, IDLE, TOTAL = 0.4, 0.6, 0.5, 2.0  # seconds that a model server gets in `failing`
HEADER, BODY, WRITE = 1.0, 1.0, 1.5  # seconds that a client gets in `hurried`
CAP = 600  # connections there
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


def _key(name: str, **more: Any) -> Document:
    return {"sha256": hashlib.sha256(KEYS[name].encode()).hexdigest(), "id": name, **more}


def _holder(key: str, tier: str, **more: Any) -> Any:
    return {"tier": tier, "keys": [{"sha256": hashlib.sha256(key.encode()).hexdigest(), **more}]}


def failing(origin: Origin, refusing: int, silent: int) -> Document:
    """Model servers that fail in every way, and little patience with them."""

    def http(*urls: str) -> Document:
        return {"http": {"endpoints": [{"url": url} for url in urls]}}

    backends = {
        "origin": http(origin.url),
        "refused": http(f"http://127.0.0.1:{refusing}"),
        "silent": http(f"http://127.0.0.1:{silent}"),
        "nameless": http("http://no-such-host.invalid:80"),
        "half": http(f"http://127.0.0.1:{refusing}", origin.url),
        "sick": http(f"{origin.url}/5xx", f"{origin.url}/ok"),
        "outage": http(f"{origin.url}/5xx/1", f"{origin.url}/5xx/2"),
    }
    return config(
        timeouts={"connect": CONNECT, "first_byte": FIRST_BYTE, "idle": IDLE, "total": TOTAL},
        backends=backends,
        models={name: {"backend": name} for name in backends},
        routes=[
            {"path": "/v1/chat/completions"},
            {"path": "/plain/*", "to": "origin", "strip": "/plain"},
            {"path": "/again/*", "to": "outage", "strip": "/again", "retry": True},
        ],
    )


def hurried(origin: Origin) -> Document:
    """Little patience with clients, and few of them."""
    return config(
        timeouts={"header": HEADER, "body": BODY, "write": WRITE},
        limits={"connections": CAP, "body_rate": "100KB"},
        backends={
            "origin": {"http": {"endpoints": [{"url": origin.url}]}},
            "echo": {"echo": {}, "slots": 256},
            "single": {"echo": {}, "slots": 1},
        },
        models={name: {"backend": name} for name in ("origin", "echo", "single")},
        routes=[
            {"path": "/v1/chat/completions"},
            {"path": "/plain/*", "to": "origin", "strip": "/plain"},
            {"path": "/echo", "to": "echo"},
        ],
    )


def talking(origin: Origin, refusing: int) -> Document:
    """What an OpenAI client may meet, refusals of all kinds among it."""
    return config(
        tiers={
            "open": {"rate": "unlimited"},
            "slow": {"rate": "1/s", "burst": 1},
            "spent": {"monthly": 1},
        },
        consumers={
            "old": _holder("an-expired-key", "open", expires="2020-01-01"),
            "narrow": _holder("a-narrow-key", "open", models=["other*"]),
            "elsewhere": _holder("a-key-for-models", "open", routes=["/v1/models*"]),
        },
        timeouts={"idle": 0.4},
        limits={"body": "10KB"},
        backends={
            "echo": {"echo": {}, "slots": 64},
            "busy": {"echo": {}, "slots": 1, "queue": 0},
            "origin": {"http": {"endpoints": [{"url": origin.url}]}},
            "dead": {"http": {"endpoints": [{"url": f"http://127.0.0.1:{refusing}"}]}},
        },
        models={
            "echo": {"backend": "echo"},
            "dear": {"backend": "echo", "cost": 5},
            "gpt-4o": {"alias": "echo"},
            "busy": {"backend": "busy"},
            "origin": {"backend": "origin"},
            "dead": {"backend": "dead"},
        },
        routes=[
            {"path": "/v1/chat/completions"},
            {"path": "/v1/completions", "first_byte": 0.3},
            {"path": "/v1/embeddings", "total": 0.5},
        ],
    )


def speaking(origin: Origin) -> Document:
    """One server that speaks every dialect, under two names."""
    paths = ("chat/completions", "completions", "responses", "messages", "embeddings", "rerank", "audio/*", "images/*")
    return config(
        timeouts={"idle": 1.0},
        backends={"origin": {"http": {"endpoints": [{"url": origin.url}]}}},
        models={"origin": {"backend": "origin", "name": "as-the-server-says"}, "nick": {"alias": "origin"}},
        routes=[{"path": f"/v1/{path}"} for path in paths] + [{"path": "/speak", "dialect": "messages"}],
    )


def guarded(origin: Origin) -> Document:
    """Consumers, scopes, CORS, and routes that want a key or do not."""
    return config(
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
