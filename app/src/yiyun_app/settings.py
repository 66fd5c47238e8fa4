"""Settings from the environment (prefix YIYUN_APP_); secrets only from files that others cannot read."""

import base64
import binascii
import ipaddress
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from yiyun_app.crypto import KEY_BYTES
from yiyun_app.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIX = "YIYUN_APP_"
_MIN_SESSION_KEY_BYTES = 32
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T", bound="DatabaseSettings")


class DatabaseSettings(BaseSettings):
    """How to reach MySQL; enough for `migrate` and `user set`. Times are seconds."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True)

    database_host: str = "127.0.0.1"
    database_port: Annotated[int, Field(ge=1, le=65535)] = 3306
    database_name: str = "yiyun"
    database_user: str = "yiyun_app"
    database_password_file: Path
    database_ca_file: Path | None = None
    database_connect_timeout: Annotated[float, Field(gt=0, le=1)] = 1.0
    database_read_timeout: Annotated[float, Field(ge=1)] = 10.0
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 20
    database_gate_folder: Path | None = None
    retry_seconds: Annotated[float, Field(gt=0, le=60)] = 6.0


class RekeySettings(DatabaseSettings):
    """What `rekey` needs: the database and the accepted field keys."""

    field_key_file: Path


class ServeSettings(DatabaseSettings):
    """Everything `serve` needs."""

    listen_host: str = "127.0.0.1"
    listen_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    session_key_file: Path
    field_key_file: Path
    trusted_proxies: Annotated[list[Network], NoDecode] = []
    ingest_clients: Annotated[list[str], NoDecode] = []
    county_code: Annotated[str, Field(pattern=r"^[0-9]{6}$")] = "411425"
    session_hours: Annotated[float, Field(gt=0, le=24)] = 8.0
    attachments_folder: Path | None = None
    attachments_mounted: bool = True
    attachments_seconds: Annotated[float, Field(gt=0, le=60)] = 6.0
    attachments_max_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 8 * 1024 * 1024
    shutdown_seconds: Annotated[int, Field(ge=1, le=300)] = 30

    @field_validator("trusted_proxies", "ingest_clients", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @model_validator(mode="after")
    def _tls_pair(self) -> "ServeSettings":
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS_CERTIFICATE_FILE and TLS_KEY_FILE go together")
        return self

    def is_trusted_proxy(self, address: str) -> bool:
        """Whether a peer's address belongs to a proxy whose headers are believed."""
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self.trusted_proxies)


def load(kind: type[T]) -> T:
    """Read settings from the environment; raise UserError naming each wrong variable, never its value."""
    try:
        return cast("Callable[[], T]", kind)()
    except ValidationError as error:
        raise UserError("; ".join(_explain(item["loc"], item["msg"]) for item in error.errors())) from None


def _explain(location: tuple[int | str, ...], message: str) -> str:
    name = f"{_PREFIX}{str(location[0]).upper()}: " if location else ""
    return f"{name}{message}"


def read_secret(path: Path) -> str:
    """Return a secret file's text without final newline; UserError when missing, empty or open to all."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"secret file {path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}"
        ) from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UserError(f"secret file {path} is open to every user: chmod o-rwx {path}")
    if not text:
        raise UserError(f"secret file {path} is empty")
    return text


def read_field_keys(path: Path) -> tuple[bytes, ...]:
    """Return the field keys of a file, base64, one a line, the current one first. Raises UserError."""
    keys: list[bytes] = []
    for line in read_secret(path).splitlines():
        try:
            key = base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):
            raise UserError(f"field key file {path} is not base64") from None
        if len(key) != KEY_BYTES:
            raise UserError(
                f"field key file {path} holds {len(key)} bytes, it must hold {KEY_BYTES} in base64"
            )
        keys.append(key)
    return tuple(keys)


def read_session_keys(path: Path) -> tuple[str, ...]:
    """Return the session keys, one a line, the signing one first; UserError under 32 characters."""
    keys = tuple(read_secret(path).splitlines())
    if any(len(key) < _MIN_SESSION_KEY_BYTES for key in keys):
        raise UserError(f"session key file {path} is too short: {_MIN_SESSION_KEY_BYTES} characters or more")
    return keys
