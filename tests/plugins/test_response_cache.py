"""The cache in a real relay: what is kept, for whom, and who waits for whom."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange import Credential
from gateway.relay.services import Clock
from plugins.response_cache import Plugin, Settings
from plugins.response_cache.draft import Draft
from plugins.response_cache.entry import Entry, decode_entry, encode_entry
from plugins.response_cache.flight import Flights, Turn
from plugins.response_cache.store import Store
from plugins.response_cache.workers import Workers
from tests.gateway.http.peers import RawClient, eventually
from tests.gateway.relay.stage import KEY, Answered, Stage, chunked, ok, read_answer

wall = Clock.wall
SECOND, LAB, OTHER = "second-key-of-acme", "key-of-acmes-lab-1", "key-of-umbrella-01"
DOCUMENT = """
plugins: [key_auth, {response_cache: {%s}}, quota]
backends: {up: {http: {endpoints: [{url: "%s"}]}}}
models: {m: {backend: up}, twin: {alias: m}}
routes: [{path: /v1/*, to: models}]
"""
ANSWER = b'{"id":"1","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":5,"completion_tokens":7}}'
EVENTS = [b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % n for n in range(3)]
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = chunked(*EVENTS, END, USAGE, DONE)


def good(body: bytes = ANSWER, *lines: str) -> bytes:
    return ok(body, "content-type: application/json", *lines)


def asking(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}).encode()


class Scene:
    """A stage with three more keys: a second one of acme, one of its project mates, one of a stranger."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def start(self, *answers: bytes, settings: str = "") -> "Scene":
        for key, credential in (
            (SECOND, Credential("second", "acme", "free", "rockets")),
            (LAB, Credential("lab", "lab", "free", "rockets")),
            (OTHER, Credential("other", "umbrella", "free")),
        ):
            self.stage.supervisor.keys[sha256(key.encode()).digest()] = credential
        await self.stage.start(DOCUMENT % (settings, await self.stage.upstream(*answers)))
        return self

    async def ask(self, body: bytes | None = None, path: str = "/v1/chat/completions", **headers: str) -> Answered:
        return await self.stage.ask("POST", path, asking() if body is None else body, **headers)

    async def told(self, body: bytes | None = None, **headers: str) -> str:
        """What the cache did with a request that is answered."""
        answered = await self.ask(body, **headers)
        assert answered.status == 200
        return answered.header("x-cache-status") or ""

    @property
    def calls(self) -> int:
        return len(self.stage.received)


@pytest.fixture
def scene(stage: Stage) -> Scene:
    return Scene(stage)


async def test_the_same_is_answered_once(scene: Scene) -> None:
    await scene.start(good(ANSWER, "x-run: 17"))
    first, again = await scene.ask(), await scene.ask()
    assert (first.header("x-cache-status"), again.header("x-cache-status")) == ("miss", "hit")
    assert first.body == again.body == ANSWER and scene.calls == 1
    assert (first.header("age"), again.header("age")) == (None, "0")
    assert again.header("content-type") == "application/json"
    assert (first.header("x-run"), again.header("x-run")) == ("17", None), "it spoke of another request"
    rows = scene.stage.closed()
    assert [(row.outcome, row.tokens_source, row.opened.backend) for row in rows] == [
        ("complete", "counted", "up"), ("answered", "none", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "hit"),
        ({"temperature": 0.5}, "miss"),
        ({"messages": []}, "miss"),
        ({"stream": True}, "miss"),
        ({"model": "twin"}, "hit"),
        ({"user": "u"}, "miss"),
        ({"stream_options": {"include_usage": True}}, "miss"),
    ],
)
async def test_what_changes_the_answer_is_in_the_key(scene: Scene, changed: dict[str, Any], told: str) -> None:
    await scene.start(good())
    await scene.ask()
    assert await scene.told(asking(**changed)) == told


async def test_spelling_does_not_change_the_key(scene: Scene) -> None:
    await scene.start(good())
    await scene.ask(b'{"model": "m", "messages": [{"role":"user"}], "top_p": 1}')
    assert await scene.told(b'{ "top_p":1,\n"messages":[ {"role" : "user"} ], "model":"m"}') == "hit"


@pytest.mark.parametrize(("path", "headers"), [("/v1/completions", {}), ("/v1/chat/completions?x=1", {}),
                                               ("/v1/chat/completions", {"accept": "text/event-stream"})])  # fmt: skip
async def test_path_query_and_headers_are_in_the_key(scene: Scene, path: str, headers: dict[str, str]) -> None:
    await scene.start(good())
    await scene.ask()
    assert (await scene.ask(None, path, **headers)).header("x-cache-status") == "miss"


async def test_fields_that_do_not_matter_are_left_out(scene: Scene) -> None:
    await scene.start(good(), settings="ignore: [user]")
    await scene.ask(asking(user="a"))
    assert await scene.told(asking(user="b")) == "hit"


# --- tenants


@pytest.mark.parametrize(
    ("tenant", "shared_with"),
    [("consumer", {KEY, SECOND}), ("project", {KEY, SECOND, LAB}), ("all", {KEY, SECOND, LAB, OTHER})],
)
async def test_s62_tenants_with_the_same_prompt_share_nothing(scene: Scene, tenant: str, shared_with: set[str]) -> None:
    await scene.start(good(), settings=f"tenant: {tenant}")
    await scene.ask()
    for key in (SECOND, LAB, OTHER):
        told = (await scene.ask(key=key)).header("x-cache-status")
        assert told == ("hit" if key in shared_with else "miss"), key


async def test_s62_a_tenant_does_not_wait_for_another_ones_answer(scene: Scene) -> None:
    await scene.start(good())
    await asyncio.gather(*(scene.ask(key=key) for key in (KEY, OTHER)))
    assert scene.calls == 2


async def test_s62_nobody_can_find_out_what_another_tenant_has_asked(scene: Scene) -> None:
    await scene.start(good())
    await scene.ask()
    guessed = await scene.ask(key=OTHER, cache_control="only-if-cached")
    unknown = await scene.ask(asking(n=2), key=OTHER, cache_control="only-if-cached")
    assert (guessed.status, guessed.number) == (unknown.status, unknown.number) == (504, 1810)


async def test_s63_a_key_that_is_not_good_gets_nothing_that_is_kept(scene: Scene) -> None:
    await scene.start(good(), settings="tenant: all")
    await scene.ask()
    for key in ("", "key-of-nobody-0001"):
        refused = await scene.ask(key=key)
        assert refused.status == 401 and ANSWER not in refused.body


async def test_s63_in_front_of_authentication_nothing_is_kept(stage: Stage) -> None:
    """At this wrong place of the chain a hit would need no key."""
    text = DOCUMENT.replace("[key_auth, {response_cache: {%s}}", "[{response_cache: {%s}}, key_auth")
    await stage.start(text % ("tenant: all", await stage.upstream(good())))
    for _ in range(2):
        assert (await stage.ask(body=asking())).header("x-cache-status") == "miss"
    assert (await stage.ask(body=asking(), key="")).status == 401


# --- what is kept


@pytest.mark.parametrize(
    "answer",
    [
        ok(ANSWER, "content-type: application/json", status="500 Internal Server Error"),
        ok(ANSWER, "content-type: application/json", status="400 Bad Request"),
        ok(ANSWER, "content-type: application/json", status="201 Created"),
        good(b'{"error":{"message":"out of memory"}}'),
        good(b'{"status":"in_progress"}'),
        good(ANSWER[:-5]),
        good(b""),
        good(ANSWER, "set-cookie: a=b"),
        good(ANSWER, "cache-control: no-store"),
        good(b'{"choices":"' + b"x" * 500 + b'"}'),
        chunked(*EVENTS, b'data: {"error":{"message":"gone"}}\n\n'),
        chunked(*EVENTS, end=True),  # ends without saying so
        good(ANSWER)[:-5] + b"",
    ],
    ids=["500", "400", "201", "error", "unfinished", "cut json", "empty", "cookie", "no-store", "large", "in-band",
         "no end", "truncated"],
)  # fmt: skip
async def test_s63_failures_and_what_is_cut_are_not_kept(stage: Stage, answer: bytes) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(1000)
        stage.received.append(b"")
        writer.write(answer)
        writer.close()

    origin = await stage.site.upstream(broken)
    await stage.start(DOCUMENT % ("entry: 400", f"http://127.0.0.1:{origin.port}"))
    for _ in range(2):
        client = await stage.send("POST", "/v1/x", asking(stream=b"event-stream" in answer), connection="close")
        assert b"x-cache-status: miss" in (await client.head()).lower()
        await client.rest()
    assert len(stage.received) == 2


async def test_a_stream_is_replayed_as_a_stream(scene: Scene) -> None:
    await scene.start(STREAM)
    body = asking(stream=True)
    first, again = await scene.ask(body), await scene.ask(body)
    assert first.body == again.body == b"".join([*EVENTS, END, DONE]), "the usage was asked for by us alone"
    for answered in (first, again):
        assert answered.header("content-type") == "text/event-stream"
        assert answered.header("transfer-encoding") == "chunked"
        assert answered.header("x-accel-buffering") == "no"
    assert again.header("x-cache-status") == "hit"


async def test_a_replayed_stream_has_the_usage_that_was_asked_for(scene: Scene) -> None:
    await scene.start(STREAM)
    body = asking(stream=True, stream_options={"include_usage": True})
    await scene.ask(body)
    again = await scene.ask(body)
    assert again.header("x-cache-status") == "hit" and USAGE in again.body and again.body.endswith(DONE)


# --- what a request may ask of the cache


@pytest.mark.parametrize(
    ("control", "told", "then"),
    [("no-store", "bypass", "hit"), ("no-cache", "bypass", "hit"), ("max-age=0", "bypass", "hit"),
     ("max-age=60", "hit", "hit"), ("only-if-cached", "hit", "hit")],
)  # fmt: skip
async def test_cache_control_of_a_request_on_what_is_kept(scene: Scene, control: str, told: str, then: str) -> None:
    await scene.start(good())
    await scene.ask()
    assert await scene.told(cache_control=control) == told
    assert await scene.told() == then


@pytest.mark.parametrize(
    ("control", "told", "then"),
    [("no-store", "bypass", "miss"), ("no-cache", "bypass", "hit"), ("max-age=0", "bypass", "hit"),
     ("max-age=60", "miss", "hit")],
)  # fmt: skip
async def test_cache_control_of_a_request_on_what_is_new(scene: Scene, control: str, told: str, then: str) -> None:
    await scene.start(good())
    assert await scene.told(cache_control=control) == told
    assert await scene.told() == then


async def test_no_cache_renews_what_is_kept(scene: Scene) -> None:
    await scene.start(good(), good(b'{"n":2}'))
    await scene.ask()
    assert (await scene.ask(cache_control="no-cache")).body == b'{"n":2}'
    assert (await scene.ask()).body == b'{"n":2}' and scene.calls == 2


async def test_only_if_cached_never_asks_an_engine(scene: Scene) -> None:
    await scene.start(good())
    answered = await scene.ask(cache_control="only-if-cached")
    assert (answered.status, answered.number, scene.calls) == (504, 1810, 0)


@pytest.mark.parametrize(
    ("path", "fields", "told"),
    [("/v1/chat/completions", {"temperature": 0}, "hit"), ("/v1/chat/completions", {"temperature": 0.0}, "hit"),
     ("/v1/chat/completions", {"temperature": 0.1}, "bypass"), ("/v1/chat/completions", {}, "bypass"),
     ("/v1/chat/completions", {"temperature": "0"}, "bypass"), ("/v1/embeddings", {}, "hit")],
)  # fmt: skip
async def test_deterministic_only(scene: Scene, path: str, fields: dict[str, Any], told: str) -> None:
    await scene.start(good(), settings="deterministic_only: true")
    await scene.ask(asking(**fields), path)
    assert (await scene.ask(asking(**fields), path)).header("x-cache-status") == told


@pytest.mark.parametrize(("patterns", "told"), [('["m*"]', "hit"), ('["x*"]', "bypass")])
async def test_only_these_models(scene: Scene, patterns: str, told: str) -> None:
    await scene.start(good(), settings=f"models: {patterns}")
    await scene.ask()
    assert await scene.told() == told


# --- what a hit costs


@pytest.mark.parametrize(
    ("chain", "settings", "used", "outcome"),
    [("response_cache, quota", "", 1000, "answered"), ("quota, response_cache", "", 2000, "answered"),
     ("quota, response_cache", "keep_units: false", 1000, "answered_free")],
)  # fmt: skip
async def test_units_of_a_hit(stage: Stage, chain: str, settings: str, used: int, outcome: str) -> None:
    plugins = chain.replace("response_cache", f"{{response_cache: {{{settings}}}}}")
    text = DOCUMENT.replace("{response_cache: {%s}}, quota", plugins.replace("%", "%%"))
    await stage.start(text % await stage.upstream(good()))
    for _ in range(2):
        await stage.ask(body=asking())
    assert stage.closed()[-1].outcome == outcome
    stage.wallet.drain()
    await eventually(lambda: stage.used() == used)


async def test_tokens_of_a_hit_are_counted_where_that_is_wanted(scene: Scene) -> None:
    await scene.start(good(), settings="keep_tokens: true")
    await scene.ask()
    await scene.ask()
    rows = scene.stage.closed()
    assert [(row.tokens_in, row.tokens_out, row.tokens_source) for row in rows] == [(5, 7, "counted")] * 2


# --- requests that are under way


class Gate:
    """An upstream that counts, and answers when it is told to."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.open = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
            await reader.readexactly(length)
            self.calls += 1
            await self.open.wait()
            writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])


async def crowd(stage: Stage, gate: Gate, count: int, settings: str = "") -> list[RawClient]:
    """So many identical requests, of which the upstream has seen the first."""
    origin = await stage.site.upstream(gate)
    await stage.start(DOCUMENT % (settings, f"http://127.0.0.1:{origin.port}"))
    clients = [await stage.send("POST", "/v1/x", asking()) for _ in range(count)]
    await eventually(lambda: gate.calls == 1)
    return clients


async def test_a_crowd_that_asks_the_same_reaches_the_engine_once(stage: Stage) -> None:
    gate = Gate(good())
    clients = await crowd(stage, gate, 100)
    gate.open.set()
    answers = [await read_answer(client) for client in clients]
    assert {answered.body for answered in answers} == {ANSWER} and gate.calls == 1
    told = [answered.header("x-cache-status") for answered in answers]
    assert sorted(set(told)) == ["coalesced", "miss"] and told.count("miss") == 1


async def test_a_failure_is_passed_on_once(stage: Stage) -> None:
    gate = Gate(ok(b"", status="500 X"), ok(b"", status="503 X"), good())
    clients = await crowd(stage, gate, 20)
    gate.open.set()
    answers = [await read_answer(client) for client in clients]
    assert [answered.status for answered in answers] == [500, 503] + [200] * 18
    assert gate.calls == 3


async def test_what_is_for_nobody_else_is_waited_for_by_nobody(stage: Stage) -> None:
    gate = Gate(ok(b"{}", status="400 Bad Request"))
    clients = await crowd(stage, gate, 10)
    gate.open.set()
    assert {(await read_answer(client)).status for client in clients} == {400}
    assert gate.calls == 10


async def test_the_one_that_asks_may_leave(stage: Stage) -> None:
    gate = Gate(good())
    clients = await crowd(stage, gate, 5)
    clients[0].close()
    await eventually(lambda: gate.calls == 2)
    gate.open.set()
    assert {(await read_answer(client)).status for client in clients[1:]} == {200}
    assert gate.calls == 2


async def test_those_that_wait_may_leave(stage: Stage) -> None:
    gate = Gate(good())
    clients = await crowd(stage, gate, 5)
    for client in clients[1:4]:
        client.close()
    await eventually(lambda: len(stage.closed()) == 3)
    assert {row.outcome for row in stage.closed()} == {"left_waiting"}
    gate.open.set()
    assert [(await read_answer(clients[at])).status for at in (0, 4)] == [200, 200]
    assert gate.calls == 1


async def test_nobody_waits_for_longer_than_he_wants(stage: Stage) -> None:
    gate = Gate(good())
    clients = await crowd(stage, gate, 3, "wait: 50ms")
    await eventually(lambda: gate.calls == 3)
    gate.open.set()
    assert {(await read_answer(client)).status for client in clients} == {200}


async def test_waiting_is_told_as_waiting(stage: Stage) -> None:
    gate = Gate(good())
    clients = await crowd(stage, gate, 2)
    await asyncio.sleep(0.05)
    gate.open.set()
    for client in clients:
        await read_answer(client)
    row = next(row for row in stage.closed() if row.outcome == "answered")
    assert row.queue_us > 30_000 and row.overhead_us < 30_000


async def test_what_is_under_way_has_a_bound(scene: Scene) -> None:
    await scene.start(good(b'{"n":"' + b"x" * 300 + b'"}'), settings="size: 900, entry: 900")
    (plugin,) = (plugin for plugin in scene.stage.assembly.plugins if isinstance(plugin, Plugin))
    plugin._collected = 700
    await scene.ask()
    assert (plugin._collected, await scene.told()) == (700, "miss")
    plugin._collected = 0
    await scene.ask()
    assert (plugin._collected, await scene.told()) == (0, "hit")


@pytest.mark.parametrize("seed", range(20))
async def test_one_leads_at_a_time_and_nobody_is_forgotten(seed: int) -> None:
    random, flights, key = Random(seed), Flights(), b"key"
    leading = most = 0

    async def request() -> Entry | Turn:
        nonlocal leading, most
        turn = Turn.LEAD if flights.open(key) else await flights.wait(key, random.choice([0.002, 5]))
        if turn is not Turn.LEAD:
            return turn
        leading += 1
        most = max(most, leading)
        try:
            await asyncio.sleep(random.random() / 500)
        finally:
            leading -= 1
            entry = random.choice([ENTRY, None, None])
            flights.end(key, entry, has_answer=random.random() < 0.2)
        return turn

    tasks = []
    for _ in range(60):
        tasks.append(asyncio.ensure_future(request()))
        if random.random() < 0.3:
            random.choice(tasks).cancel()
        if random.random() < 0.2:
            await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 1 and not flights._waiting
    assert all(isinstance(end, Entry | Turn | asyncio.CancelledError) for end in ended)


# --- several workers


class SharedMemory:
    """What all workers know together, without a supervisor."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.said: set[bytes] = set()
        self.is_down = False

    async def get(self, key: bytes) -> bytes | None:
        await asyncio.sleep(0)
        return None if self.is_down else self.values.get(key)

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        await asyncio.sleep(0)
        assert 0 < ttl <= 600
        self.values[key] = value

    async def remove(self, key: bytes) -> None:
        await asyncio.sleep(0)
        self.said.discard(key)
        self.values.pop(key, None)

    async def add(self, key: bytes, ttl: float) -> bool:
        await asyncio.sleep(0)
        if self.is_down:
            raise ConnectionError
        is_new = key not in self.said
        self.said.add(key)
        return is_new


def workers(shared: SharedMemory) -> list[Workers]:
    return [Workers(shared, time.monotonic, lambda: ENTRY.made) for _ in range(2)]


def draft() -> Draft:
    return Draft(b"key", None, 1000)


ENTRY = Entry(1_700_000_000.0, ((b"content-type", b"application/json"),), ANSWER, (5, 7, 0, "counted"))


async def test_one_worker_asks_and_the_others_look_for_its_answer() -> None:
    first, second = workers(SharedMemory())
    leading, following = draft(), draft()
    assert await first.claim(leading, 5) == (None, False) and leading.locked
    looking = asyncio.ensure_future(second.claim(following, 5))
    await asyncio.sleep(0.03)
    assert not looking.done()
    await first.publish(leading, ENTRY, 600)
    assert await looking == (ENTRY, True) and not following.locked
    assert await first.claim(draft(), 5) == (ENTRY, False)


async def test_a_worker_that_failed_leaves_the_lead_to_another() -> None:
    first, second = workers(SharedMemory())
    leading, following = draft(), draft()
    await first.claim(leading, 5)
    looking = asyncio.ensure_future(second.claim(following, 5))
    await asyncio.sleep(0.03)
    await first.publish(leading, None, 600)
    assert await looking == (None, True) and following.locked


async def test_an_answer_that_comes_in_between_is_not_asked_for_again() -> None:
    shared = SharedMemory()
    first, second = workers(shared)
    leading, following = draft(), draft()
    await first.claim(leading, 5)
    shared.values.clear()

    async def publish_at_once(key: bytes) -> bytes | None:
        shared.get = SharedMemory.get.__get__(shared)  # type: ignore[method-assign]
        await first.publish(leading, ENTRY, 600)
        return None  # it was not there yet when this was asked

    shared.get = publish_at_once  # type: ignore[method-assign]
    assert await second.claim(following, 5) == (ENTRY, False)
    await second.publish(following, None, 600)
    assert not shared.said


async def test_an_answer_that_grew_too_old_meanwhile_is_not_shared() -> None:
    shared = SharedMemory()
    leading = draft()
    worker = Workers(shared, time.monotonic, lambda: ENTRY.made + 600)
    await worker.claim(leading, 5)
    await worker.publish(leading, ENTRY, 600)
    assert not shared.values and not shared.said


@pytest.mark.parametrize("is_down", [True, False])
async def test_nobody_waits_for_ever_for_another_worker(is_down: bool) -> None:
    shared = SharedMemory()
    first, second = workers(shared)
    await first.claim(draft(), 5)
    shared.is_down = is_down
    entry, _ = await second.claim(draft(), 0.02)
    assert entry is None


def test_an_entry_of_another_version_is_none() -> None:
    assert decode_entry(encode_entry(ENTRY)) == ENTRY
    assert decode_entry(b"\x91\x01") is decode_entry(b"") is decode_entry(None) is None


async def pieces(body: bytes) -> list[bytes]:
    reply = Entry(0.0, ((b"content-type", b"text/event-stream"),), body, (0, 0, 0, "none")).replay(0.0, True)
    assert isinstance(reply.body, AsyncIterator)
    return [piece async for piece in reply.body]


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 1000])
@pytest.mark.parametrize("rest", [b"", b"data: [DONE]"])
async def test_a_stream_is_replayed_in_pieces_of_whole_events(count: int, rest: bytes) -> None:
    events = [b"data: %d\n\n" % number for number in range(count)]
    body = b"".join(events) + rest
    got = await pieces(body)
    assert b"".join(got) == body and len(got) <= 66
    assert all(piece.endswith(b"\n\n") for piece in got[:-1])
    if count < 64:
        assert got == [*events, rest][: len(events) + bool(rest)], "a short one event by event"


# --- the store of one worker


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3000), st.sampled_from([0.0, 1.0, 9.0]), st.floats(0, 2)))
)
def test_the_store_keeps_to_its_size(steps: list[tuple[str, int, float, float]]) -> None:
    now, grown, latest = 0.0, 0, {}

    def grew(by: int) -> None:
        nonlocal grown
        grown += by

    store = Store(lambda: now, 4000, grew)
    for name, size, ttl, passes in steps:
        now += passes
        entry = Entry(now, (), b"x" * size, (0, 0, 0, "none"))
        store.put(name.encode(), entry, ttl)
        latest[name] = (entry, now + ttl)
        assert store.size == grown == sum(kept.size for _, kept in store._entries.values()) <= 4000
        for known, (made, ends) in latest.items():
            assert store.get(known.encode()) in ((None, made) if now < ends else (None,))
    store.clear()
    assert store.size == grown == 0


def test_what_was_used_longest_ago_goes_first() -> None:
    store = Store(lambda: 0.0, 3 * ENTRY.size, lambda _: None)
    for key in (b"a", b"b", b"c"):
        store.put(key, ENTRY, 9)
    store.get(b"a")
    store.put(b"d", ENTRY, 9)
    assert [key for key in (b"a", b"b", b"c", b"d") if store.get(key)] == [b"a", b"c", b"d"]


# --- settings


@pytest.mark.parametrize("settings", [{"entry": 2, "size": 1}, {"ttl": 0}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"entry|ttl"):
        Settings(**settings)
