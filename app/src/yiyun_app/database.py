"""The connection to MySQL: TLS, timeouts, isolation, pool."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from yiyun_app.errors import UserError
from yiyun_app.gate import Gate, gated_pool, watch
from yiyun_app.settings import DatabaseSettings, read_secret
from yiyun_app.watched import Watched

_POOL_WAIT_SECONDS = 2
_RECYCLE_SECONDS = 1800


def connect(settings: DatabaseSettings) -> Engine:
    """Make the engine (nothing is opened yet); raise UserError when password or CA file cannot be used.

    Both files are looked at for each new connection: a new password or authority needs no restart. Where the
    host has a gate, connections are handed out through it.
    """
    password_file, ca_file = settings.database_password_file, settings.database_ca_file
    password = Watched([password_file], lambda: read_secret(password_file))
    tls = Watched([ca_file], lambda: tls_context(ca_file)) if ca_file else None
    url = URL.create(
        "mysql+pymysql",
        settings.database_user,
        None,
        settings.database_host,
        settings.database_port,
        settings.database_name,
        {"charset": "utf8mb4"},
    )
    gate = Gate(settings.database_gate_folder) if settings.database_gate_folder else None
    engine = create_engine(
        url,
        poolclass=gated_pool(gate) if gate else None,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        pool_timeout=_POOL_WAIT_SECONDS,
        pool_recycle=_RECYCLE_SECONDS,
        hide_parameters=True,
        connect_args={
            "connect_timeout": settings.database_connect_timeout,
            "read_timeout": settings.database_read_timeout,
            "write_timeout": settings.database_read_timeout,
            "init_command": "SET SESSION time_zone = '+00:00'",
            "ssl_disabled": tls is None,
        },
    )

    def current(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters["password"] = password()
        parameters["ssl"] = tls() if tls else None

    event.listen(engine, "do_connect", current)
    if gate:
        watch(engine, gate)
    return engine


def tls_context(ca_file: Path) -> ssl.SSLContext:
    """TLS that demands a server certificate of the given authority.

    The host name is not compared: the connection goes to a proxy on this host, and servers change behind it.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"CA file {ca_file}: {error}") from None
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions whose objects stay readable after commit."""
    return sessionmaker(engine, expire_on_commit=False)


def utc_now() -> datetime:
    """Now as the database stores it: UTC without a zone, microseconds."""
    return datetime.now(UTC).replace(tzinfo=None)


def to_utc(moment: datetime) -> datetime:
    """A zone-aware moment as the database stores it."""
    return moment.astimezone(UTC).replace(tzinfo=None)
