"""When who may not evict is told to come back."""

import math
from typing import Any

import pytest

from gateway.engines.refusal import no_room
from gateway.engines.residency import Phase, Refusal, Tenant
from gateway.engines.vacancy import foresee_vacancy

NOW = 1000.0


def tenant(**facts: Any) -> Tenant:
    return Tenant(**{"name": "a", "phase": Phase.RESIDENT, "memory": 5, "ripe": 900.0, "used": 950.0, **facts})


@pytest.mark.parametrize(
    ("tenants", "wait"),
    [
        ([], None),
        ([tenant()], None),  # it goes when somebody wants it to who may: nobody knows when
        ([tenant(ripe=1012.0)], 12.0),
        ([tenant(ripe=1012.0), tenant(ripe=1005.0)], 5.0),
        ([tenant(ripe=math.inf)], None),  # it starts
        ([tenant(idle=60.0)], 10.0),
        ([tenant(idle=20.0)], 0.0),  # it is about to go
        ([tenant(idle=60.0, is_used=True)], 60.0),
        ([tenant(idle=60.0, ripe=1030.0)], 30.0),
        ([tenant(ripe=1002.0), tenant(idle=60.0)], 10.0),  # what goes by itself is sure
        ([tenant(ripe=1012.0, is_pinned=True), tenant(ripe=1012.0, phase=Phase.LEAVING)], None),
    ],
)
def test_when_memory_may_come_free(tenants: list[Tenant], wait: float | None) -> None:
    assert foresee_vacancy(tenants, NOW) == wait


@pytest.mark.parametrize(("wait", "told"), [(None, "30"), (0.0, "1"), (11.2, "12")])
def test_what_is_told(wait: float | None, told: str) -> None:
    error = no_room("b", 5, Refusal.MAY_NOT_EVICT, wait)
    assert error.number == 1714
    assert error.headers.get("Retry-After") == told
    assert error.details.get("wait") == wait
