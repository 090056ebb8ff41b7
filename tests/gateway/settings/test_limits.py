"""One case per rule on limits, overrides and webhooks: a configuration that is good but for one thing."""

from typing import Any

import pytest

from gateway.settings.load import load_text
from gateway.settings.overrides import write_out_overrides
from gateway.settings.units import Budget, Rate
from tests.gateway.settings.test_check import _plugins as _plugins
from tests.gateway.settings.test_check import find, told


def tier(**fields: Any) -> dict[str, Any]:
    return {"tiers": {"free": {"rate": "100/min", **fields}, "pro": {"rate": "1000/min"}}}


def listed(*caps: dict[str, Any]) -> dict[str, Any]:
    return tier(limits=list(caps))


def override(**fields: Any) -> dict[str, Any]:
    return {"consumers": {"acme": {"tier": "free", "override": fields}}}


def webhook(**fields: Any) -> dict[str, Any]:
    return {"webhooks": [{"url": "https://hooks.example.com/x", "secret": "s" * 16, **fields}]}


CASES: list[tuple[dict[str, Any], str]] = [
    (
        tier(by="consumer+modle"),
        "error: tiers.free.by: `modle` is not consumer, credential, project, ip, session, model",
    ),
    (tier(by="ip+ip"), "error: tiers.free.by: `ip+ip` names one thing twice"),
    (tier(zone="Europe/Atlantis"), "error: tiers.free.zone: unknown time zone `Europe/Atlantis`"),
    (tier(tokens="600/min"), "error: tiers.free.reserve: is more tokens than 600/min ever allows"),
    (tier(tokens="unlimited", reserve=0), "error: tiers.free.tokens: unlimited is what it is"),
    (listed({"by": "ip"}), "error: tiers.free.limits[0]: must name exactly one of rate, tokens, monthly"),
    (listed({"rate": "1/s", "monthly": 3}), "error: tiers.free.limits[0]: must name exactly one of"),
    (listed({"rate": "unlimited"}), "error: tiers.free.limits[0].rate: limits nothing"),
    (listed({"monthly": 3, "burst": 3}), "error: tiers.free.limits[0].burst: means nothing beside `monthly`"),
    (listed({"rate": "1/s", "name": "a b"}), "error: tiers.free.limits[0].name: names are letters"),
    (listed({"rate": "1/s"}, {"rate": "2/s"}), "error: tiers.free.limits[1]: is counted like tiers.free.limits[0]"),
    (
        {**tier(anchor=15), "models": {"m": {"backend": "fleet", "limits": [{"budget": "1 USD/month"}]}}},
        "error: models.m.limits[0]: a month for all tiers needs the same",
    ),
    (
        {
            "tiers": {
                "free": {"rate": "100/min", "limits": [{"budget": "1 USD/month", "by": "project"}]},
                "pro": {"anchor": 15, "limits": [{"budget": "1 USD/month", "by": "project"}]},
            }
        },
        "warning: tiers.free.limits[0]: callers of tiers with another",
    ),
    (
        {"models": {"m": {"backend": "fleet"}, "n": {"alias": "m", "max_tokens": 5}}},
        "error: models.n: an alias has price and limits of its model `m`",
    ),
    (
        {"routes": [{"path": "/a", "to": "fleet", "costs": {"get": 2}}]},
        "error: routes[0].costs.get: `get` is not a method",
    ),
    ({"routes": [{"path": "/a", "to": "fleet", "costs": {"GET": 1e6}}]}, "error: routes[0].cost: /a costs 1e+06 units"),
    (override(), "error: consumers.acme.override: must name either another `tier`"),
    (override(tier="pro", rate="1/s"), "error: consumers.acme.override: must name either another `tier`"),
    (override(tier="por"), "error: consumers.acme.override.tier: no tier `por`, did you mean `pro`?"),
    (override(tier="pro", until="soon"), "error: consumers.acme.override.until: `soon` is not a date"),
    (override(tier="pro", until="2020-01-01"), "warning: consumers.acme.override.until: the override has ended"),
    (webhook(url="file:///etc/passwd"), "error: webhooks[0].url: must be http"),
    (webhook(url="http://u:p@example.com/"), "error: webhooks[0].url: must be http"),
    (webhook(secret="short"), "error: webhooks[0].secret: must have at least 16"),
    (webhook(events=["quota.treshold"]), "error: webhooks[0].events: no event `quota.treshold`, did you mean"),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=[expected[:60] for _, expected in CASES])
def test_what_is_wrong_is_told(changes: dict[str, Any], expected: str) -> None:
    problems = told(find(changes))
    assert any(line.startswith(expected) for line in problems), problems


def test_limits_of_every_kind_are_good() -> None:
    limits = [
        {"rate": "10/s", "by": "ip"}, {"rate": "100/min", "by": "ip"}, {"tokens": "20_000/min", "by": "consumer+model"},
        {"concurrency": 2, "by": "session"}, {"budget": "0.5 USD/month", "by": "project", "shadow": True},
        {"monthly": 5000, "by": "credential", "name": "x"}, {"monthly": 6000, "by": "header:x-team"},
    ]  # fmt: skip
    changes = tier(tokens="100_000/min", monthly_tokens=5, concurrency=2, budget="5 USD/month", zone="Europe/Berlin",
                   anchor=31, limits=limits)  # fmt: skip
    assert [line for line in told(find(changes)) if line.startswith("error")] == []


@pytest.mark.parametrize(
    ("text", "micro"), [("5000 USD/month", 5_000_000_000), ("0.5USD / month", 500_000), ("1_000 USD/month", 10**9)]
)
def test_money(text: str, micro: int) -> None:
    assert Budget.parse(text) == micro and Budget.parse(Budget.parse(text).plain()) == micro


@pytest.mark.parametrize("text", ["5000", "5 EUR/month", "0 USD/month", "-1 USD/month", "1 USD/day", 5, None])
def test_what_is_no_budget(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a budget"):
        Budget.parse(text)


def test_an_override_changes_what_it_names() -> None:
    config = load_text(
        """
        tiers: {free: {rate: 10/min, monthly: 100, zone: Europe/Berlin}}
        consumers: {acme: {tier: free, override: {rate: unlimited, concurrency: 3, until: 2099-01-01}}}
        """,
        {},
    )
    written = write_out_overrides(config)
    made = written.consumers["acme"].override
    assert made is not None and (made.tier, made.until) == ("override:acme", "2099-01-01")
    new = written.tiers["override:acme"]
    assert (new.rate, new.monthly, new.concurrency, new.zone) == (Rate(0, 1), 100, 3, "Europe/Berlin")
    assert write_out_overrides(written) == written
