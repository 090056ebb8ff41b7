"""The vectors are those of the W3C's own suite for Trace Context (w3c/trace-context, test/test.py, level 2)."""

import json
import re

import pytest

from gateway.http.head import RequestHead
from gateway.journal import Opened
from gateway.relay.ids import Ids
from gateway.relay.trace import Trace, find_trace
from tests.gateway.relay.stage import KEY, Stage, ok

ID = "0" * 12 + "5" * 4 + "89abcdef01234567"
GIVEN = "12345678901234567890123456789012"
PARENT = "1234567890123456"
VALID = f"00-{GIVEN}-{PARENT}-01"
BEGUN = Trace(ID, "89abcdef01234567")
_is_header = re.compile(rb"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\r\n").fullmatch


def trace(*fields: tuple[str, str]) -> Trace:
    return find_trace(RequestHead("GET", b"/", "1.1", [(name.encode(), value.encode()) for name, value in fields]), ID)


def state(*values: str) -> str:
    found = trace(("traceparent", f"00-{GIVEN}-{PARENT}-00"), *[("tracestate", value) for value in values])
    assert found.id == GIVEN, "a broken tracestate does not affect traceparent"
    return found.state.decode()


@pytest.mark.parametrize(
    "value",
    [
        f"00-{GIVEN}-{PARENT}-01.",
        f"00-{GIVEN}-{PARENT}-01-what-the-future-will-be-like",
        f"cc-{GIVEN}-{PARENT}-01.what-the-future-will-be-like",
        f"ff-{GIVEN}-{PARENT}-01",
        f".0-{GIVEN}-{PARENT}-01",
        f"0.-{GIVEN}-{PARENT}-01",
        f"000-{GIVEN}-{PARENT}-01",
        f"0000-{GIVEN}-{PARENT}-01",
        f"0-{GIVEN}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-.2345678901234567890123456789012-{PARENT}-01",
        f"00-1234567890123456789012345678901.-{PARENT}-01",
        f"00-{'A' * 32}-{PARENT}-01",
        f"00-{GIVEN}3-{PARENT}-01",
        f"00-{GIVEN[:-1]}-{PARENT}-01",
        f"00-{GIVEN}-{'0' * 16}-01",
        f"00-{GIVEN}-.234567890123456-01",
        f"00-{GIVEN}-123456789012345.-01",
        f"00-{GIVEN}-{PARENT}7-01",
        f"00-{GIVEN}-{PARENT[:-1]}-01",
        f"00-{GIVEN}-{PARENT}-.0",
        f"00-{GIVEN}-{PARENT}-0.",
        f"00-{GIVEN}-{PARENT}-001",
        f"00-{GIVEN}-{PARENT}-1",
        "",
        "00",
    ],
)
def test_what_is_not_valid_begins_a_trace(value: str) -> None:
    assert trace(("traceparent", value), ("tracestate", "foo=1")) == BEGUN


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (VALID, "01"),
        (f"00-{GIVEN}-{PARENT}-00", "00"),
        (f"00-{GIVEN}-{PARENT}-02", "02"),
        (f"00-{GIVEN}-{PARENT}-ff", "03"),
        (f"cc-{GIVEN}-{PARENT}-01", "01"),
        (f"cc-{GIVEN}-{PARENT}-01-what-the-future-will-be-like", "01"),
    ],
)
def test_what_is_valid_goes_on_under_our_own_span(value: str, flags: str) -> None:
    found = trace(("traceparent", value))
    assert found == Trace(GIVEN, BEGUN.span, PARENT, flags)
    assert found.tell(True) == f"traceparent: 00-{GIVEN}-{BEGUN.span}-{flags}\r\n".encode()


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("traceparent", VALID), ("traceparent", VALID)],
        [("traceparent", f"00-{GIVEN[:-1]}1-{PARENT}-01"), ("traceparent", VALID)],
        [("trace-parent", VALID)],
        [("trace.parent", VALID)],
        [("tracestate", "foo=1")],
        [("tracestate", "foo=1,bar=2")],
    ],
)
def test_without_a_single_parent_the_trace_begins_here(fields: list[tuple[str, str]]) -> None:
    assert trace(*fields) == BEGUN
    assert trace(*fields).tell(True) == f"traceparent: 00-{ID}-{BEGUN.span}-03\r\n".encode()


