import pytest

from gateway.priority import PRIORITIES, Priority, lower


@pytest.mark.parametrize("priority", PRIORITIES)
@pytest.mark.parametrize("asked", [*PRIORITIES, "", "highest", "LOW"])
def test_a_class_can_be_lowered_and_never_raised(priority: Priority, asked: str) -> None:
    found = lower(priority, asked)
    known = asked in PRIORITIES and PRIORITIES.index(asked) > PRIORITIES.index(priority)
    assert found == (asked if known else priority)
