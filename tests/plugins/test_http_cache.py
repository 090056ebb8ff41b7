"""RFC 9110, 13 (conditions) and RFC 9111 (storing), case by case; the sections stand in the names."""

from hashlib import sha256
from typing import Any

import pytest

from gateway.exchange import Credential, Reply
from gateway.http.head import RequestHead, read_head
from plugins.http_cache import Settings
from plugins.http_cache.condition import Validators, judge
from plugins.http_cache.date import read_date
from plugins.http_cache.stored import find_lifetime, vary_names
from tests.gateway.relay.stage import KEY, Answered, Stage, chunked, ok

NOW = 784_111_777.0 + 60  # a minute after the date that RFC 9110 uses for its examples
DATE, BEFORE, AFTER = (f"Sun, 06 Nov 1994 08:{minute}:37 GMT" for minute in (49, 48, 50))
OLD_FORMS = ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994")
TAG, WEAK, OTHER_TAG = '"a"', 'W/"a"', '"b"'


def head(method: str = "GET", *fields: tuple[str, str]) -> RequestHead:
    lines = [(name.lower().encode(), value.encode()) for name, value in fields]
    return read_head(method.encode(), b"/x", "1.1", [(b"host", b"a"), *lines])


@pytest.mark.parametrize("text", [DATE, *OLD_FORMS])
def test_rfc9110_5_6_7_three_formats_of_dates_are_read(text: str) -> None:
    assert read_date(text.encode(), NOW) == 784_111_777


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "now", "Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 6 Nov 1994 08:49:37 GMT", DATE.lower(),
     "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", f"{DATE}, {DATE}",
     "Sun, 06 Nov 0000 08:49:37 GMT", "1994-11-06T08:49:37Z"],
)  # fmt: skip
def test_rfc9110_5_6_7_what_is_no_date_is_none(text: str) -> None:
    assert read_date(text.encode(), NOW) is None
    assert read_date(None, NOW) is None


@pytest.mark.parametrize(("now", "year"), [(1_800_000_000.0, 1994), (784_111_777.0, 1994), (2_400_000_000.0, 2094)])
def test_rfc9110_5_6_7_two_digits_are_at_most_50_years_ahead(now: float, year: int) -> None:
    found, exact = read_date(OLD_FORMS[0].encode(), now), read_date(f"Sun, 06 Nov {year} 08:49:37 GMT".encode(), now)
    assert found == exact is not None


def test_rfc9110_5_6_7_a_leap_second_is_a_second() -> None:
    assert read_date(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW) == 1_483_228_799


