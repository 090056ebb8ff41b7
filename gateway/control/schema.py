"""The schema of the store: which one is there, whether it is ours, and how it becomes ours.

An upgrade is one transaction: a killed one has not happened. Alembic is imported only where there is something to do.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from gateway.control.tables import REVISION

if TYPE_CHECKING:
    from alembic.config import Config


class StoreError(Exception):
    """The store cannot be used; the text says why and what to do."""


class SchemaError(StoreError):
    """The store has another schema than this version's."""


def read_revision(connection: Connection) -> str:
    """The name of the schema in the store; empty for a new one."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def check_schema(connection: Connection) -> None:
    """Raises SchemaError unless the schema is ours."""
    revision = read_revision(connection)
    if revision == REVISION:
        return
    _refuse_newer(revision)
    has = f"has the schema {revision}" if revision else "is empty"
    raise SchemaError(f"the store {has}, this version needs {REVISION}: run `tollkeeper store upgrade` first")


def upgrade(connection: Connection) -> str:
    """Bring the schema to REVISION; what it was. Raises SchemaError where a newer version wrote it."""
    revision = read_revision(connection)
    if revision == REVISION:
        return revision
    _refuse_newer(revision)
    from alembic import command

    config = _migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, REVISION)
    return revision


def _refuse_newer(revision: str) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions()}
    if revision and revision not in known:
        raise SchemaError(
            f"the store has the schema {revision}, which this version (schema {REVISION}) does not know: "
            "it was written by a newer Tollkeeper. Start that version, or restore a copy."
        )


def _migrations() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
