import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.faults import BadRequest
from gateway.http.path import normalise_path


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        (b"/", "/"),
        (b"/v1/chat/completions", "/v1/chat/completions"),
        (b"/admin/", "/admin/"),
        (b"/ADMIN", "/ADMIN"),
        (b"/%61dmin", "/admin"),
        (b"/%41%7e%2d%2E%5F", "/A~-._"),
        (b"/v1/./models", "/v1/models"),
        (b"/v1/../admin", "/admin"),
        (b"/v1/%2e%2e/admin", "/admin"),
        (b"/v1/%2E./admin", "/admin"),
        (b"/v1/x/..", "/v1/"),
        (b"/v1/.", "/v1/"),
        (b"/..x/.y/...", "/..x/.y/..."),
        (b"/a%3ab%c3%a9", "/a%3Ab%C3%A9"),
        (b"/a%20b", "/a%20b"),
        (b"/100%25", "/100%25"),
        (b"/models/org:name@1;v=2", "/models/org:name@1;v=2"),
        (b"/*", "/*"),
    ],
)
def test_one_spelling(raw: bytes, normal: str) -> None:
    assert normalise_path(raw) == normal
    assert normalise_path(normal.encode()) == normal


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"v1", b"//v1", b"/v1//models", b"/v1//", b"//", b"/..", b"/../etc", b"/v1/../../etc", b"/%2e%2e/x",
        b"/v1%2fadmin", b"/v1%2Fadmin", b"/v1%5cadmin", b"/v1\\admin", b"/..%2f", b"/%00", b"/a%0d%0ab", b"/%7f",
        b"/..;a=b/admin", b"/.;/x", b"/%2e%2e;x", b"/..%3b/x", b"/%252e%252e/x", b"/%252f", b"/%255c", b"/%2500",
        b"/%25252e", b"/100%", b"/%g1", b"/%1", b"/%ff", b"/%c3", b"/%ed%a0%80", b"/%c0%af", b"/a b", b"/\xc3\xa9",
        b'/"', b"/<", b"/{x}", b"/a|b", b"/^", b"/a\tb", b"/a#b",
    ],
)  # fmt: skip
def test_what_two_programs_may_read_differently_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest) as refusal:
        normalise_path(raw)
    assert refusal.value.number == 1205


@given(st.text(alphabet="/.%aA2eEfF5c0;-~", max_size=24))
def test_what_is_let_through_is_stable_and_plain(text: str) -> None:
    raw = b"/" + text.encode()
    try:
        path = normalise_path(raw)
    except BadRequest:
        return
    assert normalise_path(path.encode()) == path
    segments = path.split("/")
    assert path.startswith("/")
    assert "//" not in path
    assert ".." not in segments
    assert "." not in segments
    assert not any(escape in path.lower() for escape in ("%2f", "%5c", "%00", "%2e"))
