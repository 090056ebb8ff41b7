"""Entries and their chain. Pure: values in, hashes and verdicts out.

The hash of an entry is the SHA-256 of its predecessor's hash and of itself as canonical JSON. So nothing can be
changed, removed, inserted or moved without every later hash being another one. What is cut off at the end does not
show in the chain: for that, the number and hash of the last entry are kept elsewhere (`Head`). What retention removes
at the beginning is named in a later entry, `audit.pruned`.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

import msgspec

PRUNED = "audit.pruned"
NOTHING = ""  # the hash before the first entry


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`at` is unix microseconds. `details` never hold a secret, nor anything of a request's body."""

    at: int
    actor: str  # operator uid 0, admin, consumer acme; empty: nobody is known
    action: str  # key.new, reload, PUT /admin/consumers/{name}, login.failed
    subject: str = ""  # what it was done to
    address: str = ""
    outcome: str = "done"  # or refused
    details: Mapping[str, str] = {}


class Link(msgspec.Struct, frozen=True):
    """An entry in the chain of one instance of the gateway. Numbers begin with 1."""

    instance: str
    number: int
    entry: Entry
    previous: str
    hash: str


class Head(msgspec.Struct, frozen=True):
    """The last entry of a chain, or the one before the first that is left."""

    number: int = 0
    hash: str = NOTHING


class Verdict(msgspec.Struct, frozen=True):
    """`entries` were looked at; `fault` says what is wrong with the first bad one, empty: nothing is."""

    instance: str
    entries: int
    fault: str = ""


_encode = msgspec.json.Encoder(order="sorted").encode


def link(instance: str, head: Head, entry: Entry) -> Link:
    """`entry` behind `head`."""
    number = head.number + 1
    return Link(instance, number, entry, head.hash, _hash(instance, number, head.hash, entry))


def verify(instance: str, links: Iterable[Link], kept: Head | None) -> Verdict:
    """Follow the chain in the order of its numbers. `kept` is a head that the chain once had, where it is known."""
    count, head, pruned = 0, Head(), set[tuple[str, str]]()
    missing, has_kept = Head(), kept is None or kept.number == 0
    for at in links:
        if count == 0 and at.number > 1:
            missing = head = Head(at.number - 1, at.previous)
        fault = _find_fault(instance, head, at)
        if fault:
            return Verdict(instance, count, fault)
        count, head = count + 1, Head(at.number, at.hash)
        has_kept |= head == kept
        if at.entry.action == PRUNED:
            pruned.add((at.entry.details.get("number", ""), at.entry.details.get("hash", "")))
    if missing.number and (str(missing.number), missing.hash) not in pruned:
        return Verdict(instance, count, f"entries 1 to {missing.number} are missing, and no entry says why")
    if kept is not None and not has_kept and kept.number > missing.number:
        return Verdict(instance, count, f"entry {kept.number} is missing or another one: the chain was cut or replaced")
    return Verdict(instance, count)


def _find_fault(instance: str, head: Head, at: Link) -> str:
    if at.number != head.number + 1:
        return f"entry {head.number + 1} is missing"
    if at.previous != head.hash:
        return f"entry {at.number} does not follow entry {head.number}"
    if at.hash != _hash(instance, at.number, at.previous, at.entry):
        return f"entry {at.number} was changed"
    return ""


def _hash(instance: str, number: int, previous: str, entry: Entry) -> str:
    return sha256(previous.encode() + _encode((instance, number, msgspec.structs.astuple(entry)))).hexdigest()
