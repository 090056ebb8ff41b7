"""Which endpoints must not be used: decided from the workers' observations and the supervisor's own probes.

Pure: the clock is passed in. An endpoint goes down by probes (until probes say otherwise), or its breaker opens by
failures blamed on it. A failure of unclear blame, which may be a client's doing, counts only once two consumers have
seen one.
"""

from collections.abc import Callable, Sequence

from gateway.supervisor.breaker import Breaker, draw_jitter

UNCLEAR_WINDOW = 10.0  # seconds in which the second consumer must see it
PROBED = 5.0  # seconds until it is worth asking again, where only probes can tell


class Endpoint:
    """What is known of one endpoint."""

    __slots__ = ("_unclear", "breaker", "is_probed_down", "probe_run")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.is_probed_down = False
        self.probe_run = 0  # good probes in a row, or bad ones as a negative number
        self._unclear: dict[str, float] = {}

    def is_down(self, now: float) -> bool:
        return self.is_probed_down or self.breaker.state(now) != "closed"

    def has_trial(self, now: float) -> bool:
        return not self.is_probed_down and self.breaker.has_trial(now)

    def counts(self, blame: str, consumer: str, now: float) -> bool:
        """Whether a failure counts against the endpoint."""
        if blame != "unclear":
            return True
        self._unclear = {who: at for who, at in self._unclear.items() if now - at < UNCLEAR_WINDOW}
        self._unclear[consumer] = now
        return len(self._unclear) > 1

    def acquit(self) -> None:
        self._unclear.clear()

    def wait(self, now: float) -> float:
        """Seconds until a request may try it."""
        if self.is_probed_down or self.breaker.until is None:
            return PROBED
        return max(0.0, self.breaker.until - now)


class Health:
    """The endpoints of one backend. Methods return True when there is something new to tell the workers."""

    def __init__(
        self, urls: Sequence[str], healthy: int = 2, unhealthy: int = 3, jitter: Callable[[], float] = draw_jitter
    ) -> None:
        self._endpoints = {url: Endpoint(Breaker(jitter)) for url in urls}
        self._healthy = healthy
        self._unhealthy = unhealthy
        self._last: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def down(self, now: float) -> tuple[str, ...]:
        """What must not be used, the endpoints with trials among them."""
        return tuple([url for url, endpoint in self._endpoints.items() if endpoint.is_down(now)])

    def trials(self, now: float) -> tuple[str, ...]:
        """What a request may try out, if it is given one of the trials."""
        return tuple([url for url, endpoint in self._endpoints.items() if endpoint.has_trial(now)])

    def wait(self, now: float) -> float:
        """Seconds until an endpoint can be asked again; 0 while one can."""
        if len(self.down(now)) < len(self._endpoints):
            return 0.0
        return min(endpoint.wait(now) for endpoint in self._endpoints.values())

    def has_changed(self, now: float) -> bool:
        seen = self.down(now), self.trials(now)
        changed = seen != self._last
        self._last = seen
        return changed

    def give_trial(self, url: str, now: float) -> bool:
        """Whether this request may try out the endpoint."""
        endpoint = self._endpoints.get(url)
        return endpoint is not None and not endpoint.is_probed_down and endpoint.breaker.give_trial(now)

    def succeed(self, url: str, now: float, is_trial: bool = False, count: int = 1) -> bool:
        if (endpoint := self._endpoints.get(url)) is not None:
            endpoint.acquit()
            endpoint.breaker.succeed(now, is_trial, count)
        return self.has_changed(now)

    def fail(
        self, url: str, blame: str, consumer: str, now: float, is_trial: bool = False, was_asked: bool = True
    ) -> bool:
        endpoint = self._endpoints.get(url)
        if endpoint is not None and endpoint.counts(blame, consumer, now):
            endpoint.breaker.fail(now, is_trial, not self._has_other(endpoint, now), was_asked)
        return self.has_changed(now)

    def probe(self, url: str, is_good: bool, now: float) -> bool:
        """Take in the answer of an active check."""
        endpoint = self._endpoints[url]
        if is_good:
            endpoint.probe_run = max(0, endpoint.probe_run) + 1
            if endpoint.is_probed_down and endpoint.probe_run >= self._healthy:
                endpoint.is_probed_down = False
                endpoint.acquit()
                endpoint.breaker.close()
        else:
            endpoint.probe_run = min(0, endpoint.probe_run) - 1
            if -endpoint.probe_run >= self._unhealthy:
                endpoint.is_probed_down = True
        return self.has_changed(now)

    def _has_other(self, endpoint: Endpoint, now: float) -> bool:
        return any(not other.is_down(now) for other in self._endpoints.values() if other is not endpoint)
