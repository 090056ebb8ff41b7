"""How Alembic runs a migration: on the connection, and within the transaction, of `store._upgrade`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