@pytest.mark.parametrize(
    ("etag", "modified", "fields", "verdict"),
    [
        pytest.param(TAG, None, [], 200, id="13.1 no condition"),
        # 13.1.2 If-None-Match
        pytest.param(TAG, None, [("If-None-Match", '"a"')], 304, id="13.1.2 the same"),
        pytest.param(TAG, None, [("If-None-Match", '"b"')], 200, id="13.1.2 another"),
        pytest.param(TAG, None, [("If-None-Match", '"b", "a"')], 304, id="13.1.2 in a list"),
        pytest.param(TAG, None, [("If-None-Match", '"b"'), ("If-None-Match", '"a"')], 304, id="13.1.2 in two fields"),
        pytest.param(TAG, None, [("If-None-Match", '"b","a",')], 304, id="5.6.1 a list with an empty member"),
        pytest.param(TAG, None, [("If-None-Match", "*")], 304, id="13.1.2 any"),
        pytest.param(None, None, [("If-None-Match", "*")], 304, id="13.1.2 any, without a tag"),
        pytest.param(None, None, [("If-None-Match", '"a"')], 200, id="13.1.2 there is no tag"),
        pytest.param(TAG, None, [("If-None-Match", 'W/"a"')], 304, id="8.8.3.2 weak comparison, theirs weak"),
        pytest.param(WEAK, None, [("If-None-Match", '"a"')], 304, id="8.8.3.2 weak comparison, ours weak"),
        pytest.param(WEAK, None, [("If-None-Match", 'W/"a"')], 304, id="8.8.3.2 weak comparison, both"),
        pytest.param(TAG, None, [("If-None-Match", "a")], 200, id="8.8.3 a tag has quotes"),
        pytest.param(TAG, None, [("If-None-Match", 'w/"b", "A"')], 200, id="8.8.3 case matters"),
        pytest.param('"a,b"', None, [("If-None-Match", '"a,b"')], 304, id="8.8.3 a comma within a tag"),
        # 13.1.1 If-Match
        pytest.param(TAG, None, [("If-Match", '"a"')], 200, id="13.1.1 the same"),
        pytest.param(TAG, None, [("If-Match", '"b"')], 412, id="13.1.1 another"),
        pytest.param(TAG, None, [("If-Match", '"b", "a"')], 200, id="13.1.1 in a list"),
        pytest.param(TAG, None, [("If-Match", "*")], 200, id="13.1.1 any"),
        pytest.param(TAG, None, [("If-Match", 'W/"a"')], 412, id="13.1.1 strong comparison, theirs weak"),
        pytest.param(WEAK, None, [("If-Match", 'W/"a"')], 412, id="13.1.1 strong comparison, both weak"),
        pytest.param(None, None, [("If-Match", '"a"')], 412, id="13.1.1 there is no tag"),
        # 13.1.3 If-Modified-Since
        *(pytest.param(None, DATE, [("If-Modified-Since", text)], 304, id=f"13.1.3 not since, {text}")
          for text in (DATE, *OLD_FORMS, AFTER)),
        pytest.param(None, DATE, [("If-Modified-Since", BEFORE)], 200, id="13.1.3 since"),
        pytest.param(None, DATE, [("If-Modified-Since", "yesterday")], 200, id="13.1.3 no date"),
        pytest.param(None, DATE, [("If-Modified-Since", AFTER), ("If-Modified-Since", AFTER)], 200, id="13.1.3 twice"),
        pytest.param(None, None, [("If-Modified-Since", AFTER)], 200, id="13.1.3 nobody knows since when"),
        # 13.1.4 If-Unmodified-Since
        pytest.param(None, DATE, [("If-Unmodified-Since", DATE)], 200, id="13.1.4 not since"),
        pytest.param(None, DATE, [("If-Unmodified-Since", BEFORE)], 412, id="13.1.4 since"),
        pytest.param(None, DATE, [("If-Unmodified-Since", "never")], 200, id="13.1.4 no date"),
        pytest.param(None, None, [("If-Unmodified-Since", BEFORE)], 200, id="13.1.4 nobody knows since when"),
        # 13.2.2 precedence
        pytest.param(TAG, DATE, [("If-None-Match", '"b"'), ("If-Modified-Since", AFTER)], 200,
                     id="13.1.3 ignored with If-None-Match"),
        pytest.param(TAG, DATE, [("If-None-Match", '"a"'), ("If-Modified-Since", BEFORE)], 304,
                     id="13.2.2 step 3 before 4"),
        pytest.param(TAG, DATE, [("If-Match", '"a"'), ("If-Unmodified-Since", BEFORE)], 200,
                     id="13.1.4 ignored with If-Match"),
        pytest.param(TAG, DATE, [("If-Match", '"b"'), ("If-None-Match", '"a"')], 412, id="13.2.2 step 1 before 3"),
        pytest.param(TAG, DATE, [("If-Match", '"a"'), ("If-None-Match", '"a"')], 304, id="13.2.2 step 1, then 3"),
        pytest.param(TAG, DATE, [("If-Unmodified-Since", BEFORE), ("If-None-Match", '"a"')], 412,
                     id="13.2.2 step 2 before 3"),
    ],
)  # fmt: skip
def test_rfc9110_13(etag: str | None, modified: str | None, fields: list[tuple[str, str]], verdict: int) -> None:
    ours = Validators(etag.encode() if etag else None, modified.encode() if modified else None)
    for method in ("GET", "HEAD"):
        assert judge(head(method, *fields), ours, NOW) == verdict


