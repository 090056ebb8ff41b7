"""Request targets that two programs may read differently (RFC 3986; the gateway's one spelling of a path)."""

from tests.faults.families.template import Cases, Template

_LEGAL = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@%/?")
_POISONS = (b"%2f", b"%2F", b"%5c", b"%5C", b"%00", b"%252f", b"%252e%252e", b"%255c", b"%2500", b"..;a=b", b"..;",
            b"..%3b", b"..%3Bx",
            b".;x", b"%", b"%2", b"%zz", b"%u0041", b"%ff", b"%c0%ae", b"%c0%af", b"%ed%a0%80", b"%80", b"%e2%82",
            b"%f5%80%80%80",
            b"%C3", b"%25%32%66", b"%2%66", b"%%32%66", b"%0d%0aX:1", b"%0a", b"%0d", b"%1b", b"%7f")  # fmt: skip
_WHOLE = (b"v1/chat/completions", b"*", b"gateway:80", b"ftp://gateway/v1/chat/completions",
          b"http:///v1/chat/completions",
          b"http://u@gateway/v1/chat/completions", b"file:///etc/passwd", b"gopher://x/", b"javascript:0",
          b"http:/v1/chat/completions",
          b"https:gateway/v1/chat/completions", b"/../v1/chat/completions", b"/%2e%2e/v1/chat/completions",
          b"/v1/../../v1/chat/completions",
          b"//v1/chat/completions", b"/v1//chat/completions", b"/v1/chat//completions", b"/v1/chat/completions//",
          b"///", b"?x=1",
          b"#", b"/v1/chat/completions#x", b"/v1/chat/completions?a#b", b"\\v1\\chat\\completions",
          b"http://a b/v1/chat/completions",
          b"http://[::1/v1/chat/completions", b"http://gateway:port/v1/chat/completions", b"", b"://",
          b"http://")  # fmt: skip


def target(template: Template) -> Cases:
    for poison in _POISONS:
        for place in (
            b"/%b/v1/chat/completions",
            b"/v1/%b/chat/completions",
            b"/v1/chat/completions/%b",
            b"/v1/chat%b/completions",
        ):
            shown = place % poison
            if not _is_harmless(poison, place):
                yield f"target-{shown!r}", template.send(line=b"POST %b HTTP/1.1" % shown)
    for code in (*range(0x20), 0x7F):
        yield f"target-escaped-{code:02x}", template.send(line=b"POST /v1/chat/%%%02x HTTP/1.1" % code)
        yield (
            f"target-escaped-front-{code:02x}",
            template.send(line=b"POST /%%%02X/v1/chat/completions HTTP/1.1" % code),
        )
    for byte in sorted(set(range(256)) - _LEGAL - {0x0A, 0x0D}):
        for name, place in (
            ("inside", b"/v1/chat%c/completions"),
            ("last", b"/v1/chat/completions/%c"),
            ("front", b"%c/v1/chat/completions"),
        ):
            if (name, byte) != ("front", 0x20):  # two spaces, which a lenient reader may take for one (RFC 9112, 3)
                yield f"target-{name}-byte-{byte:02x}", template.send(line=b"POST %b HTTP/1.1" % (place % byte))
    for byte in (*range(0x09), *range(0x0B, 0x0D), *range(0x0E, 0x20), 0x7F):
        yield f"query-byte-{byte:02x}", template.send(line=b"POST %b?a%c HTTP/1.1" % (template.path, byte))
    for whole in _WHOLE:
        yield f"target-whole-{whole!r}", template.send(line=b"POST %b HTTP/1.1" % whole)


def _is_harmless(poison: bytes, place: bytes) -> bool:
    """Parameters of a dot segment are only those where the segment begins with the dots."""
    return poison.startswith(b".") and b"chat%b" in place
