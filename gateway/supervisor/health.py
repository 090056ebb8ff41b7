"""Which endpoints must not be used: decided from the workers' observations and the supervisor's own probes.

Pure: the clock is passed in. An endpoint goes down by probes (until probes say otherwise), or is ejected for a while by
failures blamed on it. A failure of unclear blame, which may be a client's doing, counts only once two consumers have
seen one. The last endpoint that is up is never ejected by observations: a real error tells more than none.
"""

from collections.abc import Sequence

FAILURES = 5  # in a row, until ejection
UNCLEAR_WINDOW = 10.0  # seconds in which the second consumer must see it
FIRST_EJECTION = 10.0  # seconds; doubled each time in a row
LONGEST_EJECTION = 300.0


class Endpoint:
    """What is known of one endpoint."""

    __slots__ = ("_unclear", "ejected_until", "ejections", "failures", "is_probed_down", "probe_run", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.failures = 0
        self.ejections = 0
        self.ejected_until = 0.0
        self.is_probed_down = False
        self.probe_run = 0  # good probes in a row, or bad ones as a negative number
        self._unclear: dict[str, float] = {}

    def is_down(self, now: float) -> bool:
        return self.is_probed_down or now < self.ejected_until

    def counts(self, blame: str, consumer: str, now: float) -> bool:
        """Whether a failure counts against the endpoint."""
        if blame != "unclear":
            return True
        self._unclear = {who: at for who, at in self._unclear.items() if now - at < UNCLEAR_WINDOW}
        self._unclear[consumer] = now
        return len(self._unclear) > 1

    def forgive(self) -> None:
        self.failures = 0
        self.ejections = 0
        self._unclear.clear()


class Health:
    """The endpoints of one backend. Methods return True when the set of usable endpoints changed."""

    def __init__(self, urls: Sequence[str], healthy: int = 2, unhealthy: int = 3) -> None:
        self._endpoints = {url: Endpoint(url) for url in urls}
        self._healthy = healthy
        self._unhealthy = unhealthy
        self._last_down: tuple[str, ...] = ()

    def down(self, now: float) -> tuple[str, ...]:
        return tuple(url for url, endpoint in self._endpoints.items() if endpoint.is_down(now))

    def next_change(self, now: float) -> float | None:
        """When the next ejection ends."""
        ends = [e.ejected_until for e in self._endpoints.values() if e.ejected_until > now]
        return min(ends, default=None)

    def has_changed(self, now: float) -> bool:
        down = self.down(now)
        changed = down != self._last_down
        self._last_down = down
        return changed

    def succeed(self, url: str, now: float) -> bool:
        if (endpoint := self._endpoints.get(url)) is not None:
            endpoint.forgive()
        return self.has_changed(now)

    def fail(self, url: str, blame: str, consumer: str, now: float) -> bool:
        endpoint = self._endpoints.get(url)
        if endpoint is not None and endpoint.counts(blame, consumer, now):
            endpoint.failures += 1
            threshold = 1 if endpoint.ejections else FAILURES  # one that comes back is on probation
            if endpoint.failures >= threshold and not endpoint.is_down(now) and self._has_other(endpoint, now):
                span = min(LONGEST_EJECTION, FIRST_EJECTION * 2 ** min(endpoint.ejections, 10))
                endpoint.ejected_until = now + span
                endpoint.ejections += 1
                endpoint.failures = 0
        return self.has_changed(now)

    def probe(self, url: str, is_good: bool, now: float) -> bool:
        """Take in the answer of an active check."""
        endpoint = self._endpoints[url]
        if is_good:
            endpoint.probe_run = max(0, endpoint.probe_run) + 1
            if endpoint.is_probed_down and endpoint.probe_run >= self._healthy:
                endpoint.is_probed_down = False
                endpoint.forgive()
        else:
            endpoint.probe_run = min(0, endpoint.probe_run) - 1
            if -endpoint.probe_run >= self._unhealthy:
                endpoint.is_probed_down = True
        return self.has_changed(now)

    def _has_other(self, endpoint: Endpoint, now: float) -> bool:
        return any(not other.is_down(now) for other in self._endpoints.values() if other is not endpoint)
