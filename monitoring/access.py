"""How `yiyun` gets into Zabbix: through the operators' door, with a token of its own that is made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.errors import YiyunError
from infra.trust.material import Material
from infra.trust.store import write_private
from monitoring.errors import RefusedLoginError

if TYPE_CHECKING:
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from monitoring.api import Zabbix

ADMIN = "Admin"
AUTOMATION = "yiyun"
TOKEN = "zabbix-token"  # noqa: S105  the secret's name
CALL_SECONDS = 60.0
"""How long one call may take; importing all templates takes some seconds."""
NO_FRONTEND = "3"
"""`gui_access`: no pages, the API only."""
ADMIN_ROLE = "Super admin role"
VENDOR_HOST = "Zabbix server"
"""The vendor's example host, which watches an agent that is not there."""


def door(estate: Estate) -> str:
    """Base URL of Zabbix's pages as an operator reaches them."""
    if estate.provider == "lab":
        return f"https://127.0.0.1:{estate.lab.published.monitoring}"
    hosts = estate.hosts_with("ops")
    if not hosts:
        raise YiyunError("this estate has no operations host", hint="give one host the role ops")
    return f"https://{hosts[0].name}.{estate.domain}"


def authority(estate: Estate, paths: EstatePaths) -> Path:
    """File with the estate's certificate authority, which the client verifies Zabbix by."""
    path = paths.root / "ca.pem"
    text = Material(estate, paths).root().certificate
    if not path.exists() or path.read_text(encoding="ascii") != text:
        write_private(path, text.encode())
    return path


def connected(
    estate: Estate, paths: EstatePaths, *, remember: bool = False, seconds: float = CALL_SECONDS
) -> Zabbix:
    """A session that speaks as nobody yet."""
    from monitoring.api import Zabbix  # the client library takes long to load, and most verbs need none

    return Zabbix(door(estate), authority(estate, paths), remember=remember, seconds=seconds)


def opened(
    estate: Estate, paths: EstatePaths, *, remember: bool = False, seconds: float = CALL_SECONDS
) -> Zabbix:
    """A session with the automation's token. `seconds`: how long one call may take.

    Raises RefusedLoginError when it has none that is accepted.
    """
    token = Material(estate, paths).store.get(TOKEN)
    if token is None:
        raise RefusedLoginError("Zabbix knows no token of ours yet", hint="yiyun monitor apply")
    zabbix = connected(estate, paths, remember=remember, seconds=seconds)
    zabbix.use_token(str(token))
    return zabbix


def opened_or_made(estate: Estate, paths: EstatePaths) -> Zabbix:
    """As `opened`; makes account and token by the first account when there is none that is accepted."""
    try:
        zabbix = opened(estate, paths, remember=True)
        zabbix.call("user.get", {"output": ["userid"], "limit": 1})
        return zabbix
    except RefusedLoginError:
        material = Material(estate, paths)
        zabbix = connected(estate, paths)
        zabbix.log_in(ADMIN, material.passwords()["zabbix-admin"])
        material.store.put(TOKEN, make_token(zabbix))
        return opened(estate, paths, remember=True)


def make_token(zabbix: Zabbix) -> str:
    """The automation's account without a password or pages, and a new token of it; the old one ends."""
    group = _ensure(
        zabbix,
        "usergroup",
        "usrgrpid",
        {"name": "yiyun automation"},
        {"name": "yiyun automation", "gui_access": NO_FRONTEND},
    )
    role = zabbix.call("role.get", {"output": ["roleid"], "filter": {"name": ADMIN_ROLE}})[0]["roleid"]
    account = {"username": AUTOMATION, "roleid": role, "usrgrps": [{"usrgrpid": group}]}
    user = _ensure(zabbix, "user", "userid", {"username": AUTOMATION}, account)
    named = {"name": AUTOMATION, "userid": user}
    token = _ensure(zabbix, "token", "tokenid", {"name": AUTOMATION, "userid": user}, named)
    example = zabbix.call("host.get", {"output": ["hostid"], "filter": {"host": VENDOR_HOST}})
    if example:
        zabbix.call("host.delete", [example[0]["hostid"]])
    return str(zabbix.call("token.generate", [token])[0]["token"])


def _ensure(zabbix: Zabbix, kind: str, key: str, wanted: Any, made: Any) -> str:
    found = zabbix.call(f"{kind}.get", {"output": [key], "filter": wanted})
    if found:
        return str(found[0][key])
    return str(zabbix.call(f"{kind}.create", made)[f"{key}s"][0])
