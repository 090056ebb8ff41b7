"""Feedback with what it is about: when the request began, and what it is told apart by.

That stands in the feedback's own row once the request is stored: ten thousand requests looked up are a second where
they are not in memory. Until then the request's row is asked.
"""

from sqlalchemy import Subquery, bindparam, literal_column, select, union_all, update

from gateway.control.analytics.measures import DIMENSIONS
from gateway.control.analytics.window import Window
from gateway.control.store import Store
from gateway.control.tables import feedback, requests

_BATCH = 500  # rows in one transaction: others wait for it

_NAMES = ("started", *DIMENSIONS)
_unknown = feedback.c.of_started == literal_column("0")


def select_opinions(window: Window) -> Subquery:
    """Label and score of each opinion on a request of that time, with the request's `started` and DIMENSIONS."""
    said = feedback.c.label, feedback.c.score
    began = requests.c.started + 0  # found by the feedback, which is little, and not by the time of requests
    kept = [feedback.c[f"of_{name}"].label(name) for name in _NAMES]
    of_time = feedback.c.of_started >= max(window.begin, 1), feedback.c.of_started < window.end
    known = select(*said, *kept).where(*of_time)
    others = select(*said, *[requests.c[name] for name in _NAMES]).join(requests, requests.c.id == feedback.c.request)
    others = others.where(_unknown, began >= window.begin, began < window.end)
    return union_all(known, others).subquery("given")


def keep_abouts(store: Store) -> None:
    """Write beside all feedback what it is about, where that is stored by now."""
    about = [requests.c[name].label(f"of_{name}") for name in _NAMES]
    found = select(feedback.c.id.label("key"), *about).join(requests, requests.c.id == feedback.c.request)
    found = found.where(_unknown, requests.c.started > 0).order_by(feedback.c.id).limit(_BATCH)
    is_more = True
    while is_more:
        with store.reading.connect() as connection:
            rows = [dict(row) for row in connection.execute(found).mappings()]
        if rows:
            with store.writing.begin() as connection:
                connection.execute(update(feedback).where(feedback.c.id == bindparam("key")), rows)
        is_more = len(rows) == _BATCH
