from datetime import UTC, datetime

import pytest

from gateway.control.batch import Batch
from gateway.control.rows import write_batch
from gateway.control.store import Store
from gateway.control.usage import month_usage
from tests.gateway.control.records import closed, opened


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


def test_a_month_is_summed_by_consumer(store: Store) -> None:
    def at(id: str, day: str, consumer: str, units: int) -> Batch:
        request = opened(id, consumer=consumer)
        request.started = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000_000)
        return Batch(finished=[closed(request, units=units)])

    with store.writing.begin() as connection:
        for batch in (
            at("1", "2026-12-01T00:00:00", "acme", 500),
            at("2", "2026-12-31T23:59:59.999999", "acme", 1500),
            at("3", "2026-12-15T00:00:00", "zeta", 7000),
            at("4", "2026-11-30T23:59:59.999999", "acme", 1),
            at("5", "2027-01-01T00:00:00", "acme", 1),
        ):
            write_batch(connection, batch, "w1")
    assert month_usage(store, "2026-12") == [
        {"consumer": "zeta", "tier": "pro", "requests": 1, "units": 7.0, "tokens_in": 7, "tokens_out": 11},
        {"consumer": "acme", "tier": "pro", "requests": 2, "units": 2.0, "tokens_in": 14, "tokens_out": 22},
    ]
    assert month_usage(store, "2026-01") == []
