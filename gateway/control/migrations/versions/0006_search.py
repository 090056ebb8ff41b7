"""What traces are looked for by: whose they are, what they belong to, whether they failed, and the words in them."""

import string

from alembic import op
from sqlalchemy import text

revision = "0006_search"
down_revision = "0005_replicas"

_INDEXES = (
    ("requests_consumer", ("consumer", "started"), None),
    ("requests_project", ("project", "started"), "project <> ''"),
    ("requests_session", ("session", "started"), "session <> ''"),
    ("requests_user", ("user", "started"), "\"user\" <> ''"),
    ("requests_trace", ("trace",), "parent <> ''"),
    ("requests_failed", ("started",), "outcome NOT IN ('complete', 'answered', 'answered_free')"),
)

# Rows of `contents` get a number of their own: SQLite may give others to rows that have none, and its index of words
# knows rows by nothing else. Triggers keep the index within the transactions that change the texts.
_SQLITE = (
    "ALTER TABLE contents RENAME TO contents_before",
    "CREATE TABLE contents (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, input TEXT NOT NULL, "
    "output TEXT NOT NULL)",
    "CREATE VIRTUAL TABLE contents_text USING fts5 (input, output, content='contents', content_rowid='number', "
    "tokenize='unicode61 remove_diacritics 0')",
    "CREATE TRIGGER contents_added AFTER INSERT ON contents BEGIN "
    "INSERT INTO contents_text (rowid, input, output) VALUES (new.number, new.input, new.output); END",
    "CREATE TRIGGER contents_removed AFTER DELETE ON contents BEGIN INSERT INTO contents_text "
    "(contents_text, rowid, input, output) VALUES ('delete', old.number, old.input, old.output); END",
    "CREATE TRIGGER contents_changed AFTER UPDATE ON contents BEGIN INSERT INTO contents_text "
    "(contents_text, rowid, input, output) VALUES ('delete', old.number, old.input, old.output); "
    "INSERT INTO contents_text (rowid, input, output) VALUES (new.number, new.input, new.output); END",
    "INSERT INTO contents (id, input, output) SELECT id, input, output FROM contents_before",
    "DROP TABLE contents_before",
)

# Words are what SQLite takes for words, too: letters and digits. A tsvector holds 1 MB: longer texts are cut for it.
_MARKS = string.punctuation.replace("'", "''")


def _words(column: str) -> str:
    plain = f"translate(left({column}, 65536), '{_MARKS}', repeat(' ', {len(string.punctuation)}))"
    return f"to_tsvector('simple', {plain})"


_POSTGRES = (
    "ALTER TABLE contents ADD COLUMN words tsvector "
    f"GENERATED ALWAYS AS ({_words('input')} || {_words('output')}) STORED",
    "CREATE INDEX contents_words ON contents USING gin (words)",
)


def upgrade() -> None:
    for name, columns, only in _INDEXES:
        where = None if only is None else text(only)
        op.create_index(name, "requests", columns, sqlite_where=where, postgresql_where=where)
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRES:
        op.execute(statement)
