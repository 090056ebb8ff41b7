"""Bodies that are no JSON (RFC 8259), or JSON that the gateway refuses because two parsers may read it differently."""

from tests.faults.families.template import Cases, Template

_MALFORMED = (
    b"", b" ", b"\x00", b"{", b"}", b"[", b"]", b"{]", b"[}", b'"', b"nul", b"tru", b"undefined", b"{} x", b"{}{}",
    b"{},", b"{}\x00",
    b"{'model':'%b'}", b'{model:"%b"}', b'{"model" "%b"}', b'{"model"="%b"}', b'{"model":"%b",}', b'{,"model":"%b"}',
    b'{"model":"%b"}}',
    b'{"model":"%b"/*x*/}', b'{"model":"%b"}//x', b'#x\n{"model":"%b"}', b'({"model":"%b"})', b'{"model":"%b";"n":1}',
    b'{"model":"%b" "n":1}', b'{"model":"%b","n"}', b'{"model":"%b","n":}', b'{"model":"%b",:1}',
    b'{"model":"%b",1:1}', b'{"model":"%b",null:1}',
    b"model=%b&messages=x", b"<model>%b</model>", b"model: %b\n", b"--x\r\n\r\n%b\r\n--x--", b'b"{}"',
    b'"model":"%b"', b"\xef\xbb",
)  # fmt: skip
_NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b".5", b"1.", b"0x10", b"1e", b"1e+", b"--1", b"1_000",
            b"0b1", b"-", b"1 0",
            "١".encode(), b"1f", b"1L", b"-01", b"1.e5", b"0o7", b"\xb5", b"True", b"None", b"TRUE",
            b"nulL")  # fmt: skip
_NOT_UTF8 = {
    "ff": b"\xff", "lone": b"\x80", "cut-2": b"\xc3", "cut-3": b"\xe2\x82", "cut-4": b"\xf0\x9f\x98",
    "overlong-2": b"\xc0\xaf", "overlong-3": b"\xe0\x80\xaf",
    "overlong-nul": b"\xc0\x80", "surrogate": b"\xed\xa0\x80", "pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "above": b"\xf4\x90\x80\x80", "latin": b"caf\xe9", "f8": b"\xf8\x88\x80\x80\x80",
}  # fmt: skip
_ESCAPES = (
    b"\\x41",
    b"\\u12",
    b"\\u12G4",
    b"\\U00000041",
    b"\\a",
    b"\\'",
    b"\\0",
    b"\\",
    b"\\ ",
    b"\\u",
    b"\\N{DASH}",
    b"\\u+041",
)
_MODELS = (b"1", b"null", b"true", b"[]", b"{}", b"1.5", b'["%b"]', b'{"id":"%b"}', b'""', b'" "',
           b'"../../etc/passwd"', b'"/abs"', b'"a b"',
           b'"a\\u0000b"', b'"a\\nb"', b'"%%s"', b'"a\\"b"', b'"-x; id"', b'"$(id)"', b'"`id`"', b'"a/../b"',
           '"ä"'.encode(), b'"\\ud800"')  # fmt: skip
_TOP_LEVEL = (
    b"[]",
    b'"x"',
    b"1",
    b"null",
    b"true",
    b"false",
    b"{}",
    b'[{"model":"%b"}]',
    b"1.5",
    b'{"Model":"%b"}',
    b'{"model ":"%b"}',
)
_FIELDS = (
    b"model",
    b"messages",
    b"stream",
    b"n",
    b"max_tokens",
    b"stream_options",
    b"temperature",
    b"user",
    b"tools",
    b"",
)


def document(template: Template) -> Cases:
    yield from _syntax(template)
    yield from _texts(template)
    yield from _values(template)
    yield from _depths(template)
    yield from _codings(template)


def _fill(body: bytes, template: Template) -> bytes:
    return body.replace(b"%b", template.model).replace(b"%%", b"%")


def _syntax(template: Template) -> Cases:
    for end in range(1, len(template.body)):
        yield f"json-cut-{end}", template.send(template.body[:end])
    for number, body in enumerate(_MALFORMED):
        yield f"json-malformed-{number}", template.send(_fill(body, template))
    for value in _NUMBERS:
        yield f"json-number-{value!r}", template.send(b'{"model":"%b","messages":[],"n":%b}' % (template.model, value))
        yield (
            f"json-number-deep-{value!r}",
            template.send(b'{"model":"%b","messages":[{"n":[%b]}]}' % (template.model, value)),
        )


def _texts(template: Template) -> Cases:
    places = {
        "field": b'{"model":"%b","x%%":1}', "value": b'{"model":"%b","user":"%%"}', "model": b'{"model":"%b%%"}',
        "deep": b'{"model":"%b","messages":[{"role":"user","content":"%%"}]}',
    }  # fmt: skip
    poisons = (
        _NOT_UTF8
        | {f"escape-{escape!r}": escape for escape in _ESCAPES}
        | {f"raw-{n:02x}": bytes((n,)) for n in range(0x20)}
    )
    for place, body in places.items():
        for name, poison in poisons.items():
            yield f"json-{place}-{name}", template.send(body.replace(b"%b", template.model).replace(b"%%", poison))
    for coding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"):
        text = template.body.decode().replace("{", "{ä", 1) if coding == "utf-7" else template.body.decode()
        yield f"json-{coding}", template.send(text.encode(coding))


def _values(template: Template) -> Cases:
    for body in _TOP_LEVEL:
        yield f"json-top-{body!r}", template.send(_fill(body, template))
    for value in _MODELS:
        yield f"json-model-{value!r}", template.send(b'{"messages":[],"model":%b}' % _fill(value, template))
    yield "json-model-long", template.send(b'{"messages":[],"model":"%b"}' % (b"a" * 10_000))
    for value in (b'"yes"', b"1", b"0", b"[]", b"{}", b'"true"', b"1.0"):
        yield (
            f"json-stream-{value!r}",
            template.send(b'{"model":"%b","messages":[],"stream":%b}' % (template.model, value)),
        )
    for field in _FIELDS:
        for first, second in ((b"1", b"2"), (b"1", b"1"), (b'"a"', b"null")):
            body = b'{"model":"%b","%b":%b,"%b":%b}' % (template.model, field, first, field, second)
            yield f"json-twice-{field!r}-{first!r}-{second!r}", template.send(body)
    for written in (b"mod\\u0065l", b"\\u006dodel", b"\\u006d\\u006f\\u0064\\u0065\\u006c"):
        yield f"json-twice-{written!r}", template.send(b'{"model":"%b","%b":"other"}' % (template.model, written))


def _depths(template: Template) -> Cases:
    for depth in (70, 100, 500, 1_000, 5_000, 100_000):
        for name, opening, closing in (("array", b"[", b"]"), ("object", b'{"a":', b"}"), ("mixed", b'[{"a":', b"}]")):
            middle = opening * depth + b"1" + closing * depth
            yield (
                f"json-depth-{name}-{depth}",
                template.send(b'{"model":"%b","messages":%b}' % (template.model, middle)),
            )
            yield (
                f"json-depth-open-{name}-{depth}",
                template.send(b'{"model":"%b","messages":%b' % (template.model, opening * depth)),
            )


def _codings(template: Template) -> Cases:
    for coding in (b"gzip", b"br", b"deflate", b"zstd", b"compress", b"gzip, gzip", b"x", b"identity, gzip", b"GZIP"):
        yield f"content-coding-{coding!r}", template.send(extra=b"Content-Encoding: %b\r\n" % coding)
