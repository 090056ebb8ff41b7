"""A gateway that has everything there is to watch, its surroundings, and a Prometheus that looks at it."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e.test_identity import Issuer, token
from tests.extension import write_plugin
from tests.harness import Document, Gateway, config, running_gateway
from tests.monitoring.prometheus import Prometheus, running_prometheus
from tests.monitoring.scenery import Client, Upstream, traffic
from tests.redis import Server, free_port, running_redis

STORE = 40_000_000  # bytes
IDLES = """
import asyncio
from gateway.plugin import BasePlugin, BaseSettings

class Settings(BaseSettings, frozen=True):
    pass

class Plugin(BasePlugin[Settings]):
    async def access(self, exchange):
        if seconds := exchange.header("x-idle"):
            await asyncio.sleep(float(seconds))
"""


class Scene(NamedTuple):
    gateway: Gateway
    prometheus: Prometheus
    upstream: Upstream
    issuer: Issuer
    redis: Server
    collector: Upstream
    certificate: Path

    def client(self, tier: str = "open", address: str = "") -> Client:
        return Client(address or self.gateway.url, self.gateway.key(tier))


def document(folder: Path, upstream: Upstream, issuer: Issuer, redis: Server) -> Document:
    check = {"path": "/health", "interval": "200ms", "unhealthy": 2}
    whose = {"issuer": "https://id.example.com/", "audience": "tollkeeper", "default_tier": "open"}
    tokens = {"jwks": issuer.url, "allow_private": True, **whose}
    pair = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    cached = [{"key_auth": {}}, {"response_cache": {"ttl": "1s"}}, {"quota": {}}]
    return config(
        listen={"proxy": [{"address": "127.0.0.1:0"}, {"address": f"127.0.0.1:{free_port()}", "certificates": [pair]}]},
        state={"redis": redis.url, "size": STORE, "journal": 16_000_000},
        tiers={
            "free": {"rate": "6/min", "burst": 6},
            "pro": {"rate": "unlimited", "monthly": 10_000},
            "open": {"rate": "unlimited"},
        },
        backends={
            "ours": {"echo": {}, "slots": 2, "queue": 10},
            "cold": {"echo": {}, "load": "demand", "slots": 4, "queue": 10},
            "broken": {"command": {"run": "false {port}"}, "load": "demand"},
            "there": {"http": {"endpoints": [{"url": upstream.url}], "health": check}},
        },
        models={
            "echo": {"backend": "ours"},
            "dear": {"backend": "ours", "cost": 1000.0},
            "cold": {"backend": "cold"},
            "broken": {"backend": "broken"},
            "distant": {"backend": "there"},
            "spared": {"backend": "there", "fallback": ["echo"]},
        },
        plugins=[{"key_auth": {}}, {"jwt": tokens}, {"idler": {}}, {"quota": {}}],
        routes=[{"path": "/v1/chat/completions"}, {"path": "/v1/completions", "plugins": cached}],
    )


@contextlib.contextmanager
def watched_gateway(folder: Path, scale: int) -> Iterator[Scene]:
    """Everything in `folder`; callers of every kind ask all the time, and get what they ask for."""
    with contextlib.ExitStack() as stack:
        upstream, collector = Upstream(), Upstream(b"")
        stack.callback(upstream.stop)
        stack.callback(collector.stop)
        issuer = Issuer()
        stack.callback(issuer.close)
        redis = stack.enter_context(running_redis())
        write_certificate(folder, timedelta(days=90))
        environment = write_plugin(folder / "plugins", "idler", IDLES)
        settings = {**document(folder, upstream, issuer, redis), "otel": {"endpoint": collector.url}}
        gateway = stack.enter_context(running_gateway(settings, workers=1, folder=folder, environment=environment))
        target = gateway.status_url.removeprefix("http://")
        prometheus = stack.enter_context(running_prometheus(folder, target, scale))
        scene = Scene(gateway, prometheus, upstream, issuer, redis, collector, folder / "cert.pem")
        open_key, url = gateway.key("open"), gateway.url
        for callers in ((stream, distant, text), (crowd, crowd), (crowd, cold), (crowd, traces)):
            stack.enter_context(traffic(url, open_key, *callers))
        stack.enter_context(traffic(url, gateway.key("pro"), plain, pause=0.5))
        stack.enter_context(traffic(url, token(exp=int(time.time()) + 3000), plain, pause=0.2))
        stack.enter_context(traffic(gateway.admin_url, gateway.admin_key, consumers, pause=0.5))
        yield scene


def plain(client: Client) -> None:
    client.chat()


def stream(client: Client) -> None:
    client.chat(stream=True)


def distant(client: Client) -> None:
    client.chat("distant")
    client.chat("spared")


def cold(client: Client) -> None:
    client.chat("cold")


def text(client: Client) -> None:
    client.post("/v1/completions", {"model": "echo", "prompt": "Once upon a time"})


def crowd(client: Client) -> None:
    """Three of these at once wait for two slots."""
    client.chat(echo={"delay": 0.1})


def traces(client: Client) -> None:
    client.get("/api/v1/traces")


def consumers(client: Client) -> None:
    client.get("/admin/consumers")


def write_certificate(folder: Path, life: timedelta) -> None:
    """cert.pem and key.pem for so long."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + life)
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate: Any = builder.sign(key, hashes.SHA256())
    (folder / "key.pem").write_bytes(plain)
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
