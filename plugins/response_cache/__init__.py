"""Answers of models, kept and given again to whoever of the same tenant asks the same.

    plugins:
      - key_auth: {}
      - response_cache: {ttl: 10m, tenant: consumer, size: 64MB, entry: 1MB}
      - quota: {}

The key is what changes an answer: the tenant, the path, the model, the body (its fields sorted, white space taken out,
without those of `ignore`) and the request's `headers`. What comes while the same is under way waits for that answer, at
most `wait` seconds: identical requests reach an engine once for each worker. With `store: shared`, which keeps answers
with the supervisor as well, or in Redis where there is one, it is once for all of them. If the one that asked fails,
the next one asks.

Only whole answers of status 200 without an error in them are kept, at most `entry` bytes of each. Streams are replayed
as streams. `X-Cache-Status` says hit, miss, bypass or coalesced. `Cache-Control` of a request: no-store keeps the cache
out of it, no-cache and max-age fetch anew, only-if-cached refuses where nothing is kept (1810). In the upstream's only
no-store counts: a POST is not kept by the rules of HTTP (RFC 9111, 3) but by the operator's word, this one.

Place it behind authentication and acl, for a hit ends the chain; before the quota a hit costs nothing, behind it units
are kept unless `keep_units: false`. A hit counts no tokens, unless `keep_tokens: true` counts them as if they had been
made. What other plugins made of an answer is kept, and given to them again. `tenant: all` lets everybody find out
whether somebody has asked the same.
"""

from fnmatch import fnmatchcase
from typing import Literal

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Bytes, Exchange, Reply, Seconds, Services
from plugins.response_cache.draft import Draft
from plugins.response_cache.entry import Entry
from plugins.response_cache.flight import Flights, Turn
from plugins.response_cache.key import Keys, is_deterministic
from plugins.response_cache.store import Store
from plugins.response_cache.wish import Wish, read_wish
from plugins.response_cache.workers import Workers

_NAME = "response_cache"


class Settings(BaseSettings, frozen=True):
    ttl: Seconds = Seconds(600)
    tenant: Literal["consumer", "project", "all"] = "consumer"  # who shares answers
    size: Bytes = Bytes(64_000_000)  # of all answers that a worker keeps
    entry: Bytes = Bytes(1_000_000)  # of one answer
    store: Literal["memory", "shared"] = "memory"
    models: tuple[str, ...] = ()  # patterns; empty: all
    headers: tuple[str, ...] = ("accept", "openai-beta", "anthropic-beta", "anthropic-version")
    ignore: tuple[str, ...] = ()  # fields of the body that do not change the answer, such as `user`
    deterministic_only: bool = False  # only temperature 0, embeddings and rerank
    keep_units: bool = True
    keep_tokens: bool = False
    wait: Seconds = Seconds(300)  # for another's answer

    def __post_init__(self) -> None:
        if self.entry > self.size:
            raise ValueError("`entry` cannot be larger than `size`")
        if not self.ttl:
            raise ValueError("`ttl` must be more than 0 seconds")


