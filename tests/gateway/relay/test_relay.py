"""One request, top to bottom: the rows of the table in the relay's README, each seen from all sides."""

import asyncio
import json
import socket
from typing import Any

import pytest

from gateway.exchange import Credential
from gateway.http.server import ServerLimits
from gateway.link import Failed, Release, Slot
from gateway.settings.key import digest
from tests.gateway.http.peers import RawClient, Script, eventually, reset
from tests.gateway.relay.stage import Answered, Stage, chunked, ok, read_answer, read_whole

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 40}]}).encode()
STREAM = json.dumps({"model": "m", "stream": True, "messages": []}).encode()
DELTA = b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = ok(b'{"id":"1","usage":{"prompt_tokens":5,"completion_tokens":7}}', "content-type: application/json")


def document(*urls: str, **route: Any) -> str:
    """A configuration whose backend `up` has these endpoints; `route` is said of /v1/x."""
    sections = {
        "plugins": [{"key_auth": {}}, {"quota": {}}],
        "timeouts": {"first_byte": "200ms", "idle": "200ms", "connect": "1s"},
        "backends": {
            "up": {"http": {"endpoints": [{"url": url} for url in urls]}, "identity": True},
            "engine": {"echo": {}},
        },
        "models": {"m": {"backend": "up", "name": "real-m"}, "e": {"backend": "engine"}},
        "routes": [
            {"path": "/v1/x", **route},
            {"path": "/plain/*", "to": "up", "strip": "/plain"},
            {"path": "/free", "to": "up", "cost": 0},
        ],
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in sections.items())


async def origin(stage: Stage, script: Script) -> str:
    return f"http://127.0.0.1:{(await stage.site.upstream(script)).port}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


# --- an answer that comes whole


async def test_a_whole_answer(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(WHOLE)))
    answered = await stage.ask(body=BODY, x_request_id="mine", cookie="c", x_consumer_id="root", accept="a/b")
    assert (answered.status, answered.number) == (200, 0)
    assert json.loads(answered.body)["id"] == "1"
    assert answered.header("x-request-id") == "mine"
    assert answered.header("x-tollkeeper-backend") == "up"
    assert answered.header("x-ratelimit-remaining") == "149"
    head, _, sent = stage.received[0].partition(b"\r\n\r\n")
    assert json.loads(sent)["model"] == "real-m"
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /v1/x http/1.1"
    assert b"x-request-id: mine" in lines and b"x-consumer-id: acme" in lines and b"accept: a/b" in lines
    assert b"x-consumer-id: root" not in lines
    assert not any(line.startswith((b"authorization", b"cookie")) for line in lines)
    row = await stage.row()
    assert (row.outcome, row.status, row.error, row.units) == ("complete", 200, 0, 1000)
    assert (row.tokens_in, row.tokens_out, row.tokens_source) == (5, 7, "counted")
    assert (row.opened.consumer, row.opened.project, row.opened.credential) == ("acme", "rockets", "main")
    assert (row.opened.model_asked, row.opened.model, row.opened.backend) == ("m", "m", "up")
    assert row.opened.id != "mine" and row.opened.request_id == "mine"
    assert (row.bytes_in, row.bytes_out) == (len(sent), len(answered.body))
    assert stage.used() == 1000


async def test_a_plain_route_passes_bytes_as_they_are(stage: Stage) -> None:
    body = b'{"model": "m",  "model": "n"}\xff'
    await stage.start(
        document(await stage.upstream(ok(b"\x00\xff", "content-type: x/y", "set-cookie: a", "set-cookie: b")))
    )
    answered = await stage.ask("PUT", "/plain/a%20b?q=1&q=2", body)
    assert answered.body == b"\x00\xff"
    assert [line for line in answered.lines if line.startswith("set-cookie")] == ["set-cookie: a", "set-cookie: b"]
    assert stage.received[0].startswith(b"PUT /a%20b?q=1&q=2 HTTP/1.1\r\n")
    assert stage.received[0].endswith(b"\r\n\r\n" + body)
    assert (await stage.row()).tokens_source == "none"


async def test_head_tells_the_length_and_no_body(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n")))
    answered = await stage.ask("HEAD", "/plain/x")
    assert (answered.status, answered.header("content-length")) == (200, "12")
    assert (await stage.row()).outcome == "complete"


async def test_a_route_that_costs_nothing_is_not_counted(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(WHOLE)))
    answered = await stage.ask("GET", "/free")
    assert answered.status == 200 and answered.header("x-ratelimit-remaining") is None
    assert (stage.used(), (await stage.row()).units) == (0, 0)


