"""What dead writers spent, for the ledger, told as often as it asks."""

from collections.abc import Callable

from sqlalchemy import delete, func, select, update

from gateway.control.store import Store
from gateway.control.tables import writer_usage, writers

Totals = tuple[tuple[str, str, int], ...]  # (quota key, period, milli-units)

_REMEMBER = 67 * 86_400 * 1_000_000  # microseconds for which a settled writer's figures are kept: as long as its months


class Settlement:
    """Knows the totals of one `instance`'s dead writers, and when to forget them. `clock` is unix microseconds."""

    def __init__(self, store: Store, clock: Callable[[], int], instance: str = "") -> None:
        self._store = store
        self._clock = clock
        self._instance = instance

    def totals(self, writer: str) -> Totals | None:
        """What a dead writer spent; None where that is not known: it lives, lost records, or left no journal.

        Of such a writer the ledger keeps its own figure, which is never too low.
        """
        complete = select(writers.c.writer).where(
            writers.c.writer == writer, writers.c.state != "writing", writers.c.lost == 0
        )
        usage = select(writer_usage.c.quota_key, writer_usage.c.period, writer_usage.c.units)
        with self._store.reading.connect() as connection:
            if connection.execute(complete).one_or_none() is None:
                return None
            rows = connection.execute(usage.where(writer_usage.c.writer == writer))
            return tuple((quota_key, period, units) for quota_key, period, units in rows)

    def settled(self) -> dict[tuple[str, str], int]:
        """What all settled writers of this instance spent, by (quota key, period)."""
        columns = writer_usage.c.quota_key, writer_usage.c.period
        rows = select(*columns, func.sum(writer_usage.c.units)).join(writers, writers.c.writer == writer_usage.c.writer)
        own = writers.c.instance == self._instance
        with self._store.reading.connect() as connection:
            found = connection.execute(
                rows.where(writers.c.state == "settled", writers.c.lost == 0, own).group_by(*columns)
            ).all()
        return {(quota_key, period): int(units) for quota_key, period, units in found}

    def settle(self, writer: str) -> None:
        """The ledger has taken the totals: the files may go now, the figures when their months are long over."""
        now = self._clock()
        old = select(writers.c.writer).where(writers.c.state == "settled", writers.c.changed < now - _REMEMBER)
        with self._store.writing.begin() as connection:
            connection.execute(update(writers).where(writers.c.writer == writer).values(state="settled", changed=now))
            connection.execute(delete(writer_usage).where(writer_usage.c.writer.in_(old)))
            connection.execute(delete(writers).where(writers.c.writer.in_(old.scalar_subquery())))
