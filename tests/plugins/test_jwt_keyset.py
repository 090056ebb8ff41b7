"""S18, S19: an issuer's key set through rotation, outage and floods. The clock is a number; no test waits."""

import asyncio
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Credential
from plugins.jwt import Plugin
from tests.plugins.issuer import AUDIENCE, ISSUER, URL, Worker, exchange_with, public_jwk, published, sign
from tests.plugins.test_jwt import make

OLD, NEW = public_jwk("RS256"), public_jwk("RS256", 1, kid="b")
OLD_TOKEN = sign(exp=1_800_050_000)
NEW_TOKEN = sign("RS256", 1, {"kid": "b"}, exp=1_800_050_000)


async def started(worker: Any, **changes: Any) -> Plugin:
    plugin = make(**changes)
    await plugin.start(worker)
    await settle()
    return plugin


async def settle() -> None:
    """Let what runs in the background run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def ask(plugin: Plugin, worker: Worker, token: str) -> Credential | None:
    exchange = exchange_with(("authorization", f"Bearer {token}"), received=worker.now)
    await plugin.access(exchange)
    return exchange.credential


async def refused(plugin: Plugin, worker: Worker, token: str) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await ask(plugin, worker, token)
    return caught.value


async def test_s18_ten_thousand_unknown_keys_are_one_question_in_30_s() -> None:
    worker = Worker(published(OLD))
    plugin = await started(worker)
    for at in range(10_000):
        worker.now = at / 100  # 100 s
        header = {"kid": f"k{at}"}
        assert (await refused(plugin, worker, forge(header))).number == 1009
    assert worker.fetched[0] == 0.0
    gaps = [later - earlier for earlier, later in zip(worker.fetched, worker.fetched[1:], strict=False)]
    assert len(gaps) == 3 and min(gaps) >= 30
    assert await ask(plugin, worker, OLD_TOKEN) is not None


def forge(header: dict[str, Any]) -> str:
    """A token with a signature of nobody: quickly made."""
    import json

    from tests.plugins.issuer import encode

    return b".".join((encode(json.dumps({"alg": "RS256", **header}).encode()), encode(b"{}"), b"AAAA")).decode()


async def test_s18_a_flood_while_the_issuer_is_down_is_one_question_in_30_s() -> None:
    worker = Worker(published(OLD))
    plugin = await started(worker)
    worker.document = OSError("down")
    for at in range(1_000):
        worker.now = at / 2  # 500 s
        await refused(plugin, worker, forge({"kid": f"k{at}"}))
        await settle()
    gaps = [later - earlier for earlier, later in zip(worker.fetched, worker.fetched[1:], strict=False)]
    assert min(gaps) >= 30 and len(gaps) >= 10


async def test_s18_known_keys_work_while_the_issuer_is_down_for_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(published(OLD))
    plugin = await started(worker)
    worker.document = OSError("down")
    for worker.now in range(0, 3601, 10):
        assert await ask(plugin, worker, sign(exp=1_800_050_000, jti=str(worker.now))) is not None
        await settle()
    assert worker.counted["jwks_refresh_failures_total"] > 50
    assert worker.counted["jwks_age_seconds"] > 3000
    assert "the last good one stays in use" in caplog.text
    worker.document = published(OLD, NEW)
    worker.now = 3660
    assert await ask(plugin, worker, OLD_TOKEN) is not None
    await settle()
    assert worker.counted["jwks_age_seconds"] == 0.0
    assert await ask(plugin, worker, NEW_TOKEN) is not None


@pytest.mark.parametrize("document", [b"", b"<html>", b"{}", b"x" * 300_000, b'{"keys":7}'])
async def test_s18_what_is_no_key_set_replaces_none(document: bytes) -> None:
    worker = Worker(published(OLD))
    plugin = await started(worker)
    worker.document = document
    worker.now = 301
    assert await ask(plugin, worker, OLD_TOKEN) is not None
    await settle()
    assert worker.counted["jwks_refresh_failures_total"] == 1
    assert await ask(plugin, worker, sign(jti="x")) is not None


async def test_s18_where_no_set_was_ever_fetched_it_is_nobodys_fault() -> None:
    worker = Worker(OSError("down"))
    plugin = await started(worker)
    error = await refused(plugin, worker, OLD_TOKEN)
    assert (error.number, error.status, error.headers["Retry-After"]) == (1603, 503, "1")
    for worker.now in range(100):
        await refused(plugin, worker, OLD_TOKEN)
        await settle()
    assert worker.fetched == [0, 1, 3, 7, 15, 31, 61, 91]
    worker.document = published(OLD)
    worker.now = 121
    assert await ask(plugin, worker, OLD_TOKEN) is not None


async def test_s18_no_request_waits_for_a_refresh() -> None:
    worker = Worker(published(OLD))
    plugin = await started(worker)
    asked = asyncio.Event()

    async def hang(url: str, allow_private: bool = False) -> bytes:
        asked.set()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    worker.fetch = hang  # type: ignore[method-assign]
    worker.now = 301
    async with asyncio.timeout(1):
        assert await ask(plugin, worker, OLD_TOKEN) is not None
        await asked.wait()
        assert await ask(plugin, worker, sign(jti="other")) is not None


async def test_s18_those_who_wait_for_a_new_key_share_one_question() -> None:
    worker = Worker(published(OLD))
    plugin = await started(worker)
    go = asyncio.Event()
    fetches = []

    async def answer(url: str, allow_private: bool = False) -> bytes:
        fetches.append(url)
        await go.wait()
        return published(OLD, NEW)

    worker.fetch = answer  # type: ignore[method-assign]
    worker.now = 31
    waiting = [asyncio.ensure_future(ask(plugin, worker, NEW_TOKEN)) for _ in range(100)]
    await settle()
    waiting[0].cancel()  # a client that leaves takes nothing from the others
    await settle()
    go.set()
    found = await asyncio.gather(*waiting[1:])
    assert all(found) and fetches == [URL]


async def test_s19_a_new_key_is_taken_within_30_s_of_its_publication() -> None:
    worker = Worker(published(OLD))
    plugin = await started(worker)
    worker.now = 0.5
    worker.document = published(OLD, NEW)
    assert (await refused(plugin, worker, NEW_TOKEN)).number == 1009
    worker.now = 30.0
    assert await ask(plugin, worker, NEW_TOKEN) is not None


async def test_s19_a_removed_key_is_refused_after_the_refresh_even_for_tokens_seen_before() -> None:
    worker = Worker(published(OLD, NEW))
    plugin = await started(worker)
    assert await ask(plugin, worker, OLD_TOKEN) is not None
    worker.document = published(NEW)
    worker.now = 299
    assert await ask(plugin, worker, OLD_TOKEN) is not None
    worker.now = 300
    await ask(plugin, worker, NEW_TOKEN)
    await settle()
    assert (await refused(plugin, worker, OLD_TOKEN)).number == 1009
    assert await ask(plugin, worker, NEW_TOKEN) is not None


async def test_s19_after_a_long_silence_the_set_is_looked_at_first() -> None:
    worker = Worker(published(OLD))
    plugin = await started(worker)
    assert await ask(plugin, worker, OLD_TOKEN) is not None
    worker.document = published(NEW)
    worker.now = 601
    assert (await refused(plugin, worker, OLD_TOKEN)).number == 1009


async def test_s19_an_empty_set_withdraws_all_keys() -> None:
    worker = Worker(published(OLD))
    plugin = await started(worker)
    worker.document = published()
    worker.now = 601
    assert (await refused(plugin, worker, OLD_TOKEN)).number == 1009


async def test_the_operators_own_keys_need_no_issuer() -> None:
    from tests.plugins.issuer import public_pem

    worker = Worker(OSError("down"))
    plugin = await started(worker, jwks=URL, keys=[{"kid": "a", "pem": public_pem("RS256")}])
    assert await ask(plugin, worker, OLD_TOKEN) is not None
    assert (await refused(plugin, worker, NEW_TOKEN)).number == 1603
    worker.document = published(public_jwk("RS256", 1, kid="a"), NEW)  # the issuer cannot replace them
    worker.now = 2
    assert await ask(plugin, worker, NEW_TOKEN) is not None
    assert await ask(plugin, worker, sign(jti="x")) is not None
    assert (plugin.settings.issuer, plugin.settings.audience) == (ISSUER, AUDIENCE)