@pytest.mark.parametrize(
    ("answer", "status", "outcome", "tokens", "blamed"),
    [
        (ok(b'{"error":{}}', status="400 Bad"), 400, "upstream_rejected", ("none", 0), []),
        (ok(b'{"usage":{"prompt_tokens":4}}', status="422 Bad"), 422, "upstream_rejected", ("counted", 4), []),
        (ok(b"oops", status="500 Oops"), 500, "upstream_failed", ("none", 0), ["unclear"]),
        (ok(b"busy", status="503 Busy"), 503, "upstream_failed", ("none", 0), ["endpoint"]),
        (ok(b'{"id":"x"}'), 200, "complete", ("estimated", 19), []),
        (ok(b"not json"), 200, "complete", ("estimated", 19), []),
        (ok(b'{"usage":{"prompt_tokens":0,"completion_tokens":0}}'), 200, "complete", ("counted", 0), []),
    ],
)
async def test_what_an_upstream_says_is_passed_on_and_judged(
    stage: Stage, answer: bytes, status: int, outcome: str, tokens: Any, blamed: list[str]
) -> None:
    await stage.start(document(await stage.upstream(answer)))
    answered = await stage.ask(body=BODY)
    assert (answered.status, answered.number) == (status, 0)
    if status < 400:
        assert answered.body == answer.partition(b"\r\n\r\n")[2]
    else:  # none of these is an error that a client of the API would understand
        assert json.loads(answered.body)["error"]["number"] == 1715
    row = await stage.row()
    assert (row.outcome, row.upstream_status, row.units) == (outcome, status, 1000)
    assert (row.tokens_source, row.tokens_in) == tokens
    assert stage.used() == 1000
    assert await stage.blamed() == blamed


async def test_a_large_answer_is_streamed_and_its_usage_is_read_from_its_end(stage: Stage) -> None:
    body = b'{"data":"' + b"x" * 2_000_000 + b'", "usage": {"prompt_tokens":9,"total_tokens":9}}'
    await stage.start(document(await stage.upstream(ok(body, "content-type: application/json"))))
    assert (await stage.ask(body=BODY)).body == body
    row = await stage.row()
    assert (row.outcome, row.tokens_source, row.tokens_in, row.tokens_out) == ("complete", "counted", 9, 0)


# --- an upstream that fails before the first byte


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_whole(reader)


async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_whole(reader)
    reset(writer)


async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_whole(reader)
    await reader.read()


async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_whole(reader)
    writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")


async def send_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_whole(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")


async def say_nothing_at_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_whole(reader)
    writer.write(chunked())


@pytest.mark.parametrize(
    ("script", "body", "status", "number", "blamed"),
    [
        (hang_up, BODY, 502, 1702, ["unclear"]),
        (drop, BODY, 502, 1702, ["unclear"]),
        (stay_silent, BODY, 504, 1805, ["unclear"]),
        (talk_nonsense, BODY, 502, 1703, ["endpoint"]),
        (send_half, BODY, 502, 1705, ["endpoint"]),
        (say_nothing_at_all, STREAM, 502, 1710, []),
    ],
)
async def test_a_failure_before_the_first_byte_has_a_status_and_its_units_stay(
    stage: Stage, script: Script, body: bytes, status: int, number: int, blamed: list[str]
) -> None:
    await stage.start(document(await origin(stage, script)))
    answered = await stage.ask(body=body)
    assert (answered.status, answered.number) == (status, number)
    row = await stage.row()
    assert (row.outcome, row.error, row.status, row.units) == ("upstream_failed", number, status, 1000)
    assert row.tokens_source == "none"
    assert await stage.blamed() == blamed
    assert stage.used() == 1000


async def test_an_upstream_that_is_not_reached_costs_nothing(stage: Stage) -> None:
    await stage.start(document(f"http://127.0.0.1:{free_port()}"))
    answered = await stage.ask(body=BODY)
    assert (answered.status, answered.number) == (502, 1701)
    row = await stage.row()
    assert (row.outcome, row.units) == ("not_reached", 0)
    assert await stage.blamed() == ["endpoint"]
    await eventually(lambda: stage.used() == 0)


# --- streams


async def test_a_stream_ends_when_its_row_is_written(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(chunked(DELTA, DELTA + LAST, USAGE + DONE))))
    answered = await stage.ask(body=STREAM)
    assert answered.body == DELTA + DELTA + LAST + DONE, "the usage that only we asked for is taken out"
    assert json.loads(stage.received[0].partition(b"\r\n\r\n")[2])["stream_options"] == {"include_usage": True}
    (row,) = stage.closed()  # no waiting: it is there before the client has seen the end
    assert (row.outcome, row.tokens_in, row.tokens_out, row.tokens_source) == ("complete", 3, 2, "counted")