ALLOWED = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
VALUE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")
MANY = [",".join(f"bar{n:02}={n:02}" for n in range(first, min(first + 10, 33))) for first in range(1, 33, 10)]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        (["foo=1,bar=2"], "foo=1,bar=2"),
        ([""], ""),
        (["foo=1", ""], "foo=1"),
        (["", "foo=1"], "foo=1"),
        (["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3"),
        (["foo=1,foo=1"], "foo=1"),
        (["foo=1", "foo=2"], "foo=1"),
        ([f"{ALLOWED}={VALUE}"], f"{ALLOWED}={VALUE}"),
        ([f"{ALLOWED}@a-z0-9_-*/={VALUE}"], f"{ALLOWED}@a-z0-9_-*/={VALUE}"),
        (["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
        (["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], "foo=1,bar=2,baz=3"),
        (["\t foo=1 \t"], "foo=1"),
        (["foo =1"], ""),
        (["FOO=1"], ""),
        (["foo.bar=1"], ""),
        (["foo@=1,bar=2"], "foo@=1,bar=2"),
        (["@foo=1,bar=2"], ""),
        (["foo@@bar=1,bar=2"], "foo@@bar=1,bar=2"),
        (["foo@bar@baz=1,bar=2"], "foo@bar@baz=1,bar=2"),
        (MANY, ",".join(MANY)),
        ([*MANY, "bar33=33"], ""),
        (["foo=1", "z" * 256 + "=1"], "foo=1," + "z" * 256 + "=1"),
        (["foo=1", "z" * 257 + "=1"], ""),
        (["foo=1", "t" * 241 + "@" + "v" * 14 + "=1"], "foo=1," + "t" * 241 + "@" + "v" * 14 + "=1"),
        (["foo=1", "t" * 242 + "@v=1"], "foo=1," + "t" * 242 + "@v=1"),
        (["foo=bar=baz"], ""),
        (["foo=,bar=3"], ""),
        (["foo=a\x7f"], ""),
    ],
)
def test_tracestate(values: list[str], kept: str) -> None:
    assert state(*values) == kept


def test_what_the_caller_made_up_is_told_only_where_all_is() -> None:
    found = trace(("traceparent", VALID), ("tracestate", "foo=1"))
    parent = f"traceparent: 00-{GIVEN}-{BEGUN.span}-01\r\n".encode()
    assert found.tell(False) == parent
    assert found.tell(True) == parent + b"tracestate: foo=1\r\n"


def test_no_two_requests_have_the_same_span() -> None:
    new_id = Ids()
    heads = [RequestHead("GET", b"/", "1.1", [(b"traceparent", VALID.encode())]) for _ in range(100)]
    found = [find_trace(head, new_id()) for head in heads]
    assert len({one.span for one in found}) == 100 and {one.id for one in found} == {GIVEN}
    assert all(_is_header(one.tell(True)) for one in found)


# --- through a relay


def document(url: str, trace: bool = True, headers: bool = True) -> str:
    sections = {
        "plugins": [{"key_auth": {}}, {"request_transform": {"headers": {"set": {"x-team": "a"}}}}],
        "headers": {"trace": trace},
        "backends": {"up": {"http": {"endpoints": [{"url": url}]}, "headers": headers}},
        "routes": [{"path": "/up", "to": "up"}],
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in sections.items())


async def forwarded(stage: Stage, lines: str, **settings: bool) -> tuple[dict[str, str], Opened]:
    """What the upstream got of a request with these header lines, and its row."""
    await stage.start(document(await stage.upstream(ok(b"{}")), **settings))
    client = await stage.site.client(stage.port)
    await client.send(f"GET /up HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n{lines}\r\n".encode())
    assert (await client.answer())[0] == 200
    client.close()
    sent = stage.received[0].decode().lower().split("\r\n")
    found = [tuple(line.split(": ", 1)) for line in sent[1:-2]]
    assert len({name for name, _ in found}) == len(found), "each header once"
    return dict(found), (await stage.row()).opened


@pytest.mark.parametrize("name", ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"])
@pytest.mark.parametrize("value", [VALID, f" \t {VALID}", f"{VALID} \t"])
async def test_any_case_and_space_of_the_header(stage: Stage, name: str, value: str) -> None:
    sent, row = await forwarded(stage, f"{name}: {value}\r\nTraceState: a=1\r\ntracestate: b=2\r\n")
    assert sent["traceparent"] == f"00-{GIVEN}-{row.span}-01" and sent["tracestate"] == "a=1,b=2"
    assert (row.trace, row.parent) == (GIVEN, PARENT) and row.span == row.id[-16:]
    assert sent["x-team"] == "a"


async def test_a_backend_that_gets_no_headers_of_clients_gets_ids_alone(stage: Stage) -> None:
    sent, row = await forwarded(stage, f"traceparent: {VALID}\r\ntracestate: a=1\r\n", headers=False)
    assert sent["traceparent"] == f"00-{GIVEN}-{row.span}-01" and "tracestate" not in sent


async def test_a_gateway_that_takes_no_part_passes_on_what_came(stage: Stage) -> None:
    sent, row = await forwarded(stage, f"traceparent: {VALID}\r\ntracestate: a=1\r\n", trace=False)
    assert (sent["traceparent"], sent["tracestate"]) == (VALID, "a=1")
    assert (row.trace, row.span, row.parent) == ("", "", "")
