import pytest

from gateway.http.faults import BadRequest
from gateway.http.head import Headers, RequestHead, ResponseHead, header_names, read_head

HOST = (b"host", b"a.example")


def head(
    target: bytes = b"/", *fields: tuple[bytes, bytes], method: bytes = b"GET", version: str = "1.1"
) -> RequestHead:
    return read_head(method, target, version, [HOST, *fields])


def refused(method: bytes, target: bytes, version: str, headers: Headers) -> int:
    with pytest.raises(BadRequest) as refusal:
        read_head(method, target, version, headers)
    return refusal.value.number


def test_a_plain_request() -> None:
    got = head(b"/v1/%6dodels?a=1&b=%2F", (b"accept", b"x"), (b"accept", b"y"))
    assert (got.method, got.path, got.query, got.host) == ("GET", "/v1/models", "a=1&b=%2F", b"a.example")
    assert got.target == b"/v1/%6dodels?a=1&b=%2F"
    assert got.get(b"accept") == b"x"
    assert got.get_all(b"accept") == [b"x", b"y"]
    assert got.get(b"cookie") is None
    assert (got.content_length, got.chunked, got.expect_continue, got.upgrade) == (None, False, False, None)


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        (b"http://b.example:80/x?y", "/x", "y", b"b.example:80"),
        (b"HTTPS://B.example", "/", "", b"b.example"),
        (b"http://b.example?q", "/", "q", b"b.example"),
        (b"http://[::1]:8000/x", "/x", "", b"[::1]:8000"),
    ],
)
def test_an_absolute_target_overrides_host(target: bytes, path: str, query: str, host: bytes) -> None:
    got = head(target)
    assert (got.path, got.query, got.host) == (path, query, host)


def test_asterisk_is_for_options() -> None:
    assert head(b"*", method=b"OPTIONS").path == "*"
    assert refused(b"GET", b"*", "1.1", [HOST]) == 1205


@pytest.mark.parametrize("host", ["localhost", "a-b.example:8000", "127.0.0.1:1", "[::1]", "[fe80::1]:80", "a_b"])
def test_hosts(host: str) -> None:
    assert read_head(b"GET", b"/", "1.1", [(b"host", host.encode())]).host == host.encode()


def test_http_1_0_needs_no_host() -> None:
    assert read_head(b"GET", b"/", "1.0", []).host == b""


@pytest.mark.parametrize(
    ("headers", "number"),
    [
        ([], 1202),
        ([HOST, HOST], 1202),
        ([(b"host", b"")], 1202),
        ([(b"host", b"a b")], 1202),
        ([(b"host", b"a@b")], 1202),
        ([(b"host", b"a/b")], 1202),
        ([(b"host", b"a,b")], 1202),
        ([(b"host", b"a:b")], 1202),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], 1203),
        ([HOST, (b"transfer-encoding", b"identity")], 1203),
        ([HOST, (b"transfer-encoding", b"xchunked")], 1203),
        ([HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], 1203),
        ([HOST, (b"transfer-encoding", b"chunked"), (b"content-length", b"1")], 1203),
        ([HOST, (b"content-length", b"1"), (b"content-length", b"1")], 1203),
        ([HOST, (b"expect", b"200-ok")], 1217),
        ([HOST, (b"expect", b"100-continue"), (b"expect", b"100-continue")], 1204),
    ],
)
def test_bad_fields(headers: Headers, number: int) -> None:
    assert refused(b"POST", b"/", "1.1", headers) == number


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT", b"PROPFIND", b"M-SEARCH", b"SOURCE"])
def test_methods_that_are_not_spoken(method: bytes) -> None:
    assert refused(method, b"/", "1.1", [HOST]) == 1207


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2"])
def test_versions_that_are_not_spoken(version: str) -> None:
    assert refused(b"GET", b"/", version, [HOST]) == 1209


def test_chunked_is_not_for_http_1_0() -> None:
    assert refused(b"POST", b"/", "1.0", [HOST, (b"transfer-encoding", b"chunked")]) == 1203


@pytest.mark.parametrize("target", [b"/a?x#y", b"ftp://a/", b"a:1", b"http://b//x", b"/%2f"])
def test_bad_targets(target: bytes) -> None:
    assert refused(b"GET", target, "1.1", [HOST]) == 1205


def test_an_absolute_target_without_a_host() -> None:
    assert refused(b"GET", b"http:///x", "1.1", [HOST]) == 1202


def test_expectations() -> None:
    expect = (b"expect", b"100-Continue")
    assert head(b"/", expect, (b"content-length", b"3"), method=b"POST").expect_continue
    assert head(b"/", expect, (b"transfer-encoding", b"Chunked"), method=b"POST").expect_continue
    assert not head(b"/", expect).expect_continue
    assert not head(b"/", expect, (b"content-length", b"3"), method=b"POST", version="1.0").expect_continue


@pytest.mark.parametrize("name", [b"x_consumer_id", b"a b", b"a(b", b"", b"a\xff", b"a\x00"])
def test_bad_names(name: bytes) -> None:
    with pytest.raises(BadRequest) as refusal:
        header_names[name]
    assert refusal.value.number == 1204


def test_names_are_lower_case() -> None:
    assert header_names[b"X-Session-ID"] == b"x-session-id"


def test_a_response_gives_the_first_value() -> None:
    response = ResponseHead(200, b"OK", "1.1", [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert (response.get(b"a"), response.get(b"b"), response.get(b"c")) == (b"1", b"2", None)
