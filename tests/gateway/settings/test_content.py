import json
from typing import Any

import pytest

from gateway.settings.check import find_problems
from gateway.settings.load import load_text


def problems(content: Any = True, trace: Any = None, **route: Any) -> list[str]:
    document = {
        "backends": {"up": {"http": {"endpoints": [{"url": "http://127.0.0.1:1"}]}}},
        "models": {"m": {"backend": "up", "price": {"input": 0, "output": 0}}},
        "routes": [{"path": "/v1/chat/completions", "auth": "none", "content": content, **route}],
        "trace": trace or {},
    }
    found = find_problems(load_text(json.dumps(document), {}))
    return [str(problem) for problem in found if "content" in problem.path or "trace" in problem.path]


@pytest.mark.parametrize(
    ("content", "kept"),
    [(True, (4000, 16_000)), (False, None), (None, None), ({}, (4000, 16_000)), ({"output": "1KB"}, (4000, 1000))],
)
def test_short_forms(content: Any, kept: tuple[int, int] | None) -> None:
    route = load_text(json.dumps({"routes": [{"path": "/x", "content": content}]}), {}).routes[0]
    assert (route.content and (route.content.input, route.content.output)) == kept
    assert problems(content) == []


@pytest.mark.parametrize(
    "pattern",
    ["keys", "PAT-[0-9]{6,12}", "(?i)acme[ -]?corp", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){3,6}\b", "a|b|c",
     "(?:ab){1,30}", "[a-z]{1,900}", "x{1,20}+y", "(?=a)b", r"(a)\1"],
)  # fmt: skip
def test_quick_patterns(pattern: str) -> None:
    assert problems({"redact": [pattern]}) == problems(trace={"redact": [pattern]}) == []


@pytest.mark.parametrize(
    "pattern",
    ["a+b", "(a+)+$", "(a|a)*b", ".*x", "(?:a{1,50}){1,50}b", "(a|b|ab){1,40}c", "[a-z]{0,100}[a-z]{0,100}x", "a{1,}b",
     "x++y"],
)  # fmt: skip
def test_slow_patterns_are_refused(pattern: str) -> None:
    (told,) = problems({"redact": ["keys", pattern]})
    assert "routes[0].content.redact[1]" in told and "may take long on some texts" in told


@pytest.mark.parametrize(
    ("content", "route", "told"),
    [
        ({"redact": ["("]}, {}, "is not a regular expression"),
        ({"redact": ["email"]}, {}, "did you mean `emails`?"),
        ({"redact": ["a{0,3}"]}, {}, "matches nothing at all, and so everywhere"),
        ({"input": "1MB"}, {}, "at most 64KB can be kept"),
        ({"output": "1MB"}, {}, "at most 64KB can be kept"),
        (True, {"to": "up"}, "name its `dialect`, or keep no content"),
        (True, {"to": "up", "dialect": "plain"}, "name its `dialect`, or keep no content"),
    ],
)
def test_what_is_wrong(content: Any, route: dict[str, Any], told: str) -> None:
    (found,) = problems(content, **route)
    assert told in found


def test_a_route_to_a_backend_that_has_a_dialect_keeps_content() -> None:
    assert problems(True, to="up", dialect="chat") == []
