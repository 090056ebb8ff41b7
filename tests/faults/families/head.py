"""Start lines and header fields that RFC 9112, 3 and 5, RFC 9110, 5 and 7.2, or the gateway's own rules refuse."""

from tests.faults.families.template import CONTROLS, TOKEN, Cases, Template

_VERSIONS = (b"", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/1.1.1", b"http/1.1", b"HTTP/11", b"HTTP/ 1.1",
             b"HTTPS/1.1",
             b"HTTP/1.10", b"HTTP/x.y", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/-1.1", b"HTTP/1,1", b"HTTP\\1.1",
             b"ICY/1.0",
             b"HTTP/\xff.1", b"HTTP/01.1", b"HTTP/1.1 x", b"HTTP/1.1\x00", b"1.1")  # fmt: skip
_METHODS = (b"post", b"TRACE", b"CONNECT", b"PROPFIND", b"PRI", b"FOO", b"POSTPOST", b"GETPOST", b"P", b"",
            b"\xc2\xa0POST",
            b"POST\xe2\x80\x8b", b"X" * 300)  # fmt: skip
_HOSTS = (b"", b"a b", b"a/b", b"u@a", b"a:b:c", b"a:port", b"a:999999", b"a:-1", b"[::1", b"::1", b"a?b", b"a#b",
          b"http://a",
          b"[::1]x", b"[zz]", b"a:80:80", b":80", b"a b:80", b"<a>", b'"a"', b"a\\b", b"a^b", b"a`b", b"a{b",
          b"a|b")  # fmt: skip
_HELD = (b"X-Any", b"User-Agent", b"Content-Type", b"Accept", b"X-Request-ID", b"Host", b"traceparent")


def head(template: Template) -> Cases:
    yield from _lines(template)
    yield from _names(template)
    yield from _values(template)
    yield from _hosts(template)
    yield from _sizes(template)


def _lines(template: Template) -> Cases:
    path = template.path
    for method in _METHODS:
        yield f"method-{method[:20]!r}", template.send(line=b"%b %b HTTP/1.1" % (method, path))
    for byte in sorted(set(range(256)) - TOKEN - {0x0A, 0x0D}):
        yield f"method-byte-{byte:02x}", template.send(line=b"PO%cST %b HTTP/1.1" % (byte, path))
    for version in _VERSIONS:
        yield f"version-{version!r}", template.send(line=b"POST %b %b" % (path, version))
    for name, line in {"tabs": b"POST\t%b\tHTTP/1.1", "colon": b"POST: %b HTTP/1.1", "swapped": b"HTTP/1.1 POST %b",
                       "answer": b"HTTP/1.1 200 OK %b", "one-word": b"POST%b",
                       "bare-cr": b"POST %b\rHTTP/1.1"}.items():  # fmt: skip
        yield f"line-{name}", template.send(line=line % path)


def _names(template: Template) -> Cases:
    for byte in sorted(set(range(256)) - TOKEN - {ord(":")}):
        if byte not in b" \t\r\n":
            yield f"name-first-{byte:02x}", template.send(extra=b"%cX: 1\r\n" % byte)
        yield f"name-inside-{byte:02x}", template.send(extra=b"X%cY: 1\r\n" % byte)
        if byte not in b"\r\n":
            yield f"name-last-{byte:02x}", template.send(extra=b"X%c: 1\r\n" % byte)
            yield f"name-of-key-{byte:02x}", template.send(extra=b"X-Consumer%cID: 1\r\n" % byte)
    for name in (b"X_Consumer_ID", b"x_api_key", b"Transfer_Encoding", b"Content_Length", b"_", b"Authorization_"):
        yield f"underscore-{name!r}", template.send(extra=name + b": 1\r\n")
    for case, line in {"empty": b": 1", "no-colon": b"X-Any", "only-space": b" : 1", "colon": b":"}.items():
        yield f"name-{case}", template.send(extra=line + b"\r\n")


def _values(template: Template) -> Cases:
    for name in _HELD:
        fields = template.fields if name != b"Host" else b"Authorization: Bearer %b\r\n" % template.key
        for byte in CONTROLS:
            yield (
                f"value-{name.decode()}-{byte:02x}",
                template.send(extra=b"%b: a%cb\r\n" % (name, byte), fields=fields),
            )


def _hosts(template: Template) -> Cases:
    fields = b"Authorization: Bearer %b\r\n" % template.key
    yield "host-none", template.send(fields=fields)
    for host in (template.host, b"other", b""):
        yield f"host-twice-{host!r}", template.send(extra=b"Host: %b\r\n" % host)
        yield f"host-twice-other-case-{host!r}", template.send(extra=b"hOST: %b\r\n" % host)
    for host in _HOSTS:
        yield f"host-{host!r}", template.send(fields=fields + b"Host: %b\r\n" % host)
    for byte in range(0x80, 0x100):
        yield f"host-byte-{byte:02x}", template.send(fields=fields + b"Host: a%cb\r\n" % byte)


def _sizes(template: Template) -> Cases:
    for count in (150, 1_000, 5_000):
        yield f"size-{count}-fields", template.send(extra=b"".join(b"X-%d: 1\r\n" % n for n in range(count)))
    for size in (40_000, 100_000, 300_000):
        yield f"size-value-{size}", template.send(extra=b"X: %b\r\n" % (b"a" * size))
        yield f"size-name-{size}", template.send(extra=b"%b: 1\r\n" % (b"a" * size))
        yield f"size-path-{size}", template.send(line=b"POST /%b HTTP/1.1" % (b"a" * size))
        yield f"size-query-{size}", template.send(line=b"POST %b?%b HTTP/1.1" % (template.path, b"a" * size))
        yield f"size-method-{size}", template.send(line=b"%b %b HTTP/1.1" % (b"P" * size, template.path))
    for value in (b"100-continued", b"200-ok", b"a, 100-continue", b"\xff"):
        yield f"expect-{value!r}", template.send(extra=b"Expect: %b\r\n" % value)
