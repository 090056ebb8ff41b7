"""The months of all quotas: how much is used of each, and which writer was charged how much of it."""

from collections.abc import Iterable, Iterator

Name = tuple[str, str]  # (quota key, period)
Row = tuple[str, str, int]  # with its milli-units


class Counters:
    """Units by month. A month never gives back more than the writer was charged."""

    def __init__(self) -> None:
        self.charges: dict[str, dict[Name, int]] = {}  # by writer
        self._used: dict[Name, int] = {}

    def used(self, name: Name) -> int:
        """Milli-units used."""
        return self._used.get(name, 0)

    def names(self) -> list[Name]:
        """Every month that is known."""
        return list(self._used)

    def charge(self, writer: str, name: Name, units: int) -> None:
        """Charge `units`, or refund where negative."""
        charges = self.charges.get(writer)
        if charges is None:
            if units <= 0:
                return
            charges = self.charges[writer] = {}
        charged = charges.get(name, 0)
        charges[name] = max(charged + units, 0)
        self._used[name] = self._used.get(name, 0) + charges[name] - charged

    def settle(self, writer: str, totals: Iterable[Row]) -> None:
        """Put `totals` in place of what `writer` was charged, and forget the writer."""
        for name, units in self.charges.pop(writer).items():
            self._used[name] = self._used.get(name, 0) - units
        for key, period, units in totals:
            self._used[key, period] = self._used.get((key, period), 0) + units

    def forget(self, names: Iterable[Name], oldest: str) -> None:
        """Drop those of `names` that began before the period `oldest`."""
        for name in [name for name in names if name[1] < oldest]:
            self._used.pop(name, None)
            for charges in self.charges.values():
                charges.pop(name, None)

    def export(self, names: Iterable[Name]) -> Iterator[Row]:
        """How much is used of `names`."""
        return ((*name, self._used[name]) for name in names if name in self._used)

    def export_charges(self, names: list[Name]) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Every writer, with what it was charged of `names`."""
        for writer, charges in self.charges.items():
            yield writer, tuple([(*name, charges[name]) for name in names if name in charges])

    def restore(self, rows: Iterable[Row], charges: dict[str, tuple[Row, ...]]) -> None:
        """Take over what was exported, in place of what is known of these months."""
        for key, period, units in rows:
            self._used[key, period] = units
        for writer, written in charges.items():
            known = self.charges.setdefault(writer, {})
            known.update({(key, period): units for key, period, units in written})
