"""Pages of lists: what stands in the envelope beside the data, and lists that are short enough to be cut."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.control.api.call import Listed, Page


class Pagination(msgspec.Struct, frozen=True):
    """`cursor` is where the next page begins, null at the end."""

    cursor: str | None
    has_more: bool
    limit: int


class Meta(msgspec.Struct, frozen=True):
    """Of the answer itself."""

    timestamp: str
    execution_time_ms: int
    cached: bool
    version: str
    request_id: str


def cut(rows: Sequence[dict[str, Any]], page: Page, key: str) -> Listed:
    """A page of `rows`, which are sorted by `key`; the cursor is the key of its last one. Pure."""
    rest = [row for row in rows if row[key] > page.cursor]
    has_more = len(rest) > page.limit
    shown = rest[: page.limit]
    return Listed(shown, str(shown[-1][key]) if has_more else None, has_more)
