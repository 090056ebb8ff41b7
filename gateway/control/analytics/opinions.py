"""Feedback with what it is about: when the request began, and what it is told apart by.

That stands in the feedback's own row once the request is stored: ten thousand requests looked up are a second where
they are not in memory. Until then the request's row is asked.
"""

from sqlalchemy import Subquery, bindparam, select, union_all, update

from gateway.control.analytics.measures import DIMENSIONS
from gateway.control.analytics.window import Window
from gateway.control.store import Store
from gateway.control.tables import feedback, requests

_BATCH = 500  # rows in one transaction: others wait for it

_NAMES = ("started", *DIMENSIONS)
_about = [requests.c[name].label(f"of_{name}") for name in _NAMES]
_found = (  # of the feedback that is not looked up, what is about stored requests
    select(feedback.c.id.label("key"), *_about)
    .join(requests, requests.c.id == feedback.c.request)
    .where(feedback.c.of_started == 0, requests.c.started > 0)
    .limit(_BATCH)
)


def select_opinions(window: Window) -> Subquery:
    """Label and score of each opinion on a request of that time, with the request's `started` and DIMENSIONS."""
    said = feedback.c.label, feedback.c.score
    began = requests.c.started + 0  # found by the feedback, which is little, and not by the time of requests
    kept = [feedback.c[f"of_{name}"].label(name) for name in _NAMES]
    of_time = feedback.c.of_started >= max(window.begin, 1), feedback.c.of_started < window.end
    known = select(*said, *kept).where(*of_time)
    others = select(*said, *[requests.c[name] for name in _NAMES]).join(requests, requests.c.id == feedback.c.request)
    others = others.where(feedback.c.of_started == 0, began >= window.begin, began < window.end)
    return union_all(known, others).subquery("given")


def keep_abouts(store: Store) -> bool:
    """Write beside some feedback what it is about, where that is stored by now; False when none was left to do."""
    with store.reading.connect() as connection:
        if connection.execute(_found.limit(1)).first() is None:  # most often, and nobody waits for it
            return False
    with store.writing.begin() as connection:
        free = _found.with_for_update(of=feedback, skip_locked=True)  # others are at work on the rest
        rows = [dict(row) for row in connection.execute(free).mappings()]
        if rows:
            connection.execute(update(feedback).where(feedback.c.id == bindparam("key")), rows)
    return len(rows) == _BATCH
