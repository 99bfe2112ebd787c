"""What Alembic runs to migrate a database of any zone: on the connection it is given, no other."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
