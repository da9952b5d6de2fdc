"""Alembic's entry: the address of the database comes from `pmarb.db.migrate`."""

from alembic import context
from sqlalchemy import create_engine, pool

from pmarb.db.schema import metadata

engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
