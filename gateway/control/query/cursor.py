"""Where the next page begins: behind a row, by the value that is sorted by and the row's id.

So rows that come or go move no page. A cursor gives no rights: whose rows are seen is asked anew for each page.
"""

import base64
import binascii
from hashlib import blake2b

import msgspec

from gateway.control.query.condition import Condition


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`now` is when the first page was asked for: times relative to it do not move. `digest` is the query's."""

    now: int
    value: int
    id: str
    digest: bytes


_decoder = msgspec.msgpack.Decoder(Cursor)
_encode = msgspec.msgpack.Encoder().encode


def digest_query(condition: Condition, sort: str) -> bytes:
    """Tells queries apart, so that a cursor of one is not taken for another's."""
    return blake2b(repr((condition, sort)).encode(), digest_size=8).digest()


def show_cursor(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(_encode(cursor)).rstrip(b"=").decode()


def parse_cursor(text: str) -> Cursor:
    """Raises ValueError for what is none of ours."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return _decoder.decode(data)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise ValueError("the cursor is none that was given out; begin without one") from None