@pytest.mark.parametrize(
    ("fields", "lifetime"),
    [
        pytest.param([], 60, id="4.2.2 nothing said: the operator's"),
        pytest.param([("cache-control", "max-age=5")], 5, id="5.2.2.1 max-age"),
        pytest.param([("cache-control", "max-age=0")], 0, id="5.2.2.1 max-age 0"),
        pytest.param([("cache-control", "max-age=x")], 0, id="4.2.1 unreadable is stale"),
        pytest.param([("cache-control", "max-age=5, max-age=9")], 5, id="4.2.1 the first of two"),
        pytest.param([("cache-control", 'max-age="5"')], 5, id="5.2 a quoted value"),
        pytest.param([("cache-control", "max-age=5, s-maxage=7")], 7, id="5.2.2.10 s-maxage"),
        pytest.param([("cache-control", "public"), ("cache-control", "max-age=5")], 5, id="5.2 two fields"),
        pytest.param([("cache-control", "MAX-AGE=5, Must-Revalidate")], 5, id="5.2 case, 5.2.2.2 never stale anyway"),
        pytest.param([("cache-control", "no-store")], 0, id="5.2.2.5 no-store"),
        pytest.param([("cache-control", "private, max-age=5")], 0, id="5.2.2.7 private"),
        pytest.param([("cache-control", 'private="x", max-age=5')], 0, id="5.2.2.7 private with fields"),
        pytest.param([("cache-control", "no-cache")], 0, id="5.2.2.4 no-cache"),
        pytest.param([("cache-control", "max-age=5"), ("set-cookie", "a=b")], 0, id="7.3 Set-Cookie"),
        pytest.param([("expires", AFTER)], 0, id="5.3 Expires, over"),
        pytest.param([("expires", "Sun, 06 Nov 1994 08:51:37 GMT")], 60, id="5.3 Expires"),
        pytest.param([("expires", "0")], 0, id="5.3 an invalid date is past"),
        pytest.param([("expires", AFTER), ("cache-control", "max-age=5")], 5, id="5.3 max-age overrides Expires"),
        pytest.param([("x", "y")], 60, id="other fields"),
    ],
)
def test_rfc9111_how_long_an_answer_may_be_kept(fields: list[tuple[str, str]], lifetime: float) -> None:
    reply = Reply(200, [(name.encode(), value.encode()) for name, value in fields], b"x")
    assert find_lifetime(reply, 60.0, False, NOW) == lifetime


@pytest.mark.parametrize(
    ("control", "lifetime"),
    [("", 60), ("max-age=5", 0), ("public, max-age=5", 5), ("s-maxage=5", 5), ("max-age=5, must-revalidate", 5)],
)
def test_s63_rfc9111_3_5_between_users_only_in_so_many_words(control: str, lifetime: float) -> None:
    reply = Reply(200, [(b"cache-control", control.encode())] if control else [], b"x")
    assert find_lifetime(reply, 60.0, True, NOW) == lifetime


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ([], []),
        ([("vary", "Accept-Language, x-a"), ("vary", "X-A,")], [b"accept-language", b"x-a"]),
        ([("vary", "accept, *")], None),
        ([("content-encoding", "gzip")], [b"accept-encoding"]),
    ],
)
def test_rfc9111_4_1_what_an_answer_varies_on(fields: list[tuple[str, str]], names: list[bytes] | None) -> None:
    assert vary_names(Reply(200, [(name.encode(), value.encode()) for name, value in fields])) == names


# --- in the relay

SECOND, NARROW, LAB, OTHER = "second-key-of-acme", "narrow-key-of-acme", "key-of-acmes-lab-1", "key-of-umbrella-01"
DOCUMENT = """
plugins: [key_auth, {http_cache: {%s}}, quota]
backends: {up: {http: {endpoints: [{url: "%s"}]}}}
models: {m: {backend: up}, n: {backend: up}}
routes: [{path: /plain/*, to: up}]
"""
BODY = b'{"data":[1,2]}'
ETAG = f'"{sha256(BODY).hexdigest()}"'


