"""What the configuration shows to others: secrets in the file, open doors to servers elsewhere, public addresses."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gateway.loader import load_backend, load_plugin
from gateway.settings.address import parse_address
from gateway.settings.document import Document
from gateway.settings.problem import ConfigError, Problem, join
from gateway.settings.schema import Config
from gateway.settings.units import is_secret

_PASSWORD = re.compile(r"[a-z+]+://[^/@]*:[^/@]+@")
_INSIDE = (".local", ".localhost", ".internal", ".svc", ".cluster.local", ".lan", ".home.arpa")


def find_literal_secrets(config: Config, document: Document) -> Iterator[Problem]:
    """Secrets that stand in the file itself, where backups and repositories carry them on."""
    for path, value in _secrets(config, ""):
        if value and path not in document.expanded:
            message = "a secret in plain text; take it from ${VAR} or ${file:/path}"
            if path.startswith("consumers."):
                message = "a key in plain text; write its `sha256`, or take it from ${VAR} or ${file:/path}"
            yield Problem(path, message, "warning")


def _secrets(value: Any, path: str, secret: bool = False) -> Iterator[tuple[str, str]]:
    """Every secret below `value` with its path. Plugins and backends are loaded, for their settings say what is one."""
    if isinstance(value, Config):
        yield from _parts(value)
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(type(value)):
            yield from _secrets(getattr(value, field.name), join(path, field.encode_name), is_secret(field.type))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _secrets(item, join(path, str(name)), secret)
    elif isinstance(value, tuple | list):
        for at, item in enumerate(value):
            yield from _secrets(item, join(path, at), secret)
    elif isinstance(value, str) and (secret or _PASSWORD.match(value)):
        yield path, value


def _parts(config: Config) -> Iterator[tuple[str, str]]:
    chains = [("plugins", config.plugins)]
    chains += [(f"routes[{at}].plugins", route.plugins or ()) for at, route in enumerate(config.routes)]
    for path, entries in chains:
        for at, entry in enumerate(entries):
            for name, raw in entry.items():
                try:
                    yield from _secrets(load_plugin(name, raw).settings, f"{path}[{at}].{name}")
                except ConfigError:
                    continue  # told by another rule
    for name, backend in config.backends.items():
        try:
            settings = load_backend(name, *backend.engine).settings
        except ConfigError:
            continue
        yield from _secrets(settings, f"backends.{name}.{backend.engine[0]}")


def check_exposure(config: Config) -> Iterator[Problem]:
    """Nobody is let through to a server on the internet without a key, and the status address is nobody else's."""
    for at, route in enumerate(config.routes):
        if route.auth == "none" and route.to in config.backends and (url := _find_public(config, route.to)):
            message = f"anybody may call {url} through this route, and with its key if it has one; ask for a credential"
            yield Problem(f"routes[{at}].auth", message, "warning")
    try:
        status = parse_address(config.listen.status)
    except ValueError:
        return
    if _is_public(status.host):
        message = f"{status} can be reached from the internet: metrics and health need no key there"
        yield Problem("listen.status", message, "warning")


def _find_public(config: Config, name: str) -> str:
    try:
        endpoints = load_backend(name, *config.backends[name].engine).endpoints()
    except ConfigError:
        return ""
    hosts = ((endpoint.url, urlsplit(endpoint.url).hostname or "") for endpoint in endpoints)
    return next((url for url, host in hosts if _is_public(host)), "")


def _is_public(host: str) -> bool:
    """Whether a host is on the internet, going by its name alone: nothing is looked up."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host.strip(".") and not host.endswith(_INSIDE)
