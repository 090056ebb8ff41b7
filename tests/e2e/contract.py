"""Schemathesis asks a running gateway everything that its own document says may be asked."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import hypothesis
import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

_CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
_PATIENCE = 60.0  # seconds for one answer; of a stream its head is enough
_OWN_HEADERS = ("authorization", "x-api-key", "api-key")  # the test's affair, not the generator's

Json = dict[str, Any]


class Contract:
    """`document` is the gateway's own at `url`. `requests` and `statuses` count what was asked and answered."""

    def __init__(self, document: Json, url: str, passed: Collection[str] = ()) -> None:
        self._schema = schemathesis.openapi.from_dict(document)
        self._url = url
        self._passed = passed
        self._session = requests.Session()
        self.statuses: Counter[tuple[str, int]] = Counter()

    def check(self, headers: dict[str, str], examples: int, seed: int = 0) -> None:
        """Ask each operation that is not in `passed` so many times. Raises what Schemathesis finds."""
        for result in self._schema.get_all_operations():
            operation = result.ok()
            if operation.label not in self._passed:
                self._check_one(operation, headers, examples, seed)

    def _check_one(self, operation: Any, headers: dict[str, str], examples: int, seed: int) -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples, deadline=None, database=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            for name in _OWN_HEADERS:
                case.headers.pop(name, None)
            with self._send(case, headers) as answer:
                self.statuses[operation.label, answer.status_code] += 1
                if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):  # else it never ends
                    case.validate_response(answer, checks=list(_CHECKS))

        ask()

    def _send(self, case: Any, headers: dict[str, str]) -> requests.Response:
        request = case.as_transport_kwargs(base_url=self._url, headers=headers)
        return self._session.request(**{**request, "stream": True, "timeout": _PATIENCE})
