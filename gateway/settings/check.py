"""Everything that can be told to be wrong with a configuration before it is served."""

import time
from collections.abc import Iterable

import msgspec

from gateway.settings.document import Document
from gateway.settings.problem import Problem
from gateway.settings.rules.addresses import check_addresses
from gateway.settings.rules.admin import check_admin
from gateway.settings.rules.content import check_content
from gateway.settings.rules.costs import check_costs
from gateway.settings.rules.credentials import check_credentials
from gateway.settings.rules.database import check_database
from gateway.settings.rules.exposure import check_exposure, find_literal_secrets
from gateway.settings.rules.fleet import check_fleet
from gateway.settings.rules.limits import check_limits
from gateway.settings.rules.machine import check_machine
from gateway.settings.rules.memory import check_memory
from gateway.settings.rules.money import check_prices
from gateway.settings.rules.names import check_names
from gateway.settings.rules.otel import check_otel
from gateway.settings.rules.parts import check_parts
from gateway.settings.rules.paths import check_paths
from gateway.settings.rules.patterns import check_patterns
from gateway.settings.rules.promises import check_promises
from gateway.settings.rules.redis import check_redis
from gateway.settings.rules.references import check_references
from gateway.settings.rules.roles import check_roles
from gateway.settings.rules.trust import check_trust
from gateway.settings.schema import Config

_RULES = (
    check_addresses, check_admin, check_machine, check_names, check_references, check_roles, check_parts, check_paths,
    check_costs, check_limits, check_memory, check_trust,
    check_prices, check_patterns, check_content, check_otel, check_exposure, check_fleet, check_redis, check_database,
)  # fmt: skip


def find_problems(config: Config, document: Document | None = None) -> list[Problem]:
    """All errors and warnings, in the order of the file. `document` gives the lines and what was written literally."""
    found: list[Problem] = []
    for rule in _RULES:
        found.extend(rule(config))
    now = time.time_ns() / 1e9
    found.extend(check_credentials(config, now))
    found.extend(check_promises(config, now))
    if document is None:
        return found
    found.extend(find_literal_secrets(config, document))
    return _in_order(found, document)


def _in_order(problems: Iterable[Problem], document: Document) -> list[Problem]:
    located = [msgspec.structs.replace(problem, line=document.line(problem.path)) for problem in problems]
    return sorted(located, key=lambda problem: problem.line)
