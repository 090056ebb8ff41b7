from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway.exchange import Exchange
from gateway.http.head import read_head
from gateway.ledger.limit import Ask
from gateway.link import Peek
from gateway.relay.assembly import Assembly, assemble
from gateway.relay.directory import Directory, read_consumers
from gateway.relay.ids import Ids
from gateway.relay.rehearsal import Draft, PeekingLedger, Step, rehearse
from gateway.settings.credentials import hash_keys
from gateway.settings.load import load_text
from tests.gateway.relay.stage import KEY, Stage

CONFIG = """
limits: {body: 10KB}
tiers: {free: {rate: 100/min, burst: 2, monthly: 1000}}
consumers: {acme: {tier: free, routes: [/v1/*], keys: [{key: key-of-acme-0001}]}}
plugins: [cors: {origins: ["https://app.example"]}, key_auth, quota]
backends: {up: {http: {endpoints: [{url: "http://127.0.0.1:1"}]}}}
models: {m: {backend: up}, dear: {backend: up, cost: 3}}
routes: [{path: /v1/x}, {path: /secret, to: up}]
"""


class Rehearsal:
    """An assembly whose plugins know the services of a real worker, but for the ledger."""

    def __init__(self, stage: Stage, assembly: Assembly) -> None:
        self.stage = stage
        self.assembly = assembly

    async def run(
        self, path: str = "/v1/x", body: bytes = b'{"model":"m"}', key: str = KEY, origin: str = ""
    ) -> list[Step]:
        headers = [(b"host", b"gate")]
        if key:
            headers.append((b"authorization", f"Bearer {key}".encode()))
        if origin:
            headers.append((b"origin", origin.encode()))
        head = read_head(b"POST", path.encode(), "1.1", headers)
        exchange = Exchange(Ids()(), head, head.method, head.path, 0.0)
        exchange.request, exchange.peer = Draft(body), "127.0.0.1"
        route, _ = self.assembly.directions.enter(exchange)
        return (await rehearse(route, exchange)).steps


@pytest.fixture
async def rehearsal(stage: Stage, tmp_path: Path) -> AsyncIterator[Rehearsal]:
    await stage.start("plugins: [key_auth]\n")
    config = hash_keys(load_text(CONFIG, {}))
    assembly = assemble(config, 0)
    peeking = PeekingLedger(stage.wallet)
    directory = Directory(read_consumers(config.consumers), stage.link.call)
    services = msgspec.structs.replace(stage.services, ledger=peeking, directory=directory, tiers=config.tiers)
    for plugin in assembly.plugins:
        await plugin.start(services)
    yield Rehearsal(stage, assembly)
    for plugin in assembly.plugins:
        await plugin.stop()


def decisions(steps: list[Step]) -> list[tuple[str, str, int]]:
    return [(step.name, step.decision, step.number) for step in steps]


async def test_every_step_tells_what_it_did(rehearsal: Rehearsal) -> None:
    steps = await rehearsal.run(origin="https://app.example")
    assert decisions(steps) == [
        ("cors", "passed", 0), ("failed_logins", "passed", 0), ("key_auth", "passed", 0), ("identity", "passed", 0),
        ("body", "passed", 0), ("model", "passed", 0), ("quota", "passed", 0),
    ]  # fmt: skip
    cors, quota = steps[0].lines, steps[-1].lines
    assert "Access-Control-Allow-Origin: https://app.example" in cors
    assert "X-Quota-Tier: free" in quota and "X-RateLimit-Remaining: 1" in quota
    assert all("\r" not in line and "\n" not in line for step in steps for line in step.lines)
    assert [step.lines for step in steps[1:-1]] == [()] * 5


@pytest.mark.parametrize(
    ("path", "body", "key", "last"),
    [
        ("/v1/x", b"", "", ("identity", "refused", 1001)),
        ("/v1/x", b"", "no-such-key-1", ("key_auth", "refused", 1002)),
        ("/secret", b"", KEY, ("identity", "refused", 1102)),
        ("/v1/x", b"{", KEY, ("body", "refused", 1210)),
        ("/v1/x", b" " * 10_001, KEY, ("body", "refused", 1208)),
        ("/v1/x", b'{"model":"dear"}', KEY, ("quota", "refused", 1503)),
    ],
)
async def test_a_refusal_ends_it(
    rehearsal: Rehearsal, path: str, body: bytes, key: str, last: tuple[str, str, int]
) -> None:
    steps = await rehearsal.run(path, body, key)
    assert decisions(steps)[-1] == last
    assert all(step.decision == "passed" for step in steps[:-1])
    assert steps[-1].message
    if last[2] == 1001:
        assert "WWW-Authenticate: Bearer" in steps[-1].lines


async def test_a_reply_ends_it(rehearsal: Rehearsal) -> None:
    head = read_head(
        b"OPTIONS", b"/v1/x", "1.1",
        [(b"host", b"a"), (b"origin", b"https://app.example"), (b"access-control-request-method", b"POST")],
    )  # fmt: skip
    exchange = Exchange("id", head, head.method, head.path, 0.0)
    exchange.request = Draft(b"")
    done = await rehearse(rehearsal.assembly.directions.fallback, exchange)
    (step,) = done.steps
    assert done.reply is not None and done.reply.status == 204 and done.error is None
    assert (step.name, step.decision, step.number) == ("cors", "replied", 204)


async def test_nothing_is_charged_journalled_or_sent(rehearsal: Rehearsal) -> None:
    stage = rehearsal.stage
    before = (stage.folder / "ledger.log").read_bytes()
    journal = stage.records()
    for _ in range(5):  # the burst is 2
        steps = await rehearsal.run()
        assert decisions(steps)[-1] == ("quota", "passed", 0)
        assert "X-Quota-Monthly-Remaining: 999" in steps[-1].lines
    assert (stage.folder / "ledger.log").read_bytes() == before
    assert stage.used() == 0
    assert stage.records() == journal
    assert len(stage.supervisor.told(Peek)) == 5 and not stage.supervisor.told(Ask)


async def test_it_shows_what_real_requests_left(rehearsal: Rehearsal) -> None:
    stage = rehearsal.stage
    await rehearsal.run()
    ask = stage.supervisor.told(Peek)[0].ask
    for number in range(2):
        stage.supervisor.ledger.ask("w", msgspec.structs.replace(ask, charge=str(number)))
    last = (await rehearsal.run())[-1]
    assert (last.decision, last.number) == ("refused", 1501)
    assert "X-RateLimit-Remaining: 0" in last.lines
    assert any(line.startswith("Retry-After: ") for line in last.lines)
