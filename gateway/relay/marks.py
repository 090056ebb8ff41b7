"""What a caller says of a request beside its content: session, end user, tags. They stand in its row, and only there.

What is not as it should be is no reason to refuse a request: it is left out.
"""

import re
from collections.abc import Mapping

import msgspec

from gateway.exchange import Exchange
from gateway.http.memo import Memo

_LONGEST_USER = 256  # characters
_MOST_TAGS = 16
_is_session = re.compile(rb"[!-~]{1,128}").fullmatch
_is_tag = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.:/=@+-]{0,63}").fullmatch


class _Metadata(msgspec.Struct):
    user_id: str = ""


_read_text = msgspec.json.Decoder(str)
_read_metadata = msgspec.json.Decoder(_Metadata)


def read_session(value: bytes) -> str:
    """What `X-Session-ID` says: up to 128 visible ASCII characters."""
    return value.decode("ascii") if _is_session(value) else ""


def _read_tags(value: bytes) -> str:
    tags = {tag for part in value.split(b",") if _is_tag(tag := part.strip(b" \t"))}
    return b",".join(sorted(tags)[:_MOST_TAGS]).decode("ascii")


tags: Memo[str] = Memo(_read_tags)
"""What `X-Tollkeeper-Tags` says, sorted, joined by commas: at most 16 of up to 64 characters."""


def find_user(exchange: Exchange) -> str:
    """The end user that the body names: `user`, or `metadata.user_id` of Messages; up to 256 visible characters."""
    fields: Mapping[str, msgspec.Raw] | None = exchange.fields
    if not fields:
        return ""
    try:
        if "user" in fields:
            user = _read_text.decode(fields["user"])
        elif "metadata" in fields and exchange.dialect is not None and exchange.dialect.shape == "anthropic":
            user = _read_metadata.decode(fields["metadata"]).user_id
        else:
            return ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return user if len(user) <= _LONGEST_USER and user.isprintable() else ""
