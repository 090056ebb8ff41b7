"""What is kept of prompts and answers: how much, where there are any, and whether it is redacted in bounded time."""

import importlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.redaction import PRESETS
from gateway.settings.problem import Problem, join, suggest
from gateway.settings.schema import Config, Route

_MOST = 64_000  # bytes of one prompt or answer: what is kept goes through the journal, and is redacted on the way
_STEPS = 2000  # that a pattern may take at one character of a text, at the worst
_parser: Any = importlib.import_module("re._parser")  # the one source that knows what a pattern is made of


def check_content(config: Config) -> Iterator[Problem]:
    """Contents are bounded, those of models, and every pattern that redacts them is one, and a quick one."""
    yield from _patterns(config.trace.redact, "trace.redact")
    for at, route in enumerate(config.routes):
        if route.content is not None:
            yield from _route(route, join(join("routes", at), "content"))


def _route(route: Route, path: str) -> Iterator[Problem]:
    assert route.content is not None
    if route.to != "models" and route.dialect in ("auto", "plain"):
        yield Problem(path, "the route passes bytes as they come: name its `dialect`, or keep no content")
    for name in ("input", "output"):
        if getattr(route.content, name) > _MOST:
            yield Problem(f"{path}.{name}", f"at most {_MOST // 1000}KB can be kept")
    yield from _patterns(route.content.redact, f"{path}.redact")


def _patterns(wanted: Sequence[str], path: str) -> Iterator[Problem]:
    for at, text in enumerate(wanted):
        if text in PRESETS:
            continue
        where = join(path, at)
        try:
            with_flags = re.compile(text)
            ways, steps = _weigh(_parser.parse(text))
        except re.error as error:
            hint = suggest(text, PRESETS) if text.isidentifier() else ""
            yield Problem(where, f"`{text}` is not a regular expression: {error}{hint}")
            continue
        if with_flags.match(""):
            yield Problem(where, f"`{text}` matches nothing at all, and so everywhere")
        if text.isidentifier() and text.islower():
            yield Problem(
                where, f"`{text}` is no preset, so this very word is redacted{suggest(text, PRESETS)}", "warning"
            )
        if max(ways, steps) > _STEPS:
            message = "may take long on some texts: bound what repeats, such as {0,20} for *, and do not nest it"
            yield Problem(where, f"`{text}` {message}")


def _weigh(parts: Any) -> tuple[int, int]:
    """In how many ways a sequence can match at one place, and the steps to try them all; both at the worst."""
    ways = steps = 1
    for operator, argument in parts:
        more, cost = _weigh_one(str(operator), argument)
        steps = min(steps + ways * cost, 10**9)
        ways = min(ways * more, 10**9)
    return ways, steps


def _weigh_one(operator: str, argument: Any) -> tuple[int, int]:
    if operator in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _weigh_repeat(operator, *argument)
    if operator == "SUBPATTERN":
        return _weigh(argument[3])
    if operator == "BRANCH":
        options = [_weigh(option) for option in argument[1]]
        return sum(ways for ways, _ in options), sum(steps for _, steps in options)
    if operator in ("ASSERT", "ASSERT_NOT"):
        return 1, _weigh(argument[1])[1]
    if operator == "ATOMIC_GROUP":
        return 1, _weigh(argument)[1]
    return (1, 1) if operator != "GROUPREF_EXISTS" else (10**9, 10**9)


def _weigh_repeat(operator: str, least: int, most: int, inner: Any) -> tuple[int, int]:
    """A repeat without an end may run through all of the text, at each of its places."""
    if most > _STEPS:
        return 10**9, 10**9
    ways, steps = _weigh(inner)
    if operator == "POSSESSIVE_REPEAT":
        return 1, steps * most
    reached = [min(ways**count, 10**9) for count in range(most + 1)]
    return sum(reached[least:]), steps * sum(reached[:-1])
