import json
import sys
from typing import Any

import pytest

from gateway.settings.check import find_problems
from gateway.settings.load import load_text


def problems(**otel: Any) -> list[str]:
    return [
        str(problem) for problem in find_problems(load_text(json.dumps({"otel": otel}), {})) if "otel" in problem.path
    ]


@pytest.mark.parametrize("endpoint", ["http://localhost:4318", "https://otel.example.com/base/", "http://[::1]:4318"])
def test_addresses(endpoint: str) -> None:
    assert problems(endpoint=endpoint, headers={"api-key": "x"}) == []


@pytest.mark.parametrize(
    ("otel", "told"),
    [
        ({"endpoint": "localhost:4318"}, "is no address"),
        ({"endpoint": "grpc://localhost:4317"}, "is no address"),
        ({"endpoint": "http://u:p@localhost"}, "is no address"),
        ({"endpoint": "http://localhost:4318/v1/traces"}, "leave the path away"),
        ({"endpoint": "http://localhost", "headers": {"a b": "x"}}, "is no header"),
        ({"endpoint": "http://localhost", "headers": {"a": "x\r\ny"}}, "is no header"),
    ],
)
def test_what_is_wrong(otel: dict[str, Any], told: str) -> None:
    (found,) = problems(**otel)
    assert told in found


def test_without_the_extra_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    (found,) = problems(endpoint="http://localhost:4318")
    assert "pip install 'tollkeeper[otel]'" in found
