import pytest

from gateway.http.head import RequestHead, ResponseHead
from gateway.http.hygiene import encode_headers, request_headers, response_headers


def up(*fields: tuple[bytes, bytes]) -> list[bytes]:
    return [name for name, _ in request_headers(RequestHead("GET", b"/", "1.1", list(fields)))]


def down(*fields: tuple[bytes, bytes]) -> list[bytes]:
    return [name for name, _ in response_headers(ResponseHead(200, b"", "1.1", list(fields)))]


@pytest.mark.parametrize(
    "name",
    [
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "proxy-x",
        "authorization", "api-key", "x-api-key", "cookie", "proxy-authorization", "host", "content-length", "expect",
        "x-tollkeeper-priority", "x-consumer-id", "x-credential-id", "x-anonymous-consumer", "x-gateway-role",
        "x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip", "x-request-id",
    ],
)  # fmt: skip
def test_no_identity_credential_or_hop_goes_up(name: str) -> None:
    assert up((name.encode(), b"x"), (b"accept", b"*/*")) == [b"accept"]


@pytest.mark.parametrize("name", ["accept-encoding", "content-type", "user-agent", "traceparent", "x-session-id"])
def test_the_rest_goes_up_in_order(name: str) -> None:
    assert up((b"b", b"1"), (name.encode(), b"x"), (b"b", b"2")) == [b"b", name.encode(), b"b"]


@pytest.mark.parametrize(
    "name",
    [
        "server", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer", "date",
        "x-ratelimit-limit", "x-ratelimit-remaining-tokens", "ratelimit", "ratelimit-policy", "x-quota-tier",
        "x-request-id", "x-tollkeeper-error", "x-consumer-id", "access-control-allow-origin", "alt-svc",
        "proxy-authenticate",
    ],
)  # fmt: skip
def test_no_name_of_ours_comes_down(name: str) -> None:
    assert down((name.encode(), b"x"), (b"content-type", b"a/b")) == [b"content-type"]


@pytest.mark.parametrize("value", [b"x-secret, Accept", b"close, X-Secret ,accept", b"X-SECRET,,accept"])
def test_what_connection_names_stays_here(value: bytes) -> None:
    fields = ((b"connection", value), (b"x-secret", b"1"), (b"accept", b"1"), (b"x-other", b"1"))
    assert up(*fields) == [b"x-other"]
    assert down(*fields) == [b"x-other"]


def test_a_second_connection_field_counts_as_well() -> None:
    fields = ((b"connection", b"x-a"), (b"connection", b"x-b"), (b"x-a", b""), (b"x-b", b""), (b"x-c", b""))
    assert up(*fields) == [b"x-c"]
    assert up((b"connection", b"keep-alive"), *fields) == [b"x-c"]


def test_many_names_do_not_pile_up_and_are_still_judged() -> None:
    for number in range(5000):
        assert up((b"x-consumer-%d" % number, b""), (b"x-%d" % number, b"")) == [b"x-%d" % number]


@pytest.mark.parametrize("bad", [(b"a", b"1\r\nx: y"), (b"a\n", b"1"), (b"a", b"1\r"), (b"a\r\nb", b"")])
def test_a_field_is_one_line(bad: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_headers([(b"ok", b"1"), bad])


def test_fields_as_lines() -> None:
    assert encode_headers([(b"a", b"1"), (b"b", b"")]) == b"a: 1\r\nb: \r\n"
