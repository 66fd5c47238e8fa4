"""Alembic's entry: runs on the connection handed over, or writes SQL when asked offline (for the linter)."""

from alembic import context

from yiyun_app.schema import Base


def _run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is None:
        context.configure(dialect_name="mysql", target_metadata=Base.metadata, as_sql=True)
    else:
        context.configure(
            connection=connection, target_metadata=Base.metadata, transaction_per_migration=True
        )
    with context.begin_transaction():
        context.run_migrations()


_run()
