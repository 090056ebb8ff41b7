"""Limits of tiers, models and routes: whether each says what is counted, how much, and by whom."""

import re
from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

from gateway.settings.problem import Problem, join, suggest
from gateway.settings.schema import Cap, Config, Tier

KINDS = ("rate", "tokens", "monthly", "monthly_tokens", "concurrency", "budget")
_MONTHS = ("monthly", "monthly_tokens", "budget")
_PERSONAL = {"consumer", "credential", "session"}  # whose counters belong to callers of one tier
_WORDS = ("consumer", "credential", "project", "ip", "session", "model", "route")
_HEADER = re.compile(r"header:[a-z0-9-]+")
_NAME = re.compile(r"[A-Za-z0-9][\w.:@-]{0,63}", re.ASCII)
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")


def check_limits(config: Config) -> Iterator[Problem]:
    """Every limit can be counted, and no two of one list are the same counter."""
    months = {(tier.zone, tier.anchor) for tier in config.tiers.values()}
    for name, tier in config.tiers.items():
        yield from _tier(tier, f"tiers.{name}")
    yield from _months_apart(config)
    for name, model in config.models.items():
        path = f"models.{name}"
        yield from _caps(model.limits, f"{path}.limits", "model")
        yield from _shared_months(model.limits, f"{path}.limits", len(months))
        if model.alias and (model.limits or model.price or model.max_tokens):
            yield Problem(path, f"an alias has price and limits of its model `{model.alias}`")
    for at, route in enumerate(config.routes):
        path = join("routes", at)
        yield from _caps(route.limits, f"{path}.limits", "route")
        yield from _shared_months(route.limits, f"{path}.limits", len(months))
        for method in route.costs:
            if not _METHOD.fullmatch(method):
                yield Problem(f"{path}.costs.{method}", f"`{method}` is not a method of HTTP such as GET or POST")


def _tier(tier: Tier, path: str) -> Iterator[Problem]:
    yield from _words(tier.by, f"{path}.by")
    try:
        ZoneInfo(tier.zone)
    except (KeyError, ValueError, OSError):
        yield Problem(f"{path}.zone", f"unknown time zone `{tier.zone}`; write one such as Europe/Berlin")
    yield from _caps(tier.limits, f"{path}.limits", "consumer")
    if tier.tokens is not None and tier.reserve > tier.tokens.count * 3 // 2:
        message = f"is more tokens than {tier.tokens} ever allows: requests without max_tokens would all be refused"
        yield Problem(f"{path}.reserve", message)
    if tier.tokens is not None and tier.tokens.unlimited:
        yield Problem(f"{path}.tokens", "unlimited is what it is without this line; remove it")


def _caps(caps: Sequence[Cap], path: str, default: str) -> Iterator[Problem]:
    seen: dict[object, str] = {}
    for at, cap in enumerate(caps):
        where = join(path, at)
        kinds = [kind for kind in KINDS if getattr(cap, kind) is not None]
        if len(kinds) != 1:
            yield Problem(where, f"must name exactly one of {', '.join(KINDS)}")
            continue
        amount = getattr(cap, kinds[0])
        if kinds[0] in ("rate", "tokens") and amount.unlimited:
            yield Problem(f"{where}.{kinds[0]}", "limits nothing; remove it")
        if cap.burst is not None and kinds[0] not in ("rate", "tokens"):
            yield Problem(f"{where}.burst", f"means nothing beside `{kinds[0]}`")
        yield from _words(cap.by or default, f"{where}.by")
        if cap.name and not _NAME.fullmatch(cap.name):
            yield Problem(f"{where}.name", "names are letters, digits, `.`, `_`, `-`, `:` and `@`, at most 64 of them")
        mark = kinds[0], cap.name or (cap.by or default, getattr(amount, "period", 0))
        if mark in seen:
            yield Problem(where, f"is counted like {seen[mark]}; give each a `name`")
        seen[mark] = where


def _words(by: str, path: str) -> Iterator[Problem]:
    words = by.split("+")
    for word in words:
        if word not in _WORDS and not _HEADER.fullmatch(word):
            known = f"{', '.join(_WORDS)} or header:<name in lower case>"
            yield Problem(path, f"`{word}` is not {known}{suggest(word, _WORDS).partition(';')[0]}")
    if len(set(words)) < len(words):
        yield Problem(path, f"`{by}` names one thing twice")


def _shared_months(caps: Sequence[Cap], path: str, months: int) -> Iterator[Problem]:
    """All months of a request are one, so callers of different months cannot share a counter."""
    for at, cap in enumerate(caps):
        if months > 1 and _is_month(cap):
            yield Problem(join(path, at), "a month for all tiers needs the same `zone` and `anchor` in each of them")


def _months_apart(config: Config) -> Iterator[Problem]:
    """A month that callers of several tiers share is one only where it begins for all of them at once."""
    shared = [
        (join(f"tiers.{name}.limits", at), (tier.zone, tier.anchor))
        for name, tier in config.tiers.items()
        for at, cap in enumerate(tier.limits)
        if _is_month(cap) and not _PERSONAL.intersection((cap.by or "consumer").split("+"))
    ]
    if len({month for _, month in shared}) > 1:
        for path, _ in shared:
            yield Problem(path, "callers of tiers with another `zone` or `anchor` are counted apart", "warning")


def _is_month(cap: Cap) -> bool:
    return any(getattr(cap, kind) is not None for kind in _MONTHS)