@pytest.mark.parametrize("broken", ["connection", "early end", "silence"])
async def test_a_stream_that_breaks_never_looks_whole(stage: Stage, broken: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_whole(reader)
        writer.write(chunked(DELTA, DELTA, end=broken == "early end"))
        await writer.drain()
        if broken == "silence":
            await reader.read()

    await stage.start(document(await origin(stage, script)))
    client = await stage.send("POST", "/v1/x", STREAM)
    got = await client.rest()
    assert got.count(DELTA) == 2 and DONE.strip() not in got and not got.endswith(b"0\r\n\r\n")
    events = [line[6:] for line in got.split(b"\n") if line.startswith(b"data: ")]
    assert json.loads(events[-1])["error"]["number"] == {"silence": 1806}.get(broken, 1705)
    row = await stage.row()
    assert (row.outcome, row.units, row.tokens_source, row.tokens_out) == ("broken", 1000, "estimated", 2)
    assert await stage.blamed() == ["endpoint"]


async def test_an_error_inside_a_stream_is_passed_on_and_noted(stage: Stage) -> None:
    error = b'data: {"error":{"message":"out of memory","type":"server_error"}}\n\n'
    await stage.start(document(await stage.upstream(chunked(DELTA, error))))
    answered = await stage.ask(body=STREAM)
    assert answered.body == DELTA + error, "one error is enough"
    row = await stage.row()
    assert (row.outcome, row.error) == ("broken", 1705)


# --- a client that leaves


async def leave(client: RawClient) -> None:
    client.writer.transport.abort()
    await asyncio.sleep(0)


@pytest.mark.parametrize("streams", [False, True])
async def test_a_client_that_leaves_aborts_its_upstream_and_pays(stage: Stage, streams: bool) -> None:
    left = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_whole(reader)
        if streams:
            writer.write(chunked(DELTA, DELTA, end=False))
        await reader.read()
        left.set()

    await stage.start(document(await origin(stage, script)).replace('"200ms"', '"5s"'))
    client = await stage.send("POST", "/v1/x", STREAM)
    if streams:
        await client.reader.readuntil(DELTA)
    else:
        await asyncio.sleep(0.05)
    await leave(client)
    await asyncio.wait_for(left.wait(), 0.5)
    row = await stage.row()
    assert (row.outcome, row.units, row.cancel) == ("left", 1000, "client")
    assert row.tokens_source == "estimated" and row.tokens_out == (2 if streams else 0)
    assert await stage.blamed() == []
    assert stage.used() == 1000


async def test_a_client_that_leaves_the_queue_gets_its_units_back(stage: Stage) -> None:
    stage.supervisor.slot = asyncio.get_running_loop().create_future()
    await stage.start(document("http://127.0.0.1:1"))
    client = await stage.send("POST", "/v1/x", BODY.replace(b'"m"', b'"e"'))
    await eventually(lambda: stage.supervisor.held)
    await leave(client)
    row = await stage.row()
    assert (row.outcome, row.units, row.status) == ("left_waiting", 0, 499)
    await eventually(lambda: stage.used() == 0 and not stage.supervisor.held)
    stage.supervisor.slot.set_result(Slot("http://127.0.0.1:1"))


# --- engines


@pytest.mark.parametrize(("dead", "number", "outcome"), [(True, 1711, "engine_died"), (False, 1702, "upstream_failed")])
async def test_an_engine_that_dies_is_told_from_one_that_hangs_up(
    stage: Stage, dead: bool, number: int, outcome: str
) -> None:
    stage.supervisor.slot = Slot(await origin(stage, hang_up), "load-1", 0.5, 0.25)
    stage.supervisor.dead = dead
    await stage.start(document("http://127.0.0.1:1"))
    answered = await stage.ask(body=BODY.replace(b'"m"', b'"e"'))
    assert answered.number == number
    row = await stage.row()
    assert (row.outcome, row.units, row.opened.load) == (outcome, 1000, "load-1")
    assert (row.queue_us, row.load_us) == (500_000, 250_000)
    assert row.cancel == ("signal 9" if dead else "")
    await eventually(lambda: stage.supervisor.told(Release))
    assert [release.progress for release in stage.supervisor.told(Release)] == [False]
    assert await stage.blamed() == ["engine"] * dead, "its body is told of; its life is the supervisor's own business"


async def test_a_slot_is_given_back_once_the_answer_is_over(stage: Stage) -> None:
    stage.supervisor.slot = Slot(await stage.upstream(WHOLE), "load-1")
    await stage.start(document("http://127.0.0.1:1"))
    assert (await stage.ask(body=BODY.replace(b'"m"', b'"e"'))).status == 200
    await eventually(lambda: stage.supervisor.told(Release))
    assert [release.progress for release in stage.supervisor.told(Release)] == [True]


async def test_a_full_queue_turns_away_and_costs_nothing(stage: Stage) -> None:
    stage.supervisor.slot = Failed("Too many wait.", 1709, 3.0)
    await stage.start(document("http://127.0.0.1:1"))
    answered = await stage.ask(body=BODY.replace(b'"m"', b'"e"'))
    assert (answered.status, answered.number, answered.header("retry-after")) == (503, 1709, "3")
    row = await stage.row()
    assert (row.outcome, row.units) == ("turned_away", 0)
    await eventually(lambda: stage.used() == 0)


# --- retries


async def test_another_endpoint_is_asked_where_the_first_is_not_reached(stage: Stage) -> None:
    good = await stage.upstream(WHOLE)
    await stage.start(document(f"http://127.0.0.1:{free_port()}", good))
    for _ in range(4):
        assert (await stage.ask(body=BODY)).status == 200
    assert {row.opened.endpoint for row in stage.closed()} == {good}
    assert sum(row.retries for row in stage.closed()) == 0, "what never reached an upstream is no second attempt"
    assert "endpoint" in await stage.blamed()


@pytest.mark.parametrize(("retry", "statuses"), [(True, {200}), (False, {200, 503})])
async def test_a_failed_answer_is_asked_for_again_only_where_the_route_allows(
    stage: Stage, retry: bool, statuses: set[int]
) -> None:
    bad, good = await stage.upstream(ok(b"busy", status="503 Busy")), await stage.upstream(WHOLE)
    await stage.start(document(bad, good, retry=retry))
    answers = [await stage.ask(body=BODY) for _ in range(4)]
    assert {answered.status for answered in answers} == statuses
    assert await stage.blamed() == ["endpoint", "endpoint"], "each failure is told, seen by the client or not"
    assert stage.used() == 4000


async def test_a_kept_connection_that_died_is_replaced_without_a_word(stage: Stage) -> None:
    served = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await read_whole(reader)
        writer.write(WHOLE)
        served += 1
        await read_whole(reader)  # and hangs up on the second request

    await stage.start(document(await origin(stage, script)))
    for _ in range(4):
        assert (await stage.ask(body=BODY)).status == 200
    assert served == 4
    assert await stage.blamed() == []
    assert stage.used() == 4000


# --- refusals


@pytest.mark.parametrize(
    ("method", "path", "key", "body", "status", "number"),
    [
        ("POST", "/v1/x", "", BODY, 401, 1001),
        ("POST", "/v1/x", "no-such-key-1", BODY, 401, 1002),
        ("GET", "/nowhere", "", b"", 401, 1001),  # nobody maps the routes without a key
        ("GET", "/nowhere", "key-of-acme-0001", b"", 404, 1301),
        ("GET", "/v1/x", "key-of-acme-0001", b"", 405, 1207),
        ("POST", "/v1/x", "key-of-acme-0001", b"{", 400, 1210),
        ("POST", "/v1/x", "key-of-acme-0001", b'{"model":"none"}', 404, 1302),
        ("POST", "/v1/x", "key-of-acme-0001", b'{"model":"m","a":"' + b"x" * 10_000 + b'"}', 413, 1208),
    ],
)
async def test_refusals_cost_nothing_and_leave_a_row(
    stage: Stage, method: str, path: str, key: str, body: bytes, status: int, number: int
) -> None:
    await stage.start(document("http://127.0.0.1:1"))
    answered = await stage.ask(method, path, body, key)
    assert (answered.status, answered.number) == (status, number)
    assert answered.header("x-request-id") == json.loads(answered.body)["meta"]["request_id"]
    if number == 1207:
        assert answered.header("allow") == "post"
    row = await stage.row()
    assert (row.error, row.status, row.units) == (number, status, 0)
    assert row.outcome in ("refused", "turned_away")
    await eventually(lambda: stage.used() == 0)


async def test_a_model_that_the_key_may_not_use_is_refused_and_free(stage: Stage) -> None:
    stage.supervisor.keys[digest("another-key-1")] = Credential("k2", "acme", "free", models=("other*",))
    await stage.start(document("http://127.0.0.1:1"))
    answered = await stage.ask(body=BODY, key="another-key-1")
    assert (answered.status, answered.number) == (403, 1101)
    assert (await stage.row()).outcome == "refused"
    await eventually(lambda: stage.used() == 0)


async def test_a_hundred_requests_of_one_name_are_a_hundred_requests(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(WHOLE)))
    answers: list[Answered] = []
    for _ in range(10):
        answers += await asyncio.gather(*[stage.ask(body=BODY, x_request_id="same") for _ in range(10)])
    assert {(answered.status, answered.header("x-request-id")) for answered in answers} == {(200, "same")}
    assert stage.used() == 100_000
    assert len({row.opened.id for row in stage.closed()}) == 100


