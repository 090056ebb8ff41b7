"""Words in what was asked and answered, by the databases' own indexes (migration 0006).

Rare words are found first, and then the requests that they belong to. Common ones SQLite has to look for in each
request, in the order of the page: fifty are found soon, all of them late. PostgreSQL knows which are common by itself.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, column, exists, func, literal_column, select, table

from gateway.control.query.words import Phrase
from gateway.control.tables import contents, requests

Phrases = tuple[Phrase, ...]

_index = table("contents_text", column("rowid"))  # SQLite's


def find_ids(phrases: Phrases, dialect: str) -> Any:
    """A query for the ids of all requests whose texts hold the phrases."""
    ids = select(contents.c.id)
    if dialect == "sqlite":
        return ids.where(literal_column("contents.number").in_(select(_index.c.rowid).where(_match(phrases))))
    return ids.where(_hold(phrases))


def look_into(phrases: Phrases) -> ColumnElement[bool]:
    """Whether the texts of the row of `requests` at hand hold them; of SQLite."""
    said = contents.alias("said")
    number: ColumnElement[int] = literal_column("said.number")
    found = exists().select_from(_index).where(_index.c.rowid == number, _match(phrases))
    return exists().select_from(said).where(said.c.id == requests.c.id, found)


def count(connection: Connection, phrases: Phrases, most: int) -> int:
    """How many texts of an SQLite hold them, counted up to `most`."""
    some = select(_index.c.rowid).where(_match(phrases)).limit(most).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def _match(phrases: Phrases) -> ColumnElement[bool]:
    """FTS5's words. They are letters and digits, so nothing in the quotes can end them."""
    wanted = " AND ".join(f'"{" ".join(phrase)}"' for phrase in phrases)
    return literal_column("contents_text").op("MATCH")(wanted)


def _hold(phrases: Phrases) -> ColumnElement[bool]:
    """The same for PostgreSQL."""
    words: ColumnElement[Any] = literal_column("contents.words")
    simple: ColumnElement[Any] = literal_column("'simple'")
    return and_(*[words.op("@@")(func.phraseto_tsquery(simple, " ".join(phrase))) for phrase in phrases])
