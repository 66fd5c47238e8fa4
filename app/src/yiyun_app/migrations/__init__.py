"""Alembic migrations: numbered 0001, 0002, …; each only adds, so that an older release keeps working."""
