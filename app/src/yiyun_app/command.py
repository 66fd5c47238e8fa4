"""The command `yiyun-app`. Exit codes: 0 fine, 1 failed, 4 bad input."""

import socket
import sys
from pathlib import Path
from typing import IO, cast

import click
from sqlalchemy.exc import SQLAlchemyError

from yiyun_app import __version__
from yiyun_app.database import connect, sessions, tls_context
from yiyun_app.errors import DatabaseUnavailableError, UserError
from yiyun_app.migrate import LeaseLostError, offline_sql
from yiyun_app.migrate import migrate as migrate_schema
from yiyun_app.migration_linter import lint_metadata, lint_sql
from yiyun_app.rekey import rekey_all
from yiyun_app.retry import RetryPolicy, error_code, run_transaction
from yiyun_app.schema import Base
from yiyun_app.settings import DatabaseSettings, RekeySettings, ServeSettings, load, read_field_keys
from yiyun_app.users import Role, set_user

EXIT_FAILED = 1
EXIT_BAD_INPUT = 4
_KEEP_ALIVE_SECONDS = 75


@click.group()
def cli() -> None:
    """County health platform: residents, results, FHIR R4. Configured by YIYUN_APP_* variables."""


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


@cli.command()
@click.option(
    "--wait", default=180.0, show_default=True, help="Seconds to wait for another host's migration."
)
def migrate(wait: float) -> None:
    """Bring the database schema to this release; prints changed or unchanged."""
    changed = migrate_schema(connect(load(DatabaseSettings)), wait_seconds=wait)
    click.echo("changed" if changed else "unchanged")


@cli.command()
@click.argument("file", required=False, type=click.File(encoding="utf-8"))
def lint(file: IO[str] | None) -> None:
    """Check SQL (FILE, or what `migrate` would run) against the rules of a group with several writers."""
    found = lint_sql(file.read() if file else offline_sql()) + ([] if file else lint_metadata(Base.metadata))
    for finding in found:
        click.echo(str(finding))
    if found:
        sys.exit(EXIT_FAILED)


@cli.command()
@click.option("--batch", default=200, show_default=True, help="Records a transaction.")
def rekey(batch: int) -> None:
    """Store every ID number under the current field key; prints changed or unchanged. May be repeated."""
    settings = load(RekeySettings)
    keys = read_field_keys(settings.field_key_file)
    changed = rekey_all(sessions(connect(settings)), keys, settings.retry_seconds, batch)
    click.echo(f"{changed} records")
    click.echo("changed" if changed else "unchanged")


@cli.group()
def user() -> None:
    """Staff accounts."""


@user.command("set")
@click.option("--username", required=True)
@click.option("--role", required=True, type=click.Choice(["operator", "doctor"]))
@click.option("--display-name", required=True)
def user_set(username: str, role: str, display_name: str) -> None:
    """Create or update an account; the password comes on standard input. Prints changed or unchanged."""
    if not 1 <= len(username) <= 64 or not 1 <= len(display_name) <= 100:
        raise UserError("a user name has 1 to 64 characters, a display name 1 to 100")
    settings = load(DatabaseSettings)
    password = sys.stdin.readline().rstrip("\r\n")
    changed = run_transaction(
        sessions(connect(settings)),
        lambda session: set_user(session, username, display_name, cast("Role", role), password),
        idempotent=True,
        policy=RetryPolicy(total_seconds=settings.retry_seconds),
    )
    click.echo("changed" if changed else "unchanged")


@cli.command()
def serve() -> None:
    """Serve until SIGTERM; requests in flight are finished first."""
    # imported here: the FHIR models and the web framework take seconds that the other commands need not wait
    import uvicorn

    from yiyun_app.web.observe import configure_logging
    from yiyun_app.web.server import create
    from yiyun_app.web.tls import follow_files

    settings = load(ServeSettings)
    app = create(settings)
    _check_listen(settings)
    configure_logging()
    config = uvicorn.Config(
        app,
        host=settings.listen_host,
        port=settings.listen_port,
        ssl_certfile=_text(settings.tls_certificate_file),
        ssl_keyfile=_text(settings.tls_key_file),
        ssl_ciphers="ECDHE+AESGCM:ECDHE+CHACHA20",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    config.load()
    if config.ssl and settings.tls_certificate_file and settings.tls_key_file:
        follow_files(config.ssl, settings.tls_certificate_file, settings.tls_key_file)
    uvicorn.Server(config).run()


def _check_listen(settings: ServeSettings) -> None:
    """Refuse in one line what uvicorn would answer with a traceback."""
    if settings.tls_certificate_file and settings.tls_key_file:
        for path in (settings.tls_certificate_file, settings.tls_key_file):
            if not path.is_file():
                raise UserError(f"TLS file {path} does not exist")
        tls_context(settings.tls_certificate_file)
    family = socket.AF_INET6 if ":" in settings.listen_host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.listen_host, settings.listen_port))
        except OSError as error:
            where = f"{settings.listen_host}:{settings.listen_port}"
            raise UserError(f"cannot listen on {where}: {error.strerror or error}") from None


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def main() -> None:
    """Run the command line; every foreseen failure is one line on standard error."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(EXIT_BAD_INPUT)
    except click.ClickException as error:
        _fail(error.format_message(), EXIT_BAD_INPUT)
    except UserError as error:
        _fail(str(error), EXIT_BAD_INPUT)
    except click.Abort:
        _fail("interrupted", EXIT_FAILED)
    except (DatabaseUnavailableError, LeaseLostError) as error:
        _fail(str(error), EXIT_FAILED)
    except SQLAlchemyError as error:
        code = error_code(error)
        _fail(f"the database refused: {f'error {code}' if code else type(error).__name__}", EXIT_FAILED)


def _fail(message: str, code: int) -> None:
    click.echo(f"yiyun-app: {' '.join(message.split())}", err=True)
    sys.exit(code)
