"""The collector of OpenTelemetry: an address that can be asked, and the packages to ask it."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from gateway.settings.problem import Problem
from gateway.settings.schema import Config

_is_name = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_is_value = re.compile(r"[\t\x20-\x7e]*").fullmatch


def check_otel(config: Config) -> Iterator[Problem]:
    """What stands in `otel` can be used."""
    otel = config.otel
    if otel is None:
        return
    parts = urlsplit(otel.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        yield Problem("otel.endpoint", f"`{otel.endpoint}` is no address such as http://localhost:4318")
    elif parts.path.rstrip("/").endswith(("/v1/traces", "/v1/metrics")):
        yield Problem("otel.endpoint", "leave the path away: /v1/traces and /v1/metrics are added to it")
    for name, value in otel.headers.items():
        if not _is_name(name) or not _is_value(value):
            yield Problem(f"otel.headers.{name}", "is no header that can be sent")
    if find_spec("google") is None or find_spec("opentelemetry") is None or find_spec("opentelemetry.proto") is None:
        yield Problem("otel", "needs the extra `otel`: pip install 'tollkeeper[otel]'")
