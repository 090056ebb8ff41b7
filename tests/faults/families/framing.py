"""Lengths and codings on which two readers could disagree: the request smuggling families (RFC 9112, 6 and 7)."""

from tests.faults.families.template import CONTROLS, Cases, Template

_LENGTHS = (b"-1", b"+5", b"0x5", b"5, 6", b"5 5", b"", b"5a", b"a5", "٥".encode(), b"1e1", b"5.0", b"5;", b'"5"',
            b"(5)",
            b"18446744073709551616", b"9" * 30, b"5,", b"\xa05", b"5\xa0", b"0o5", b"--5", b"NaN", b"5_0", b"5'0",
            b"5/1")  # fmt: skip
_CODINGS = (b"gzip", b"chunked, chunked", b"chunked, gzip", b"gzip, chunked", b"identity", b"xchunked", b"chunked;q=1",
            b'"chunked"', b"chun ked", b"cow", b"chunkedx", b"chunked, identity", b"identity, chunked", b"\xffchunked",
            b"chunked\xa0", b"deflate", b"compress", b"chunk", b"c\xc4\x85hunked", b"chunked/1", b"{chunked}",
            b"")  # fmt: skip
_SPELLINGS = (b"Transfer-Encoding", b"transfer-encoding", b"TRANSFER-ENCODING", b"tRANSFER-eNCODING")
_SIZES = (b"zz", b"-1", b"-3", b"0x3", b"+3", b" 3", b"", b"g", b"3_0", b"fffffffffffffffff", b"3.0", b"3,",
          "٣".encode(), b"\x003",
          b"3\x00", b"3\xff", b"'3'", b"3h", b"10000000000000000", b"3 3", b"3;a\rb", b"\t3", b"3\x0b",
          b"3\x0c")  # fmt: skip


def framing(template: Template) -> Cases:
    yield from _lengths(template)
    yield from _codings(template)
    yield from _both(template)
    yield from _chunks(template)


def _lengths(template: Template) -> Cases:
    for value in _LENGTHS:
        yield f"length-{value!r}", template.frame(b"Content-Length: %b\r\n" % value, b"{ }{ }")
    for byte in CONTROLS:
        yield f"length-control-{byte:02x}", template.frame(b"Content-Length: 5%c\r\n" % byte, b"{   }")
    pairs = (
        (b"5", b"6"),
        (b"6", b"5"),
        (b"0", b"5"),
        (b"5", b"0"),
        (b"5", b"x"),
        (b"x", b"5"),
        (b"5", b""),
        (b"", b"5"),
    )
    for first, second in pairs:
        lines = b"Content-Length: %b\r\ncontent-length: %b\r\n" % (first, second)
        yield f"lengths-{first!r}-{second!r}", template.frame(lines, b"{    }")
    for size in (10_000_001, 10**9, 10**12, 2**31, 2**32 + 5, 2**63 - 1):
        yield f"length-too-large-{size}", template.frame(b"Content-Length: %d\r\n" % size, b"")


def _codings(template: Template) -> Cases:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(template.body), template.body)
    for spelling in _SPELLINGS:
        for value in _CODINGS:
            yield f"coding-{spelling.decode()}-{value!r}", template.frame(b"%b: %b\r\n" % (spelling, value), body)
    for byte in CONTROLS:
        yield f"coding-control-first-{byte:02x}", template.frame(b"Transfer-Encoding: %cchunked\r\n" % byte, body)
        yield f"coding-control-last-{byte:02x}", template.frame(b"Transfer-Encoding: chunked%c\r\n" % byte, body)
    for first in (b"chunked", b"identity", b"gzip", b"cow"):
        for second in (b"chunked", b"identity", b"x"):
            lines = b"Transfer-Encoding: %b\r\nTransfer-encoding: %b\r\n" % (first, second)
            yield f"codings-{first.decode()}-{second.decode()}", template.frame(lines, body)
    old = b"POST %b HTTP/1.0" % template.path
    yield "coding-in-http-1.0", template.frame(b"Transfer-Encoding: chunked\r\n", body, line=old)


def _both(template: Template) -> Cases:
    """Content-Length together with Transfer-Encoding, however disguised: TE.CL, CL.TE and TE.TE."""
    disguises = {
        "plain": b"Transfer-Encoding: chunked", "case": b"tRANSFER-ENCODING: cHUNKED",
        "tab": b"Transfer-Encoding:\tchunked",
        "no-space": b"Transfer-Encoding:chunked", "spaces": b"Transfer-Encoding:   chunked   ",
        "space-before": b"Transfer-Encoding : chunked",
        "tab-before": b"Transfer-Encoding\t: chunked", "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "second": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "identity": b"Transfer-Encoding: identity, chunked",
        "nul": b"Transfer-Encoding\x00: chunked", "vertical": b"Transfer-Encoding:\x0bchunked",
        "quoted": b"Transfer-Encoding: \"chunked\"",
        "underscore": b"Transfer_Encoding: chunked", "list": b"Transfer-Encoding: chunked, cow",
        "high": b"Transfer-Encoding\xff: chunked",
        "bare-cr": b"X: y\rTransfer-Encoding: chunked", "bare-lf": b"X: y\nTransfer-Encoding: chunked",
    }  # fmt: skip
    chunks = b"1\r\n{\r\n0\r\n\r\n"
    for name, disguise in disguises.items():
        for length in (b"0", b"5", b"%d" % len(chunks)):
            lines = (disguise, b"Content-Length: " + length)
            for order in (lines, lines[::-1]):
                case = f"both-{name}-{length.decode()}-{'te' if order is lines else 'cl'}-first"
                yield case, template.frame(b"\r\n".join(order) + b"\r\n", chunks)


def _chunks(template: Template) -> Cases:
    te = b"Transfer-Encoding: chunked\r\n"
    for size in _SIZES:
        yield f"chunk-size-{size!r}", template.frame(te, b"%b\r\n{ }\r\n0\r\n\r\n" % size)
    for name, body in {
        "too-long": b"3\r\n{ }X\r\n0\r\n\r\n", "too-short": b"4\r\n{ }\r\n0\r\n\r\n", "no-end": b"3\r\n{ }0\r\n\r\n",
        "end-x": b"3\r\n{ }xx0\r\n\r\n", "bare-cr": b"3\r{ }\r\n0\r\n\r\n",
        "trailer-no-colon": b"3\r\n{ }\r\n0\r\nbad trailer\r\n\r\n",
        "trailer-space": b"3\r\n{ }\r\n0\r\nX : 1\r\n\r\n", "trailer-nul": b"3\r\n{ }\r\n0\r\nX: \x00\r\n\r\n",
        "no-chunks": b"0\r\n\r\n", "not-chunked": b"{    }\r\n\r\n",
        "extension-nul": b"3;a=\x00\r\n{ }\r\n0\r\n\r\n", "extension-control": b"3;\x01\r\n{ }\r\n0\r\n\r\n",
    }.items():  # fmt: skip
        yield f"chunk-{name}", template.frame(te, body)
