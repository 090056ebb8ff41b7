"""One spelling of every path, whole segments, listed methods (S30-S33)."""

import pytest

from tests.e2e.scene import KEYS
from tests.e2e.wire import CHAT, ask, ask_raw, bearer, row_of
from tests.harness import Gateway

KEY = KEYS["second"]


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        ("/echo/%61dmin", "/echo/admin"), ("/echo/./a/../b", "/echo/b"), ("/echo/a/%2e%2e/b", "/echo/b"),
        ("/echo/a%20b", "/echo/a%20b"), ("/echo/%c3%a9", "/echo/%C3%A9"), ("/echo/a/", "/echo/a/"),
        ("/echo/x*y", "/echo/x*y"), ("/echo/..a", "/echo/..a"), ("/echo", "/echo"), ("/x/../echo/a", "/echo/a"),
    ],
)  # fmt: skip
def test_s30_s31_one_spelling_is_matched_logged_and_forwarded(site: Gateway, path: str, spelled: str) -> None:
    answer = ask(site, "GET", f"{path}?q=%2e%2e/&x=a%20b;c")
    assert (answer.status, answer.json["path"], answer.json["query"]) == (200, spelled, "q=%2e%2e/&x=a%20b;c")
    row = row_of(site, answer.request_id)
    assert (row["path"], row["route"]) == (spelled, "/echo/*")


@pytest.mark.parametrize(
    "path",
    [
        "/echo/..%2fx", "/echo/%5cx", "/echo/a\\b", "/echo/%00", "/echo/%0a", "//echo/x", "/echo//x", "/echo/..;a=b/x",
        "/echo/%252e%252e/x", "/echo/%252fx", "/../x", "/echo/../../x", "/echo/%ff", "/echo/%c0%af", "/echo/%zz",
        "/echo/%", "/echo/%2", "/echo/.%3Bx/", "/echo/<x>", '/echo/"',
    ],
)  # fmt: skip
def test_s30_paths_that_two_programs_read_differently(site: Gateway, path: str) -> None:
    answer = ask(site, "GET", path, bearer(KEY))
    assert (answer.status, answer.error) == (400, 1205)


@pytest.mark.parametrize("path", ["/ECHO/x", "/echoevil", "/v1evil", "/v1/", "/v1", f"{CHAT}/", f"{CHAT}/x"])
def test_s33_routes_match_whole_segments(site: Gateway, path: str) -> None:
    answer = ask(site, "POST", path, bearer(KEY), b"{}")
    assert (answer.status, answer.error) == (404, 1301)
    assert row_of(site, answer.request_id)["units"] == 0


def test_s32_methods(site: Gateway) -> None:
    answer = ask(site, "POST", "/read/echo", {**bearer(KEY), "X-HTTP-Method-Override": "GET"})
    assert (answer.status, answer.error, answer.get("allow")) == (405, 1207, "GET")
    assert ask(site, "GET", "/read/echo", {"X-HTTP-Method-Override": "DELETE"}).json["method"] == "GET"
    answer = ask(site, "GET", CHAT, bearer(KEY))
    assert (answer.status, answer.error, answer.get("allow")) == (405, 1207, "POST")
    for method in ("TRACE", "CONNECT", "PROPFIND", "QUERY"):
        assert ask_raw(site, f"{method} /echo/x HTTP/1.1\nHost: test").status in (400, 405), method
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert ask(site, method, "/echo/x").json["method"] == method
