"""What this worker was charged of each month, as far as it knows: Redis may forget it, or not have heard of it.

The worker's own field in a month's counter must say the same. A month is *unsure* where an answer, a refund or Redis
itself was lost, or where a charge was made without it.
"""

from collections.abc import Iterable

Name = tuple[str, str]  # (quota key, period)
Costs = Iterable[tuple[Name, int]]  # milli-units


class Tab:
    """Milli-units by month. Pure."""

    def __init__(self) -> None:
        self._units: dict[Name, int] = {}
        self._unsure: set[Name] = set()

    def add(self, costs: Costs) -> list[Name]:
        """Charge months, or give back where negative, but never more than was charged. Returns those never met."""
        new = []
        for name, cost in costs:
            if name not in self._units:
                new.append(name)
            self._units[name] = max(self._units.get(name, 0) + cost, 0)
        return new

    def units(self, name: Name) -> int:
        return self._units.get(name, 0)

    def names(self) -> list[Name]:
        return list(self._units)

    def doubt(self, names: Iterable[Name]) -> None:
        """Redis may think otherwise of these."""
        self._unsure.update(names)

    def pop_unsure(self) -> set[Name]:
        """The months to be told anew."""
        unsure, self._unsure = self._unsure, set()
        return unsure

    def forget(self, oldest: str) -> None:
        """Drop months with names before `oldest`."""
        self._units = {name: units for name, units in self._units.items() if name[1] >= oldest}
