"""What a request's Cache-Control asks of the cache (RFC 9111, 5.2.1)."""

import math
from typing import NamedTuple

from gateway.exchange import Head
from gateway.wire import read_directives, read_seconds


class Wish(NamedTuple):
    """`max_age` is seconds; 0 or less takes nothing that is kept."""

    may_store: bool = True
    only_stored: bool = False
    max_age: float = math.inf

    def accepts(self, age: float) -> bool:
        """Whether an answer that old, and the answer to a request that is under way, will do."""
        return self.max_age > 0 and age <= self.max_age


ANY = Wish()


def read_wish(head: Head) -> Wish:
    if head.get(b"cache-control") is None:
        return ANY
    told = read_directives(head.get_all(b"cache-control"))
    age = read_seconds(told.get("max-age"))
    if "no-cache" in told:
        age = 0
    return Wish("no-store" not in told, "only-if-cached" in told, math.inf if age is None else age)
