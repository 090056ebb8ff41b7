"""The operator's webhooks: events that workers noticed, each told once to everybody who wants to hear of it.

A notice is stored before it is sent, by its key and the URL: what several workers noticed is told once, and what was
not told when the process died is told by its successor. A receiver may hear of an event twice if it answered and we
died before that was stored; the body's `id` is the same then.

    POST /hook    X-Tollkeeper-Signature: t=1795262400,v1=<hex>
    {"id": "…", "event": "quota.threshold", "created": "2026-11-21T12:00:00Z", "data": {…}}

`v1` is HMAC-SHA-256 of `<t>.<body>` under the webhook's secret. Any answer of the class 2xx is enough; else it is
tried again, for about 20 minutes. Redirects are not followed; addresses are kept within `outbound`'s bounds.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import delete, or_, select, update

from gateway.control.insertion import insert_new
from gateway.control.outbound import check_url, open_session
from gateway.control.store import Store
from gateway.control.tables import notices
from gateway.link import Notice
from gateway.settings.schema import Webhook
from gateway.tasks import spawn

_PATIENCE = 10.0  # seconds for one try
_PAUSES = (1.0, 4.0, 16.0, 64.0, 256.0, 900.0)  # seconds before each further try
_AT_ONCE = 8
_KEPT = 400 * 86_400 * 1_000_000  # microseconds for which it is remembered what was told
_OVERDUE = 3600 * 1_000_000  # by then whoever noticed it has told it, or is dead
_STALE = 86_400 * 1_000_000  # what could not be told for a day is not told any more

_log = logging.getLogger("tollkeeper.control")

Call = Callable[[Callable[[], None]], Awaitable[None]]  # runs what blocks on another thread


class Letter(NamedTuple):
    """One event for one receiver."""

    key: str
    url: str
    body: str


class Webhooks:
    """Keeps and tells notices. `clock` is unix microseconds; `wanted` tells the webhooks of the configuration.

    What one `instance` of several noticed, it tells itself; the others take it up only when it is long overdue.
    """

    def __init__(
        self, store: Store, wanted: Callable[[], Iterable[Webhook]], clock: Callable[[], int], instance: str = ""
    ) -> None:
        self._store = store
        self._wanted = wanted
        self._clock = clock
        self._instance = instance
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, notice: Notice) -> list[Letter]:
        """Store what is to be told of `notice`: nothing where that was done before. Blocks."""
        now = self._clock()
        letters = [
            Letter(notice.key, webhook.url, _write(notice, now))
            for webhook in self._wanted()
            if notice.event in webhook.events
        ]
        fixed = {"created": now, "done": 0, "instance": self._instance}
        with self._store.writing.begin() as connection:
            return [letter for letter in letters if insert_new(connection, notices, {**letter._asdict(), **fixed})]

    def left_over(self) -> list[Letter]:
        """What a predecessor had not told; what is very old is forgotten. Blocks."""
        now = self._clock()
        with self._store.writing.begin() as connection:
            connection.execute(delete(notices).where(notices.c.created < now - _KEPT))
            mine = or_(notices.c.instance == self._instance, notices.c.created < now - _OVERDUE)
            waiting = select(notices).where(notices.c.done == 0, notices.c.created > now - _STALE, mine)
            return [Letter(row.key, row.url, row.body) for row in connection.execute(waiting)]

    def send(self, letters: Iterable[Letter], call: Call) -> None:
        """Tell each in the background."""
        for letter in letters:
            task = spawn(self._deliver(letter, call), "webhook")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """What is not told yet waits for a successor."""
        for task in self._tasks:
            task.cancel()

    async def _deliver(self, letter: Letter, call: Call) -> None:
        for pause in (*_PAUSES, None):
            webhook = next((webhook for webhook in self._wanted() if webhook.url == letter.url), None)
            if webhook is None:
                break  # it left the configuration
            try:
                async with self._slots:
                    await self._post(webhook, letter.body)
                break
            except OSError as error:
                if pause is None:
                    _log.error("webhook %s: given up after %d tries: %s", letter.url, len(_PAUSES) + 1, error)
                    break
                _log.warning("webhook %s: %s; tried again in %g s", letter.url, error, pause)
            await asyncio.sleep(pause)
        await call(lambda: self._finish(letter))

    async def _post(self, webhook: Webhook, body: str) -> None:
        """One try. Raises OSError with a sentence."""
        import aiohttp  # here, because most gateways tell nobody, and it costs 15 MB

        data = body.encode()
        headers = {
            "Content-Type": "application/json",
            "X-Tollkeeper-Signature": sign(webhook.secret, data, self._clock() // 1_000_000),
        }
        check_url(webhook.url, webhook.private)
        try:
            async with (
                open_session(_PATIENCE, webhook.private) as session,
                session.post(webhook.url, data=data, headers=headers, allow_redirects=False) as answer,
            ):
                if not 200 <= answer.status < 300:
                    raise OSError(f"it answered {answer.status}")
        except TimeoutError:
            raise OSError(f"it did not answer within {_PATIENCE:.0f} s") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise OSError(str(error)) from None

    def _finish(self, letter: Letter) -> None:
        done = update(notices).where(notices.c.key == letter.key, notices.c.url == letter.url)
        with self._store.writing.begin() as connection:
            connection.execute(done.values(done=self._clock()))


def sign(secret: str, body: bytes, now: int) -> str:
    """The signature of a body at `now`, in unix seconds; receivers refuse one that is minutes old."""
    mac = hmac.new(secret.encode(), b"%d." % now + body, hashlib.sha256)
    return f"t={now},v1={mac.hexdigest()}"


def _write(notice: Notice, now: int) -> str:
    created = datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    id = hashlib.sha256(f"{notice.event} {notice.key}".encode()).hexdigest()[:32]
    return msgspec.json.encode({"id": id, "event": notice.event, "created": created, "data": notice.details}).decode()
