"""The error catalogue: every number that the gateway may tell, why it is told, and what helps.

The hundreds are ranges: 10 authentication, 11 authorization, 12 validation, 13 not found, 14 conflict, 15 limits,
16 stores, 17 upstreams, 18 timeouts, 19 the gateway itself. The README's table is made of it (`tollkeeper errors
--markdown`), and a test sees to it that each number is spoken somewhere.
"""

from collections.abc import Mapping

from gateway.entry import Entry
from gateway.failures import FAILURES
from gateway.refusals import REFUSALS

__all__ = ["CATALOGUE", "Entry"]

CATALOGUE: Mapping[int, Entry] = {entry.number: entry for entry in (*REFUSALS, *FAILURES)}