class Scene:
    """A stage whose upstream gives these answers one after the other."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def start(self, *answers: bytes, settings: str = "store: true") -> "Scene":
        for key, credential in (
            (SECOND, Credential("second", "acme", "free", "rockets")),
            (NARROW, Credential("narrow", "acme", "free", "rockets", key_models=("n",))),
            (LAB, Credential("lab", "lab", "free", "rockets")),
            (OTHER, Credential("other", "umbrella", "free")),
        ):
            self.stage.supervisor.keys[sha256(key.encode()).digest()] = credential
        await self.stage.start(DOCUMENT % (settings, await self.stage.upstream(*answers)))
        return self

    async def ask(self, method: str = "GET", path: str = "/plain/x", **headers: str) -> Answered:
        return await self.stage.ask(method, path, **headers)

    async def told(self, method: str = "GET", path: str = "/plain/x", **headers: str) -> str | None:
        return (await self.ask(method, path, **headers)).header("x-cache-status")

    @property
    def calls(self) -> int:
        return len(self.stage.received)


@pytest.fixture
def scene(stage: Stage) -> Scene:
    return Scene(stage)


def good(*lines: str, body: bytes = BODY) -> bytes:
    return ok(body, "content-type: application/json", *lines)


@pytest.mark.parametrize("settings", ["store: false", "store: true"])
@pytest.mark.parametrize("path", ["/plain/x", "/v1/models"])
async def test_rfc9110_15_4_5_not_modified(scene: Scene, settings: str, path: str) -> None:
    await scene.start(good(), settings=settings)
    first = await scene.ask(path=path)
    etag = first.header("etag")
    assert first.status == 200 and etag == f'"{sha256(first.body).hexdigest()}"'
    assert (first.header("cache-control"), first.header("vary")) == ("private, max-age=60", "authorization")
    for method in ("GET", "HEAD") if path == "/v1/models" or "true" in settings else ("GET",):
        second = await scene.ask(method, path, if_none_match=etag)
        assert (second.status, second.body) == (304, b"")
        for name in ("etag", "cache-control", "vary"):
            assert second.header(name) == first.header(name)
        assert second.header("date") and second.header("content-type") is second.header("content-length") is None
    changed = await scene.ask(path=path, if_none_match='"other"')
    assert (changed.status, changed.body) == (200, first.body)
    assert [row.status for row in scene.stage.closed()][1] == 304


async def test_rfc9110_13_1_1_expectations_that_fail(scene: Scene) -> None:
    await scene.start(good())
    refused = await scene.ask(if_match='"other"')
    assert (refused.status, refused.number) == (412, 1402)
    assert (await scene.ask(if_match=ETAG)).status == 200
    (row, _) = scene.stage.closed()
    assert (row.outcome, row.status, row.error, row.units) == ("complete", 412, 1402, 1000), "the work was done"
    own = await scene.ask(path="/v1/models", if_match='"other"')
    assert (own.status, scene.stage.closed()[-1].outcome) == (412, "refused")


async def test_rfc9110_13_2_1_no_condition_counts_for_a_failure(scene: Scene) -> None:
    await scene.start(ok(BODY, f"etag: {ETAG}", status="404 Not Found"))
    for headers in ({"if_none_match": ETAG}, {"if_none_match": "*"}, {"if_match": '"x"'}):
        assert (await scene.ask(**headers)).status == 404


async def test_rfc9110_8_8_the_upstreams_own_validators_are_kept(scene: Scene) -> None:
    await scene.start(good('ETag: W/"own"', f"Last-Modified: {DATE}", "Cache-Control: max-age=9"))
    first = await scene.ask()
    assert (first.header("etag"), first.header("last-modified")) == ('w/"own"', DATE.lower())
    assert first.header("cache-control") == "max-age=9"
    assert (await scene.ask(if_none_match='"own"')).status == 304
    assert (await scene.ask(if_modified_since=DATE)).status == 304
    assert (await scene.ask(if_modified_since=BEFORE)).status == 200


async def test_rfc9110_15_4_5_an_upstreams_own_304_passes(scene: Scene) -> None:
    await scene.start(b'HTTP/1.1 304 Not Modified\r\netag: "own"\r\n\r\n', settings="store: false")
    answered = await scene.ask(if_none_match='"own"')
    assert (answered.status, answered.header("etag")) == (304, '"own"')
    assert answered.header("cache-control") == "private, max-age=60"
    assert b'if-none-match: "own"' in scene.stage.received[0]


async def test_rfc9110_9_3_2_head(scene: Scene) -> None:
    await scene.start(good())
    first = await scene.ask("HEAD")
    assert (first.status, first.header("etag")) == (200, None), "nobody has seen a body"
    await scene.ask("GET")
    second = await scene.ask("HEAD")
    assert (second.header("x-cache-status"), second.header("etag")) == ("hit", ETAG), "RFC 9111, 4"
    assert second.header("content-length") == str(len(BODY)) and scene.calls == 2


@pytest.mark.parametrize(
    ("settings", "control"),
    [("ttl: 5m", "private, max-age=300"), ("ttl: 0", "private, no-cache"), ("cache_control: no-store", "no-store"),
     ("routes: {/plain/*: 7s}", "private, max-age=7")],
)  # fmt: skip
async def test_what_the_caches_of_clients_are_told(scene: Scene, settings: str, control: str) -> None:
    await scene.start(good(), settings=settings)
    assert (await scene.ask()).header("cache-control") == control


async def test_without_tags(scene: Scene) -> None:
    await scene.start(good(), settings="etag: false")
    assert (await scene.ask(if_none_match=ETAG)).header("etag") is None


# --- storing


async def test_rfc9111_4_an_answer_is_given_again(scene: Scene) -> None:
    await scene.start(good("x-a: b", "age: 7"))
    first, again = await scene.ask(), await scene.ask()
    assert (first.header("x-cache-status"), again.header("x-cache-status"), scene.calls) == ("miss", "hit", 1)
    assert first.body == again.body == BODY
    for name in ("content-type", "x-a", "etag", "cache-control", "vary"):
        assert first.header(name) == again.header(name) is not None
    assert [line for line in again.lines if line.startswith("age:")] == ["age: 7"], "5.1: and as old as it was"
    assert [(row.outcome, row.opened.backend) for row in scene.stage.closed()] == [("complete", "up"), ("answered", "")]


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        pytest.param({}, {"cache_control": "no-store"}, "bypass", id="5.2.1.5 no-store is not served"),
        pytest.param({"cache_control": "no-store"}, {}, "miss", id="5.2.1.5 no-store is not stored"),
        pytest.param({}, {"cache_control": "no-cache"}, "bypass", id="5.2.1.4 no-cache"),
        pytest.param({}, {"pragma": "no-cache"}, "bypass", id="5.4 Pragma"),
        pytest.param({}, {"pragma": "no-cache", "cache_control": "max-age=5"}, "hit", id="5.4 Pragma is outdone"),
        pytest.param({}, {"cache_control": "max-age=0"}, "miss", id="5.2.1.1 max-age 0"),
        pytest.param({}, {"cache_control": "max-age=5"}, "hit", id="5.2.1.1 max-age"),
        pytest.param({}, {"cache_control": "min-fresh=61"}, "miss", id="5.2.1.3 min-fresh"),
        pytest.param({}, {"cache_control": "min-fresh=5"}, "hit", id="5.2.1.3 min-fresh, enough"),
        pytest.param({}, {"cache_control": "max-stale"}, "hit", id="5.2.1.2 max-stale changes nothing"),
        pytest.param({}, {"cache_control": "only-if-cached"}, "hit", id="5.2.1.7 only-if-cached"),
        pytest.param({}, {"range": "bytes=0-1"}, "bypass", id="3.4 a part is not made"),
        pytest.param({"range": "bytes=0-1"}, {}, "miss", id="3.4 nor kept"),
        pytest.param({}, {"if_match": ETAG}, "bypass", id="4.3.2 If-Match is not for caches"),
        pytest.param({"cache_control": "no-cache"}, {}, "hit", id="5.2.1.4 stored anew"),
        pytest.param({"if_none_match": '"x"'}, {}, "hit", id="4.3 a conditional request is kept as well"),
    ],
)
async def test_rfc9111_5_2_1_what_a_request_may_ask(
    scene: Scene, first: dict[str, str], then: dict[str, str], told: str
) -> None:
    await scene.start(good())
    await scene.ask(**first)
    assert await scene.told(**then) == told


async def test_rfc9111_5_2_1_7_only_if_cached_never_asks(scene: Scene) -> None:
    await scene.start(good())
    answered = await scene.ask(cache_control="only-if-cached")
    assert (answered.status, answered.number, scene.calls) == (504, 1810, 0)


async def test_rfc9111_4_3_conditions_do_not_reach_the_upstream(scene: Scene) -> None:
    await scene.start(good())
    answered = await scene.ask(if_none_match=ETAG, if_modified_since=DATE)
    assert answered.status == 304 and b"if-" not in scene.stage.received[0]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ok(BODY, status="404 Not Found"), id="an error"),
        pytest.param(ok(BODY, "content-range: bytes 0-13/20", status="206 Partial Content"), id="3.4 a part"),
        pytest.param(good("set-cookie: a=b"), id="7.3 a cookie"),
        pytest.param(good("cache-control: private"), id="5.2.2.7 private"),
        pytest.param(good("vary: *"), id="4.1 Vary: *"),
        pytest.param(good(body=b"x" * 200), id="too large"),
        pytest.param(chunked(b"data: x\n\n"), id="a stream of events"),
    ],
)
async def test_s63_rfc9111_3_what_is_not_kept(scene: Scene, answer: bytes) -> None:
    await scene.start(answer, settings="store: true, entry: 100")
    assert [await scene.told() for _ in range(2)] == ["miss", "miss"]


async def test_s63_rfc9111_3_3_nothing_that_broke_off_is_kept(scene: Scene) -> None:
    async def broken(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(good()[:-4])
        writer.close()

    port = (await scene.stage.site.upstream(broken)).port
    await scene.stage.start(DOCUMENT % ("store: true", f"http://127.0.0.1:{port}"))
    for _ in range(2):
        answered = await scene.ask()
        assert (answered.status, answered.header("x-cache-status")) == (502, "miss")


async def test_rfc9111_4_1_vary(scene: Scene) -> None:
    await scene.start(good("vary: accept-language"))
    told = [await scene.told(accept_language=language) for language in ("de", "fr", "de", "fr")]
    assert told == ["miss", "miss", "hit", "hit"]
    assert await scene.told() == "miss"


@pytest.mark.parametrize("path", ["/plain/y", "/plain/x?a=1", "/plain/x/"])
async def test_rfc9111_2_another_address_is_another_answer(scene: Scene, path: str) -> None:
    await scene.start(good())
    await scene.ask()
    assert await scene.told(path=path) == "miss"


@pytest.mark.parametrize(
    ("method", "status", "told"),
    [("DELETE", "204 No Content", "miss"), ("PUT", "200 OK", "miss"), ("PUT", "409 Conflict", "hit"),
     ("OPTIONS", "200 OK", "hit")],
)  # fmt: skip
async def test_rfc9111_4_4_what_changes_things_drops_what_is_kept(
    scene: Scene, method: str, status: str, told: str
) -> None:
    await scene.start(good(), ok(b"", status=status), good())
    await scene.ask()
    await scene.ask(method)
    assert await scene.told() == told


@pytest.mark.parametrize(
    ("tenant", "shared_with"),
    [("consumer", {KEY, SECOND}), ("project", {KEY, SECOND, LAB}), ("all", {KEY, SECOND, LAB, OTHER})],
)
async def test_s62_s63_who_shares_what_is_kept(scene: Scene, tenant: str, shared_with: set[str]) -> None:
    await scene.start(good(), settings=f"store: true, tenant: {tenant}")
    await scene.ask()
    for key in (SECOND, LAB, OTHER):
        assert await scene.told(key=key) == ("hit" if key in shared_with else "miss"), key


@pytest.mark.parametrize("tenant", ["consumer", "project", "all"])
async def test_s63_a_list_never_shows_more_than_the_key_may_see(scene: Scene, tenant: str) -> None:
    await scene.start(good(), settings=f"store: true, tenant: {tenant}")
    assert b'"m"' in (await scene.ask(path="/v1/models")).body
    narrow = await scene.ask(path="/v1/models", key=NARROW)
    assert b'"m"' not in narrow.body and b'"n"' in narrow.body


async def test_s63_a_key_that_is_not_good_gets_nothing_that_is_kept(scene: Scene) -> None:
    await scene.start(good(), settings="store: true, tenant: all")
    await scene.ask()
    for key in ("", "key-of-nobody-0001"):
        assert (await scene.ask(key=key)).status == 401


async def test_s63_in_front_of_authentication_nothing_is_kept(scene: Scene) -> None:
    text = DOCUMENT.replace("[key_auth, {http_cache: {%s}}", "[{http_cache: {%s}}, key_auth")
    await scene.stage.start(text % ("store: true, tenant: all", await scene.stage.upstream(good())))
    assert [await scene.told() for _ in range(2)] == ["miss", "miss"]
    assert (await scene.ask(key="")).status == 401


async def test_a_hit_in_front_of_the_quota_costs_nothing(scene: Scene) -> None:
    await scene.start(good())
    for _ in range(3):
        await scene.ask()
    assert [row.units for row in scene.stage.closed()] == [1000, 0, 0]


async def test_tags_are_of_what_the_client_gets(scene: Scene) -> None:
    text = DOCUMENT.replace("{http_cache: {%s}}", "field_select, {http_cache: {%s}}")
    upstream = await scene.stage.upstream(good(body=b'{"a":1,"b":2}'))
    await scene.stage.start(text % ("store: true", upstream))
    tags = set()
    for path, body in (("/plain/x?fields=a", b'{"a":1}'), ("/plain/x?fields=b", b'{"b":2}'), ("/plain/x", None)):
        answers = [await scene.ask(path=path) for _ in range(2)]
        assert [answered.header("x-cache-status") for answered in answers] == ["miss", "hit"]
        assert answers[0].body == answers[1].body == (body or b'{"a":1,"b":2}')
        (tag,) = {answered.header("etag") for answered in answers}
        assert (
            tag == f'"{sha256(answers[0].body).hexdigest()}"'
            and (await scene.ask(path=path, if_none_match=tag)).status == 304
        )
        tags.add(tag)
    assert len(tags) == 3


def test_headers_are_one_line() -> None:
    with pytest.raises(ValueError, match="one line"):
        Settings(cache_control="a\r\nb: c")
