"""Called by alembic. The connection, and the transaction around all versions, are given to it by database.py."""

from alembic import context

from shelfcode.audit.decisions.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True,
    transaction_per_migration=False, version_table="schema_version",
)  # fmt: skip
context.run_migrations()
