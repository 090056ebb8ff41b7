"""Routes: their paths, methods and order."""

import re
from collections.abc import Iterator

from gateway.http.faults import BadRequest
from gateway.http.path import normalise_path
from gateway.settings.problem import Problem, join
from gateway.settings.schema import Config, Route

_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")


def check_paths(config: Config) -> Iterator[Problem]:
    """Every route can be reached, and by the path as it is written."""
    if not config.routes:
        yield Problem("routes", "there are no routes: every request would be refused", "warning")
    earlier: list[tuple[str, Route]] = []
    for at, route in enumerate(config.routes):
        path = join("routes", at)
        yield from _route(route, path)
        for other_path, other in earlier:
            if other.path == route.path and _covers(other, route):
                yield Problem(path, f"is never reached: {other_path} takes the same path and methods")
                break
        earlier.append((path, route))


def _route(route: Route, path: str) -> Iterator[Problem]:
    plain = route.path.removesuffix("/*")
    if not _is_plain(plain):
        message = f"`{route.path}` is not a plain path such as /v1/chat/completions, or a prefix such as /files/*"
        yield Problem(f"{path}.path", message)
    for method in route.methods:
        if not _METHOD.fullmatch(method) or method in ("TRACE", "CONNECT"):
            yield Problem(f"{path}.methods", f"`{method}` is not a method that can be passed on; write GET, POST, …")
    if route.strip and not (plain == route.strip or plain.startswith(route.strip.rstrip("/") + "/")):
        yield Problem(f"{path}.strip", f"`{route.strip}` is not the beginning of {route.path}")
    if route.early_comments and route.to != "models":
        yield Problem(f"{path}.early_comments", "only streams of models begin before there is an answer")


def _is_plain(path: str) -> bool:
    """Whether a request for `path` is matched under that very name; "" is the prefix of everything."""
    try:
        return "*" not in path and normalise_path((path or "/").encode()) == (path or "/")
    except BadRequest:
        return False


def _covers(earlier: Route, later: Route) -> bool:
    """Whether `later` never gets a request; a route to models takes POST where it names no methods."""
    first, second = (
        {"POST"} if route.to == "models" and not route.methods else set(route.methods) for route in (earlier, later)
    )
    return not first or (bool(second) and second <= first)
