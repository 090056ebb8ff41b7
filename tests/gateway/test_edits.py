"""Placeholders and edits: what a configuration may say, and that nothing else is touched."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edits import JsonEditor, Members, Template, Texts, check_header_names, compile_headers, header_safe
from gateway.exchange import Credential, Exchange
from gateway.http.head import read_head
from gateway.wire import encode_object, parse_object


def exchange_of(credential: Credential | None = None) -> Exchange:
    exchange = Exchange("id", read_head(b"POST", b"/x", "1.1", [(b"host", b"a")]), "POST", "/x", 0.0)
    exchange.credential = credential
    exchange.route, exchange.model, exchange.peer = "/x/*", "qwen", "10.0.0.1"
    return exchange


ACME = Credential("main", "acme", "free", "rockets", role="developer")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""), ("plain", "plain"), ("{consumer}", "acme"), ("{consumer}/{project}!", "acme/rockets!"),
        ("{credential} {role} {tier} {request_id} {route} {model} {peer}", "main developer free id /x/* qwen 10.0.0.1"),
        ("{{consumer}}", "{consumer}"), ("{{{consumer}}}", "{acme}"), ("}}{{", "}{"),
    ],
)  # fmt: skip
def test_placeholders(text: str, filled: str) -> None:
    assert Template(text).fill(exchange_of(ACME)) == filled


def test_nobody_is_an_empty_text() -> None:
    assert Template("{consumer}{credential}{project}{role}{tier}").fill(exchange_of()) == ""


PAYLOADS = [
    "{consumer.__class__}", "{consumer!r}", "{consumer:>9}", "{0}", "{}", "{ consumer }", "{self}", "{exchange.head}",
    "{", "}", "{consumer", "{consumer}}", "{%s}", "{__import__('os')}", "{config}",
]  # fmt: skip


@pytest.mark.parametrize("text", PAYLOADS)
def test_s43_only_the_list_can_be_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"placeholder|lone"):
        Template(text)


@pytest.mark.parametrize("text", ["${7*7}", "{{7*7}}", "<%= 7*7 %>", "#{7*7}", "{{ ''.__class__.__mro__ }}", "%(a)s"])
def test_s44_templates_are_not_rendered(text: str) -> None:
    try:
        assert "49" not in Template(text).fill(exchange_of(ACME))
    except ValueError:
        pass


def test_s43_long_texts_take_no_time() -> None:
    assert Template("{{" * 200_000).fill(exchange_of()) == "{" * 200_000
    with pytest.raises(ValueError):
        Template("{" * 200_001)


@given(st.text(max_size=60))
def test_a_value_from_somewhere_is_a_header(value: str) -> None:
    safe = header_safe(value)
    assert re.fullmatch(r"[\x20-\x7e]*", safe)


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_people_stay_different(one: str, other: str) -> None:
    assert (header_safe(one) == header_safe(other)) == (one == other)


def test_a_value_is_left_as_it_is_where_it_can_be() -> None:
    assert header_safe("acme corp (EU)") == "acme corp (EU)"
    assert header_safe("a\r\nx: y") == "a%0D%0Ax: y"
    assert header_safe("50%") == "50%25"


# --- names of headers


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "connection", "upgrade", "authorization", "x-api-key", "cookie",
     "X-Consumer-ID", "x-tollkeeper-priority", "x-forwarded-for",
     "proxy-authorization", "x-request-id", "te", "expect"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["remove", "rename", "set", "add"])
def test_headers_of_requests_that_are_not_the_configurations(name: str, kind: str) -> None:
    value: Any = (name,) if kind == "remove" else {name: "x"}
    with pytest.raises(ValueError, match="belongs to the gateway"):
        check_header_names(Texts(**{kind: value}), is_request=True)
    if kind == "rename":
        with pytest.raises(ValueError, match="belongs to the gateway"):
            check_header_names(Texts(rename={"x": name}), is_request=True)


@pytest.mark.parametrize(
    "name", ["Content-Length", "date", "x-ratelimit-limit", "RateLimit", "X-Request-ID", "access-control-allow-origin"]
)
def test_headers_of_answers_that_are_not_the_configurations(name: str) -> None:
    with pytest.raises(ValueError, match="belongs to the gateway"):
        check_header_names(Texts(set={name: "x"}), is_request=False)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "x_y", "é"])
def test_what_is_no_name_of_a_header(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a header"):
        check_header_names(Texts(add={name: "x"}), is_request=True)


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "é", "\x00"])
def test_what_no_header_can_hold(text: str) -> None:
    with pytest.raises(ValueError, match="can hold only"):
        compile_headers({"x": text})


# --- JSON


def edit(document: Any, **edits: Any) -> tuple[Any, bool]:
    fields = parse_object(json.dumps(document).encode(), 64)
    changed = JsonEditor(Members(**edits)).edit(fields, exchange_of(ACME))
    return json.loads(encode_object(fields)), changed


@pytest.mark.parametrize(
    ("before", "edits", "after"),
    [
        ({"a": 1}, {"set": {"b": 2}}, {"a": 1, "b": 2}),
        ({"a": 1}, {"set": {"a": {"x": ["{consumer}", 1]}}}, {"a": {"x": ["acme", 1]}}),
        ({}, {"set": {"a.b.c": None}}, {"a": {"b": {"c": None}}}),
        ({"a": {"x": 1}}, {"set": {"a.b": True}}, {"a": {"x": 1, "b": True}}),
        ({"a": 5}, {"set": {"a.b": 1}}, {"a": 5}),
        ({"a": [{}]}, {"set": {"a.0": 1}}, {"a": [{}]}),
        ({"a": 1}, {"add": {"a": 2, "b": "{tier}"}}, {"a": 1, "b": "free"}),
        ({"a": None}, {"add": {"a": 2}}, {"a": None}),
        ({"a": {"b": 1}}, {"add": {"a.b": 2, "a.c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": 1, "b": 2}, {"remove": ("a", "c")}, {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"remove": ("a.b", "a.x", "z.y")}, {"a": {"c": 2}}),
        ({"a": 1, "c": 3}, {"rename": {"a": "b", "x": "c"}}, {"c": 3, "b": 1}),
        ({"a": 1, "b": 2}, {"rename": {"a": "b"}}, {"b": 1}),
        ({"a": {"b": [1.50]}}, {"rename": {"a.b": "x.y"}}, {"a": {}, "x": {"y": [1.5]}}),
        ({"a": 1, "x": 3}, {"rename": {"a": "x.y"}}, {"a": 1, "x": 3}),  # x is no object: nothing is lost
        ({"a": 1}, {"remove": ("a",), "rename": {"a": "b"}, "set": {"c": 1}, "add": {"c": 2, "a": 3}},
         {"c": 1, "a": 3}),
        ({"a": 1}, {"set": {"b": "{{consumer}}"}}, {"a": 1, "b": "{consumer}"}),
    ],
)  # fmt: skip
def test_editing(before: Any, edits: dict[str, Any], after: Any) -> None:
    assert edit(before, **edits) == (after, before != after)


@pytest.mark.parametrize(
    "edits",
    [{"set": {"": 1}}, {"set": {"a..b": 1}}, {"remove": (".a",)}, {"rename": {"a": "a.b"}}, {"rename": {"a.b": "a"}},
     {"rename": {"a": "a"}}, {"set": {"a": "{nobody}"}}, {"add": {"a": [{"x": "{"}]}}],
    ids=str,
)  # fmt: skip
def test_edits_that_make_no_sense(edits: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        JsonEditor(Members(**edits))


@pytest.mark.parametrize("kind", ["remove", "rename", "set", "add"])
def test_reserved_names(kind: str) -> None:
    value: Any = ("model.x",) if kind == "remove" else {"model.x": "y"}
    with pytest.raises(ValueError, match="registry"):
        JsonEditor(Members(**{kind: value}), ("model",))
    if kind == "rename":
        with pytest.raises(ValueError, match="registry"):
            JsonEditor(Members(rename={"x": "model"}), ("model",))


_names = st.sampled_from("abcd")
_paths = st.lists(_names, min_size=1, max_size=3).map(".".join)
_values = st.recursive(
    st.none() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=10,
)
_documents = st.dictionaries(_names, _values, max_size=4)


def without(document: Any, path: list[str]) -> Any:
    """`document` without one place."""
    if not isinstance(document, dict):
        return document
    if len(path) == 1:
        return {name: value for name, value in document.items() if name != path[0]}
    return {name: without(value, path[1:]) if name == path[0] else value for name, value in document.items()}


def at(document: Any, path: list[str]) -> Any:
    for name in path:
        document = document.get(name, KeyError) if isinstance(document, dict) else KeyError
    return document


@given(_documents, _paths, st.integers())
def test_set_touches_one_place(document: Any, path: str, value: int) -> None:
    after, changed = edit(document, set={path: value})
    steps = path.split(".")
    if changed:
        assert at(after, steps) == value
        for length in range(len(steps), 0, -1):  # what was made on the way is empty but for it
            after = without(after, steps[:length]) if at(document, steps[:length]) is KeyError else after
        assert without(after, steps) == without(document, steps)
    else:
        assert after == document


@given(_documents, _paths)
def test_remove_touches_one_place(document: Any, path: str) -> None:
    after, _ = edit(document, remove=(path,))
    assert after == without(document, path.split("."))


@given(_documents, _paths, _names)
def test_rename_keeps_the_value(document: Any, old: str, new: str) -> None:
    if old.split(".")[0] == new:
        return
    after, changed = edit(document, rename={old: new})
    value = at(document, old.split("."))
    assert changed == (value is not KeyError)
    if changed:
        assert at(after, [new]) == value
        assert without(after, [new]) == without(without(document, old.split(".")), [new])


@given(st.binary(max_size=60), _paths)
def test_any_bytes_inside_are_no_trouble(inside: bytes, path: str) -> None:
    fields = {"a": msgspec.Raw(inside)}
    JsonEditor(Members(remove=(path,), set={f"a.{path}": 1})).edit(fields, exchange_of())