@pytest.mark.parametrize("name", ["a b", "x" * 65, "ä", "a;b"])
async def test_a_bad_name_of_a_request_is_replaced(stage: Stage, name: str) -> None:
    await stage.start(document(await stage.upstream(WHOLE)))
    told = (await stage.ask(body=BODY, x_request_id=name)).header("x-request-id")
    assert told is not None and len(told) == 32 and told == (await stage.row()).opened.id


async def test_a_bug_is_500_and_free(stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    await stage.start(document(await stage.upstream(WHOLE)))

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gateway.relay.forward.Forwarder._choose", fail)
    answered = await stage.ask(body=BODY)
    assert (answered.status, answered.number) == (500, 1900)
    assert b"ZeroDivisionError" not in answered.body
    assert (await stage.row()).outcome == "failed"
    await eventually(lambda: stage.used() == 0)
    assert "ZeroDivisionError" in caplog.text


# --- bodies on their way up


async def test_a_plain_body_is_streamed_up_while_it_arrives(stage: Stage) -> None:
    seen = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"first")
        seen.set()
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(ok(b"thanks"))

    await stage.start(document(await origin(stage, script)))
    client = await stage.site.client(stage.port)
    await client.send(
        b"POST /plain/up HTTP/1.1\r\nhost: a\r\nauthorization: Bearer key-of-acme-0001\r\n"
        b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    )
    await asyncio.wait_for(seen.wait(), 2)
    await client.send(b"6\r\nsecond\r\n0\r\n\r\n")
    assert (await read_answer(client)).body == b"thanks"


