"""The gateway's one configuration file (TOML): what it may contain, and one-line answers when it is wrong."""

from __future__ import annotations

import codecs
import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

DEFAULT_PATH = Path("/etc/yiyun-gateway/gateway.toml")


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line naming the file and what to do."""


def _codec(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"no such encoding: {name!r}; use for example utf-8 or gb18030") from None


def _network(value: object) -> object:
    return ip_network(value, strict=True) if isinstance(value, str) else value


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError(f"{url!r} must begin with https:// (results travel over mutual TLS only)")
    return url.rstrip("/")


Encoding = Annotated[str, AfterValidator(_codec)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
BaseUrl = Annotated[str, AfterValidator(_https)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(_Table):
    """Where MLLP is accepted and from whom."""

    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 2575
    allow: tuple[Network, ...] = (ip_network("127.0.0.0/8"),)
    max_frame_bytes: Annotated[int, Field(ge=1024)] = 1 << 20
    max_connections: Annotated[int, Field(ge=1)] = 512
    idle_s: Annotated[float, Field(gt=0)] = 300.0

    @model_validator(mode="after")
    def _address_is_numeric(self) -> Listen:
        ip_address(self.address)
        return self


class Store(_Table):
    """The durable queue. `max_bytes` bounds it: above it new messages are refused, never old ones dropped."""

    path: Path = Path("/var/lib/yiyun-gateway/store.db")
    max_bytes: Annotated[int, Field(ge=64 * 1024)] = 4 << 30
    keep_delivered_h: Annotated[float, Field(ge=0)] = 168.0


class Uplink(_Table):
    """The platform's proxies, the first healthy one is used. No urls: store only, forward nothing."""

    urls: tuple[BaseUrl, ...]
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    in_flight: Annotated[int, Field(ge=1, le=64)] = 8
    connect_timeout_s: Annotated[float, Field(gt=0, le=1)] = 1.0
    answer_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    backoff_cap_s: Annotated[float, Field(gt=0)] = 2.0

    @model_validator(mode="after")
    def _mutual_tls(self) -> Uplink:
        missing = [name for name in ("ca", "cert", "key") if getattr(self, name) is None]
        if self.urls and missing:
            raise ValueError(f"mutual TLS needs {', '.join(missing)}: give the path of each file")
        return self


class Reading(_Table):
    """How messages are read: text encoding, local time, code mapping."""

    encoding: Encoding = "utf-8"
    encoding_by_sender: dict[str, Encoding] = {}
    utc_offset: Annotated[str, Field(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d$")] = "+08:00"
    codes: Path | None = None


class Config(_Table):
    """Everything in `gateway.toml`."""

    site: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    listen: Listen = Listen()
    store: Store = Store()
    uplink: Uplink
    reading: Reading = Reading()


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "top level"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    what = {
        "extra_forbidden": "unknown key; remove it or correct its spelling",
        "missing": "is missing; add it",
    }
    return f"{where}: {what.get(first['type'], first['msg'])}{more}"


def load(path: Path) -> Config:
    """Read and check the file at `path`.

    Raises ConfigError with one line when it is unreadable, not TOML, or has a wrong, missing or unknown key.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); create it or pass --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    for name in ("ca", "cert", "key"):
        file: Path | None = getattr(config.uplink, name)
        if file is not None and not file.is_file():
            raise ConfigError(f"{path}: uplink.{name}: no such file {file}; put it there or correct the path")
    return config
