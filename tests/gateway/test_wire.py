import json
import math
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire import (
    encode_object,
    is_deeper,
    parse_object,
    read_directives,
    read_seconds,
)

DEPTH = 64
LONE = '{"a":"\\ud800"}'  # stdlib takes it, RFC 8259 (8.2) calls it unpredictable

texts = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def number_of(body: bytes, depth: int = DEPTH) -> int:
    """The number under which `body` is refused; 0 for a good one."""
    try:
        parse_object(body, depth)
    except GatewayError as error:
        return error.number
    return 0


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


class Twice(Exception):
    pass


def read_strictly(body: bytes) -> dict[str, Any] | None:
    """What the standard library makes of `body`; None if it is no JSON object. Raises Twice for a doubled member."""

    def pair(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs_seen.append(pairs)
        return dict(pairs)

    def refuse(name: str) -> None:
        raise ValueError(name)  # NaN and Infinity are no JSON

    pairs_seen: list[list[tuple[str, Any]]] = []
    try:
        value = json.loads(body.decode(), object_pairs_hook=pair, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    if len(pairs_seen[-1]) != len(value):
        raise Twice
    return value


@given(st.dictionaries(texts, values), st.booleans(), st.sampled_from([None, 2]))
def test_an_object_comes_back_as_it_was(value: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    fields = parse_object(body, DEPTH)
    assert {name: json.loads(bytes(raw)) for name, raw in fields.items()} == value
    assert json.loads(encode_object(fields)) == value


@given(st.lists(st.tuples(st.sampled_from(["model", "a", "b", "\u00e9", "\\u0061"]), values), min_size=1, max_size=5))
def test_a_doubled_member_is_found_as_the_standard_library_finds_it(pairs: list[tuple[str, Any]]) -> None:
    body = ("{" + ", ".join(f'"{name}" :{json.dumps(value)}' for name, value in pairs) + "}").encode()
    try:
        expected = 0 if read_strictly(body) is not None else 1210
    except Twice:
        expected = 1211
    assert number_of(body) == expected


_PIECES = ["{", "}", "[", "]", ":", ",", '"', "\\", '"a"', "1", "-", ".", "e9", "true", "null", " ", "\n", "\\u00e9",
           "\\ud83d", "\\ude00", "\x01", "\x7f", "é", "NaN"]  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join))
@example('{"a":1}')
@example('{"a":"\\ud83d\\ude00"}')
@example(LONE)
@example('{"\\ud800":1}')
@example('{"a":01}')
@example('{"a":"\\q"}')
@example('{"a":1,}')
@example('{"a":1}{}')
@example('\ufeff{"a":1}')
@example("[]")
@example("")
def test_what_is_json_is_decided_as_by_the_standard_library(text: str) -> None:
    body = text.encode()
    try:
        expected = read_strictly(body)
    except Twice:
        assert number_of(body) == 1211
        return
    assert number_of(body) == (0 if expected is not None else 1210)


@given(st.binary(max_size=6))
def test_bytes_that_are_not_utf8_are_refused_wherever_they_stand(data: bytes) -> None:
    for body in (b'{"a":"' + data + b'"}', b'{"' + data + b'":1}', b'{"a":{"b":"' + data + b'"}}'):
        try:
            body.decode()
        except UnicodeDecodeError:
            assert number_of(body) == 1210


def test_a_doubled_member_deep_inside_is_the_engines_business() -> None:
    assert number_of(b'{"a":{"b":1,"b":2}}') == 0


def test_the_doubled_member_is_named() -> None:
    with pytest.raises(GatewayError) as caught:
        parse_object(b'{"model":"a", "mod\\u0065l":"b"}', DEPTH)
    assert (caught.value.number, caught.value.param) == (1211, "model")


@given(values, st.integers(1, 6))
def test_depth_is_measured_exactly(value: Any, limit: int) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    assert is_deeper(body, limit) == (depth_of(value) > limit)


@pytest.mark.parametrize(
    ("number", "fits"),
    [
        ("1e400", False), ("-1E+400", False), ("0.1e0400", False), ("9" * 309, False), ("9" * 250 + "e99", False),
        ("1e308", True), ("1e-400", True), ("0." + "9" * 400, True), ("9" * 308, True), ("1e0099", True),
    ],
)  # fmt: skip
def test_s39_numbers_fit_a_double(number: str, fits: bool) -> None:
    for body in ('{"a":%s}', '{"a":{"b":[1, %s ]},"c":"1e400"}'):
        assert number_of((body % number).encode()) == (0 if fits else 1210)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,320})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_s39_every_number_that_is_infinite_is_refused(number: str) -> None:
    assert number_of(f'{{"a":[{number}]}}'.encode()) == (1210 if math.isinf(float(number)) else 0)


_TRAPS = ['"[[[["', '"]]"', '"\\"["', '"\\\\"', "[[]]", "{}", '{"[{":[[]]}', '"{}"']


@given(st.lists(st.sampled_from(_TRAPS), max_size=9))
def test_brackets_inside_strings_are_no_depth(items: list[str]) -> None:
    text = "[" + ",".join(items * 200) + "]"  # so many that they are counted, not taken away
    assert [is_deeper(text.encode(), limit) for limit in range(1, 6)] == [
        depth_of(json.loads(text)) > limit for limit in range(1, 6)
    ]


@pytest.mark.parametrize(("depth", "number"), [(DEPTH, 0), (DEPTH + 1, 1212), (5_000, 1212), (200_000, 1212)])
def test_depth_has_a_limit(depth: int, number: int) -> None:
    assert number_of(b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}") == number


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + b"[" * 10_000_000 + b'"}',
        b'{"a":[' + b",".join([b"[" * 50 + b"]" * 50] * 100_000) + b"]}",
        b'{"a":["' + b"[" * 99 + b'"' + b',""' * 3_000_000 + b"]}",
        b'{"a":["' + b"[" * 99 + b'\\"' * 4_900_000 + b'"]}',
    ],
    ids=["open", "stacks", "quotes", "escapes"],
)
def test_no_body_of_ten_megabytes_holds_a_worker_for_long(body: bytes) -> None:
    started = time.process_time()
    assert number_of(body) == 0
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    ("fields", "directives"),
    [
        ([], {}),
        ([b""], {}),
        ([b" , ,"], {}),
        ([b"no-cache"], {"no-cache": ""}),
        ([b"Max-Age=5 ,no-store"], {"max-age": "5", "no-store": ""}),
        ([b"max-age=5, max-age=9", b"max-age=7"], {"max-age": "5"}),
        ([b'private="a, no-store", x="b\\"c"'], {"private": "a, no-store", "x": 'b\\"c'}),
        ([b"public", b"s-maxage = 9"], {"public": "", "s-maxage": "9"}),
    ],
)
def test_directives_of_cache_control(fields: list[bytes], directives: dict[str, str]) -> None:
    assert read_directives(fields) == directives


@pytest.mark.parametrize("piece", [b",", b" ", b'a="', b"a=", b'a="\\', b'="\\"', b'"', b"=,"])
def test_no_cache_control_takes_long(piece: bytes) -> None:
    began = time.perf_counter()
    read_directives([piece * (32_768 // len(piece))])
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("", None), ("5", 5), ("05", 5), ("-1", None), ("1.5", None), ("\u0661", None), ("9" * 5000, 2**31)],
)
def test_delta_seconds(text: str | None, seconds: int | None) -> None:
    assert read_seconds(text) == seconds
