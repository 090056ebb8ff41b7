"""The short forms of the file, written out as `schema` wants them. What is neither is left for `shape` to tell.

| short | long |
|---|---|
| `proxy: 0.0.0.0:8000`, or a mapping, or a list of both | a list of `{address, certificates}` |
| `{address, cert, key}` | `certificates: [{cert, key}]` |
| `qwen: {llama_cpp: {...}, slots: 2}` | `qwen: {engine: [llama_cpp, {...}], slots: 2}` |
| `- key_auth`, `- key_auth:` | `- key_auth: {}` |
| `content: true` | `content: {}` |
| `fallback: other`, or a list | `fallback: {to: [other]}` |
| an empty section (`tiers:`) | the section left out |
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.settings.problem import Problem, join, suggest
from gateway.settings.schema import Backend


def write_out(data: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The long form of a whole file, and what is wrong with its backends and plugins."""
    result = {key: value for key, value in data.items() if value is not None}
    problems: list[Problem] = []
    if isinstance(listen := result.get("listen"), dict) and "proxy" in listen:
        result["listen"] = {**listen, "proxy": _listeners(listen["proxy"])}
    if isinstance(backends := result.get("backends"), dict):
        result["backends"] = {name: _backend(raw, f"backends.{name}", problems) for name, raw in backends.items()}
    if isinstance(models := result.get("models"), dict):
        result["models"] = {name: _model(raw) for name, raw in models.items()}
    if "plugins" in result:
        result["plugins"] = _plugins(result["plugins"], "plugins", problems)
    if isinstance(routes := result.get("routes"), list):
        result["routes"] = [_route(raw, join("routes", at), problems) for at, raw in enumerate(routes)]
    return result, problems


def _listeners(raw: Any) -> Any:
    if isinstance(raw, str | dict):
        raw = [raw]
    return [_listener(item) for item in raw] if isinstance(raw, list) else raw


def _listener(raw: Any) -> Any:
    if isinstance(raw, str):
        return {"address": raw}
    if isinstance(raw, dict) and ("cert" in raw or "key" in raw):
        pair = {key: raw[key] for key in ("cert", "key") if key in raw}
        rest = {key: value for key, value in raw.items() if key not in pair}
        return {**rest, "certificates": [pair, *rest.get("certificates", ())]}
    return raw


_OWN = frozenset(field.encode_name for field in msgspec.structs.fields(Backend)) - {"engine"}


def _backend(raw: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(raw, dict):
        return raw
    result: dict[str, Any] = {key: value for key, value in raw.items() if key in _OWN}
    engines = {key: value for key, value in raw.items() if key not in _OWN and isinstance(value, dict | None)}
    problems.extend(
        Problem(join(path, key), f"unknown key `{key}`{suggest(key, _OWN)}")
        for key in raw.keys() - _OWN - engines.keys()
    )
    if len(engines) != 1:
        told = f"not {' and '.join(f'`{key}`' for key in engines)}" if engines else "such as `http: {...}`"
        problems.append(Problem(path, f"must name exactly one engine, {told}"))
    name, settings = next(iter(engines.items()), ("", None))
    return {**result, "engine": (name, settings or {})}


def _model(raw: Any) -> Any:
    fallback = raw.get("fallback") if isinstance(raw, dict) else None
    if isinstance(fallback, str | list):
        return {**raw, "fallback": {"to": [fallback] if isinstance(fallback, str) else fallback}}
    return raw


def _plugins(raw: Any, path: str, problems: list[Problem]) -> Any:
    return [*_entries(raw, path, problems)] if isinstance(raw, list) else raw


def _entries(raw: list[Any], path: str, problems: list[Problem]) -> Iterator[Any]:
    for at, item in enumerate(raw):
        if isinstance(item, str):
            yield {item: {}}
        elif isinstance(item, dict) and len(item) == 1:
            ((name, settings),) = item.items()
            yield {name: {} if settings is None else settings}
        else:
            problems.append(Problem(join(path, at), "must be one plugin's name and its settings: `- quota: {}`"))


def _route(raw: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(raw, dict):
        return raw
    if raw.get("plugins") is not None:
        raw = {**raw, "plugins": _plugins(raw["plugins"], join(path, "plugins"), problems)}
    if isinstance(raw.get("content"), bool):
        raw = {**raw, "content": {} if raw["content"] else None}
    return raw
