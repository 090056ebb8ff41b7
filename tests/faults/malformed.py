"""More than 2,000 distinct requests that no gateway may answer with 2xx, and none may answer with 5xx.

Each is complete as it stands: a server can refuse it without waiting for more, except where its Content-Length is
itself above the limit. What to expect of all of them: an answer with a 4xx of the error catalogue, or a closed
connection. Pure: the same template and seed give the same bytes.
"""

import msgspec

from tests.faults.families.credential import credential
from tests.faults.families.document import document
from tests.faults.families.framing import framing
from tests.faults.families.head import head
from tests.faults.families.noise import noise
from tests.faults.families.target import target
from tests.faults.families.template import Template

__all__ = ["Case", "Template", "generate"]


class Case(msgspec.Struct, frozen=True):
    """`name` is unique and begins with its family."""

    name: str
    data: bytes


def generate(template: Template, seed: int = 0) -> list[Case]:
    """All cases, in a fixed order; of two that came out byte-equal the first stands."""
    cases: dict[bytes, Case] = {}
    families = {
        "head": head(template), "framing": framing(template), "target": target(template),
        "document": document(template),
        "credential": credential(template), "noise": noise(template, seed),
    }  # fmt: skip
    for family, members in families.items():
        for name, data in members:
            cases.setdefault(data, Case(f"{family}:{name}", data))
    return list(cases.values())