class Plugin(BasePlugin[Settings]):
    place = "answer"
    needs = "model"

    async def start(self, services: Services) -> None:
        settings, clock = self.settings, services.clock
        self._now, self._wall = clock.monotonic, clock.wall
        self._routes, self._spawn, self._count = services.routes, services.spawn, services.metrics.count
        self._keys = Keys(settings.tenant, settings.headers, settings.ignore, services.models)
        self._store = Store(clock.monotonic, settings.size, lambda by: self._count("cache_bytes", _NAME, by=by))
        self._flights = Flights()
        self._collected = 0  # bytes of answers on their way
        is_shared = settings.store == "shared"
        self._workers = Workers(services.shared, clock.monotonic, clock.wall) if is_shared else None

    async def stop(self) -> None:
        self._store.clear()

    async def access(self, exchange: Exchange) -> Reply | None:
        if exchange.fields is None:
            return None
        wish = read_wish(exchange.head)
        if not wish.may_store or not self._is_for(exchange):
            self._tell(exchange, "bypass")
            return None
        key = self._keys.make(exchange)
        entry = self._store.get(key)
        if entry is not None and wish.accepts(entry.age(self._wall())):
            return self._replay(exchange, entry, "hit")
        if wish.only_stored:
            return await self._find(exchange, key, wish)
        draft = Draft(key, exchange.credential, self.settings.entry)
        if entry is not None or not wish.accepts(0.0):
            exchange.notes[self] = draft
            self._tell(exchange, "bypass")
            return None
        return await self._join(exchange, draft)

    def response(self, exchange: Exchange) -> None:
        draft: Draft | None = exchange.notes.get(self)
        if draft is not None and exchange.reply is not None:
            draft.begin(exchange.reply)

    def chunk(self, exchange: Exchange, data: bytes) -> bytes:
        draft: Draft | None = exchange.notes.get(self)
        if draft is not None:
            self._collect(draft, data)
            if draft.is_given_up and draft.leads and exchange.status == 200:
                draft.leads = False
                self._flights.disband(draft.key)
        return data

    def log(self, exchange: Exchange) -> None:
        draft: Draft | None = exchange.notes.get(self)
        if draft is not None:
            self._collected -= draft.size
            entry = draft.finish(exchange, self._wall())
            if entry is not None:
                self._store.put(draft.key, entry, self.settings.ttl)
            self._release(draft, entry, is_new=True, has_answer=draft.has_answer(exchange))

    def _collect(self, draft: Draft, data: bytes) -> None:
        """What is under way takes no more room than what is kept."""
        before = draft.size
        draft.add(data)
        self._collected += draft.size - before
        if self._collected > self.settings.size:
            self._collected -= draft.size
            draft.give_up()

    def _is_for(self, exchange: Exchange) -> bool:
        settings, model = self.settings, exchange.model
        if settings.models and not any(fnmatchcase(model, pattern) for pattern in settings.models):
            return False
        return not settings.deterministic_only or is_deterministic(exchange)

    async def _find(self, exchange: Exchange, key: bytes, wish: Wish) -> Reply:
        """For a request that takes nothing but what is kept. Raises GatewayError 1810."""
        entry = await self._workers.get(key) if self._workers is not None else None
        if entry is None or not wish.accepts(entry.age(self._wall())):
            self._tell(exchange, "miss")
            raise GatewayError(1810)
        return self._replay(exchange, entry, "hit")

    async def _join(self, exchange: Exchange, draft: Draft) -> Reply | None:
        """Wait for the answer to the same request, or ask for all who wait."""
        started, patience = self._now(), self._patience(exchange)
        is_first = self._flights.open(draft.key)
        turn = Turn.LEAD if is_first else await self._flights.wait(draft.key, patience)
        entry, has_waited = (turn, True) if isinstance(turn, Entry) else (None, not is_first)
        if turn is Turn.LEAD:
            draft.leads = True
            exchange.notes[self] = draft  # from here on `log` gives the lead back, whatever happens
            if self._workers is not None:
                entry, has_waited = await self._workers.claim(draft, patience)
        exchange.queued += self._now() - started
        if entry is None:
            exchange.notes[self] = draft
            self._tell(exchange, "miss")
            return None
        if turn is Turn.LEAD:
            del exchange.notes[self]
            self._store.put(draft.key, entry, self.settings.ttl - entry.age(self._wall()))
            self._release(draft, entry, is_new=False)
        return self._replay(exchange, entry, "coalesced" if has_waited else "hit")

    def _patience(self, exchange: Exchange) -> float:
        """Seconds that this request may wait for another one's answer."""
        route, wait = self._routes.get(exchange.route), self.settings.wait
        return wait if route is None or route.total is None else min(wait, route.total)

    def _release(self, draft: Draft, entry: Entry | None, *, is_new: bool, has_answer: bool = True) -> None:
        """Tell those who wait, here and in other workers."""
        if draft.leads:
            self._flights.end(draft.key, entry, has_answer)
        news = entry if is_new else None
        if self._workers is not None and (news is not None or draft.locked):
            self._spawn(self._workers.publish(draft, news, self.settings.ttl), _NAME)

    def _replay(self, exchange: Exchange, entry: Entry, result: str) -> Reply:
        self._tell(exchange, result)
        if self.settings.keep_tokens:
            entry.count(exchange.tokens)
        reply = entry.replay(self._wall(), self.settings.keep_units)
        if reply.is_stream:
            exchange.lines.append("Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n")
        return reply

    def _tell(self, exchange: Exchange, result: str) -> None:
        """Tell client, trace and metrics what the cache does."""
        exchange.cache = result
        exchange.lines.append(f"X-Cache-Status: {result}\r\n")
        self._count("cache_requests_total", _NAME, result)
