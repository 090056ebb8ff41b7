"""Memory that engines share, as it stands in the file."""

import math

from gateway.settings.check import find_problems
from gateway.settings.load import load_text
from gateway.settings.schema import Config
from gateway.settings.terms import read_terms


def build(extra: str = "", **backends: str) -> Config:
    lines = "\n".join(f"  {name}: {{echo: {{}}, {text}}}" for name, text in backends.items())
    return load_text(f"backends:\n{lines}\n{extra}")


def told(config: Config) -> list[str]:
    return [f"{p.path}: {p.message}" for p in find_problems(config) if "memory" in p.message or "never" in p.message]


def test_without_shared_memory_engines_start_and_stay() -> None:
    terms = read_terms(build(a="slots: 1"), "a", 7)
    assert (terms.preload, terms.is_pinned, terms.revives, terms.memory) == (True, True, True, 7)
    assert (terms.idle, terms.residency) == (math.inf, 30)


def test_where_memory_is_shared_they_come_on_demand() -> None:
    for config in (
        build("memory: 1GB", a="memory: 1KB"), build(a="idle: 15m"), build(a="group: g"), build(a="load: demand"),
    ):  # fmt: skip
        terms = read_terms(config, "a", 7)
        assert (terms.preload, terms.is_pinned, terms.revives) == (False, False, False)
    assert read_terms(build("memory: 1GB", a="load: start"), "a", 0).is_pinned


def test_models_preload_and_pin() -> None:
    extra = "memory: 1GB\nmodels: {m: {backend: a, preload: true}, n: {backend: b, pin: true}}"
    config = build(extra, a="memory: 2KB", b="idle: 90s")
    a, b = read_terms(config, "a", 7), read_terms(config, "b", 7)
    assert (a.preload, a.is_pinned, a.memory) == (True, False, 2000)
    assert (b.preload, b.is_pinned, b.memory, b.idle) == (False, True, 7, 90)


def test_what_never_fits() -> None:
    found = told(build("memory: 1KB", a="memory: 2KB"))
    assert found == ["backends.a: takes 2,000 bytes: it never fits into `memory: 1000`"]
    found = told(build("memory: 3KB", a="{memory: 2KB, load: start}"[1:-1], b="memory: 2KB"))
    assert any("beside those that are pinned" in text for text in found)


def test_what_is_not_counted() -> None:
    assert "not counted" in told(build("memory: 1KB", a="slots: 1"))[0]


def test_a_group_whose_first_never_goes() -> None:
    found = told(build(a="group: g, load: start", b="group: g"))
    assert found == ["backends.b.group: another of `g` is pinned or loaded at the start: it never goes"]


def test_nobody_may_evict() -> None:
    found = told(build("memory: 1GB\ntiers: {t: {}}", a="memory: 1KB"))
    assert found[-1].startswith("tiers: no tier `may_evict`")
    assert not told(build("memory: 1GB\ntiers: {t: {may_evict: true}}", a="memory: 1KB"))


def test_an_alias_is_not_pinned() -> None:
    config = build("models: {m: {backend: a}, n: {alias: m, pin: true}}", a="slots: 1")
    assert any(p.path == "models.n" and p.level == "error" for p in find_problems(config))
