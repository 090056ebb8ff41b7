"""The corpus is large, distinct, repeatable, and each case really differs from the valid request."""

from collections import Counter

import httptools
import msgspec
import pytest

from tests.faults.malformed import Case, Template, generate

TEMPLATE = Template(key=b"tk_test_0123456789abcdef", model=b"m")


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return generate(TEMPLATE)


def test_more_than_two_thousand_distinct(cases: list[Case]) -> None:
    assert len({case.data for case in cases}) == len({case.name for case in cases}) == len(cases) >= 2_000


def test_the_same_seed_gives_the_same_bytes(cases: list[Case]) -> None:
    assert generate(TEMPLATE) == cases
    assert generate(TEMPLATE, seed=1) != cases


def test_every_family_has_many(cases: list[Case]) -> None:
    families = Counter(case.name.split(":")[0] for case in cases)
    assert set(families) == {"head", "framing", "target", "document", "credential", "noise"}
    assert min(families.values()) >= 200


def test_none_is_the_valid_request(cases: list[Case]) -> None:
    valid = TEMPLATE.send()
    assert msgspec.json.decode(valid.split(b"\r\n\r\n", 1)[1])["model"] == "m"
    assert all(case.data != valid for case in cases)


def test_bodies_of_the_syntax_cases_are_no_json(cases: list[Case]) -> None:
    chosen = [case for case in cases if case.name.startswith(("document:json-cut", "document:json-malformed"))]
    chosen += [case for case in cases if case.name.startswith(("document:json-field", "document:json-number"))]
    for case in chosen:
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            msgspec.json.decode(case.data.split(b"\r\n\r\n", 1)[1])


def test_every_message_is_complete(cases: list[Case]) -> None:
    """A parser of the field refuses each case, or finds its end: none waits for bytes that never come."""
    waiting = [case.name for case in cases if _waits(case.data) and "length-too-large" not in case.name]
    assert waiting == []


def _waits(data: bytes) -> bool:
    class Seen:
        complete = False

        def on_message_complete(self) -> None:
            self.complete = True

    seen = Seen()
    try:
        httptools.HttpRequestParser(seen).feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False
    return not seen.complete
