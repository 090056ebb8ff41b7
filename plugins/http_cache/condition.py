"""Conditional requests (RFC 9110, 13): whether what the client has, or expects, is what there is."""

import re
from typing import NamedTuple

from gateway.exchange import Head
from plugins.http_cache.date import read_date

_CONDITIONS = (b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since")
_tags = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")').findall


class Validators(NamedTuple):
    """What tells one representation from another: its fields ETag and Last-Modified."""

    etag: bytes | None
    modified: bytes | None


def judge(head: Head, validators: Validators, now: float) -> int:
    """What becomes of a GET or HEAD that would be answered with 200: 200, 304 or 412, in the order of 13.2.2.

    `now` is unix seconds. A date that is no date, or stands twice, counts as absent (13.1.3, 13.1.4).
    """
    if all(head.get(name) is None for name in _CONDITIONS):
        return 200
    expected = head.get_all(b"if-match")
    if expected:
        if not _is_among(expected, validators.etag, weak=False):
            return 412
    elif _is_later(validators, head, b"if-unmodified-since", now):
        return 412
    known = head.get_all(b"if-none-match")
    if known:
        return 304 if _is_among(known, validators.etag, weak=True) else 200
    return 304 if _is_later(validators, head, b"if-modified-since", now) is False else 200


def _is_among(values: list[bytes], etag: bytes | None, weak: bool) -> bool:
    """Whether a list of entity tags, or `*`, holds `etag` (8.8.3.2): weakly, `W/` on either side does not matter."""
    if b"*" in (value.strip() for value in values):
        return True
    if etag is None:
        return False
    is_weak = etag.startswith(b"W/")
    if is_weak and not weak:
        return False
    opaque = etag[2:] if is_weak else etag
    return any(tag == opaque and (weak or not mark) for value in values for mark, tag in _tags(value))


def _is_later(validators: Validators, head: Head, name: bytes, now: float) -> bool | None:
    """Whether it was modified after the date of this field; None where either date is missing."""
    given = head.get_all(name)
    if len(given) != 1:
        return None
    since, modified = read_date(given[0].strip(), now), read_date(validators.modified, now)
    return None if since is None or modified is None else modified > since