async def test_a_body_that_is_too_large_on_its_way_is_413(stage: Stage) -> None:
    await stage.start(document(await origin(stage, stay_silent)))
    client = await stage.site.client(stage.port)
    await client.send(
        b"POST /plain/up HTTP/1.1\r\nhost: a\r\nauthorization: Bearer key-of-acme-0001\r\n"
        b"transfer-encoding: chunked\r\n\r\n2000\r\n" + b"x" * 0x2000 + b"\r\n"
    )
    await asyncio.sleep(0.02)
    await client.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
    answered = await read_answer(client)
    assert (answered.status, answered.number) == (413, 1208)
    assert await stage.blamed() == []


# --- upgrades


async def test_an_upgrade_is_a_tunnel_behind_the_same_chain(stage: Stage) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"upgrade: websocket" in (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello")
        writer.write(await reader.readexactly(4))
        await writer.drain()

    await stage.start(document(await origin(stage, script)))
    refused = await stage.ask("GET", "/plain/ws", key="", connection="upgrade", upgrade="websocket")
    assert refused.number == 1001
    client = await stage.send("GET", "/plain/ws", connection="upgrade", upgrade="websocket")
    assert (await client.head()).startswith(b"HTTP/1.1 101 ")
    await client.send(b"ping")
    assert await client.rest() == b"helloping"
    await eventually(lambda: len(stage.closed()) == 2)
    row = stage.closed()[-1]
    assert (row.outcome, row.status, row.bytes_out, row.units) == ("complete", 101, 9, 1000)


async def test_a_client_that_does_not_read_is_cut_off(stage: Stage) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_whole(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    await stage.start(document(await origin(stage, script)), ServerLimits(write_timeout=0.2))
    await stage.send("GET", "/plain/x")
    row = await asyncio.wait_for(stage.row(), 5)
    assert (row.outcome, row.error, row.units) == ("left", 1809, 1000)
    assert await stage.blamed() == []
