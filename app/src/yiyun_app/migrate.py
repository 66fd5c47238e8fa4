"""Bringing the schema to this release's revision, by one host at a time.

The lease is a row, not GET_LOCK (which one member of a group does not tell the others). All work is on one
connection: when the writer is switched the connection breaks and the migration stops, to be run again.
"""

import io
import socket
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, insert, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateTable

from yiyun_app.errors import DatabaseUnavailableError
from yiyun_app.retry import ROLLED_BACK, RetryPolicy, error_code
from yiyun_app.schema import MigrationLease

LEASE_NAME = "schema"
LEASE_SECONDS = 120
_POLL_SECONDS = 0.2
_NO_SUCH_TABLE = 1146
_LEASE_ATTEMPTS = 10
_NOBODYS_LEASE = {"name": LEASE_NAME, "holder": "", "server_uuid": "", "expires_at": datetime(2000, 1, 1)}


class LeaseLostError(Exception):
    """Another host took the lease, or the connection is on another server than the lease was taken on."""


def configuration(connection: Connection | None = None, output: io.StringIO | None = None) -> Config:
    """Alembic's configuration for the migrations inside this package."""
    config = Config(output_buffer=output) if output else Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The newest revision this release carries."""
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    if head is None:
        raise LookupError("the package carries no migration")
    return head


def offline_sql() -> str:
    """All migrations as SQL text, for the linter and for reading."""
    output = io.StringIO()
    command.upgrade(configuration(output=output), "head", sql=True)
    return output.getvalue()


def current_revision(connection: Connection) -> str | None:
    """The revision the database is at, None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def serves(found: str | None, expected: str) -> bool:
    """Whether this release can work on a database at `found`: the same revision or a later one.

    Revisions are numbers in order and only add, so an older release keeps serving during a rolling upgrade.
    """
    return found is not None and found >= expected


def migrate(engine: Engine, *, wait_seconds: float = 180.0, holder: str | None = None) -> bool:
    """Upgrade to the head; return whether anything changed.

    Waits up to wait_seconds for another host's lease; raises DatabaseUnavailableError when that is too short
    and LeaseLostError when the lease was lost on the way (running it again continues).
    """
    me = holder or f"{socket.gethostname()}:{uuid.uuid4().hex[:12]}"
    expected = head_revision()
    with engine.connect() as connection:
        if _found(connection) is not None and serves(_found(connection), expected):
            return False
        lease_table = MigrationLease.metadata.tables["migration_lease"]
        connection.execute(CreateTable(lease_table, if_not_exists=True))
        connection.commit()
        _wait_for_lease(connection, me, wait_seconds)
        try:
            return _upgrade(connection, me, expected)
        finally:
            _release(connection, me)


def _found(connection: Connection) -> str | None:
    revision = current_revision(connection)
    connection.rollback()
    return revision


def _upgrade(connection: Connection, me: str, expected: str) -> bool:
    changed = False
    while not serves(_found(connection), expected):
        if not take_lease(connection, me):
            raise LeaseLostError("the migration lease passed to another host: run the migration again")
        command.upgrade(configuration(connection), "+1")
        connection.commit()
        changed = True
    return changed


def _wait_for_lease(
    connection: Connection, me: str, seconds: float, sleep: Callable[[float], None] = time.sleep
) -> None:
    deadline = time.monotonic() + seconds
    while not take_lease(connection, me):
        if time.monotonic() > deadline:
            raise DatabaseUnavailableError(f"another host has held the migration lease for {seconds:.0f} s")
        sleep(_POLL_SECONDS)


def take_lease(connection: Connection, me: str, seconds: float = LEASE_SECONDS) -> bool:
    """Take or renew the lease, for seconds of the server's clock; False while another's is valid.

    A deadlock or a lost certification between hosts is tried again; raises what else the database says.
    """
    policy = RetryPolicy()
    for attempt in range(_LEASE_ATTEMPTS):
        try:
            return _take_lease(connection, me, seconds)
        except DBAPIError as error:
            if error_code(error) not in ROLLED_BACK or attempt == _LEASE_ATTEMPTS - 1:
                raise
            connection.rollback()
        time.sleep(policy.pause(attempt))
    return False


def _take_lease(connection: Connection, me: str, seconds: float) -> bool:
    table = MigrationLease.metadata.tables["migration_lease"]
    query = (
        select(table, func.utc_timestamp(6).label("now"), text("@@server_uuid AS server"))
        .where(table.c.name == LEASE_NAME)
        .with_for_update()
    )
    if connection.execute(select(table.c.name).where(table.c.name == LEASE_NAME)).first() is None:
        connection.execute(insert(table).prefix_with("IGNORE").values(_NOBODYS_LEASE))
        connection.commit()
    row = connection.execute(query).one()
    if row.expires_at > row.now and (row.holder != me or row.server_uuid != row.server):
        connection.rollback()
        return False
    connection.execute(
        table.update()
        .where(table.c.name == LEASE_NAME)
        .values(holder=me, server_uuid=row.server, expires_at=row.now + timedelta(seconds=seconds))
    )
    connection.commit()
    return True


def _release(connection: Connection, me: str) -> None:
    if connection.invalidated:
        return
    table = MigrationLease.metadata.tables["migration_lease"]
    try:
        connection.rollback()
        connection.execute(
            table.update()
            .where(table.c.name == LEASE_NAME, table.c.holder == me)
            .values(expires_at=func.utc_timestamp(6))
        )
        connection.commit()
    except SQLAlchemyError:
        connection.invalidate()


def ready(session: Session) -> bool:
    """Whether the database answers a read and its schema serves this release."""
    try:
        found = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    except SQLAlchemyError as error:
        if error_code(error) == _NO_SUCH_TABLE:
            return False
        raise
    return serves(found, head_revision())
