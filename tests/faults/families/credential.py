"""Requests whose credential is none: every byte in every place of it, wrong schemes, wrong places, too many."""

from tests.faults.families.template import Cases, Template

_RUBBISH = (
    b"' OR '1'='1", b"'; DROP TABLE keys;--", b"\" OR \"\"=\"", b"%s%s%n", b"{{7*7}}", b"${jndi:ldap://x/}",
    b"../../etc/passwd", b"null", b"undefined",
    b"None", b"0", b"-1", b"true", b"*", b"tk_", b"tk_live_", b"sk-", b"a" * 10, b"a" * 1_000, b"a" * 8_193,
    b"a" * 20_000, "ключ".encode(), b"\xff\xfe",
    b"\xc0\x80", b"eyJhbGciOiJub25lIn0.e30.", b"eyJhbGciOiJIUzI1NiJ9.e30.c2ln", b"e30.e30.e30", b"..", b"a.b.c",
    b"eyJ..", b"=", b"====", b"a,b", b"\"a\"",
)  # fmt: skip
_SCHEMES = (
    b"Basic",
    b"Digest",
    b"Token",
    b"BearerX",
    b"Bear",
    b"Negotiate",
    b"Key",
    b"AWS4-HMAC-SHA256",
    b"Bearer:",
    b"Bearer=",
    b'"Bearer"',
    b"null",
)
_HEADERS = (b"Authorization: Bearer ", b"x-api-key: ", b"api-key: ")


def credential(template: Template) -> Cases:
    host = b"Host: %b\r\nContent-Type: application/json\r\n" % template.host

    def send(line: bytes) -> bytes:
        return template.send(fields=host, extra=line and line + b"\r\n")

    key, middle = template.key, len(template.key) // 2
    for header in _HEADERS:
        name = header.split(b":")[0].decode()
        for byte in range(256):
            yield f"{name}-inserted-{byte:02x}", send(header + key[:middle] + bytes((byte,)) + key[middle:])
            if byte != key[middle]:
                yield f"{name}-replaced-{byte:02x}", send(header + key[:middle] + bytes((byte,)) + key[middle + 1 :])
        for rubbish in _RUBBISH:
            yield f"{name}-rubbish-{len(rubbish)}-{rubbish[:20]!r}", send(header + rubbish)
        for name_of, wrong in {
            "cut": key[:-1],
            "long": key + b"x",
            "twice": key + key,
            "reversed": key[::-1],
            "upper": key.swapcase(),
        }.items():
            if wrong != key:
                yield f"{name}-{name_of}", send(header + wrong)
    for scheme in _SCHEMES:
        yield f"scheme-{scheme!r}", send(b"Authorization: %b %b" % (scheme, key))
    for case, line in {
        "none": b"", "empty": b"Authorization:", "only-scheme": b"Authorization: Bearer",
        "glued": b"Authorization: Bearer" + key, "bare": b"Authorization: " + key,
        "cookie": b"Cookie: api_key=%b; Authorization=%b" % (key, key),
        "proxy": b"Proxy-Authorization: Bearer " + key, "x-authorization": b"X-Authorization: Bearer " + key,
        "identity": b"X-Consumer-ID: admin\r\nX-Consumer-Tier: enterprise\r\nX-Tollkeeper-Consumer: admin",
        "forwarded": b"X-Forwarded-User: admin",
        "two-authorizations": b"Authorization: Bearer %b\r\nAuthorization: Bearer other" % key,
        "two-headers": b"Authorization: Bearer %b\r\nx-api-key: other" % key,
        "two-plain": b"x-api-key: %b\r\napi-key: other" % key,
        "two-api-keys": b"api-key: other\r\napi-key: %b" % key,
        "list": b"Authorization: Bearer %b, Bearer %b" % (key, key),
    }.items():  # fmt: skip
        yield f"credential-{case}", send(line)
    for field in (b"api_key", b"key", b"access_token", b"token", b"Authorization"):
        line = b"POST %b?%b=%b HTTP/1.1" % (template.path, field, key)
        yield f"credential-query-{field.decode()}", template.send(line=line, fields=host)
