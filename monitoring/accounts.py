"""Stages of settings and people: language, time zone, the on-call account and what it may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitoring.model import GROUP_PREFIX
from monitoring.plan import Planned, planned
from monitoring.views import View, differences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitoring.api import Zabbix

ONCALL_GROUP = "yiyun on-call"
ONCALL_USER = "oncall"
SETTINGS = {"default_lang": "zh_CN", "default_timezone": "Asia/Shanghai", "login_attempts": "5"}
USER_ROLE = "User role"
"""The vendor's role that may look and acknowledge, and change nothing."""
READ, WRITE = "2", "3"


def settings(zabbix: Zabbix) -> list[Planned]:
    """Settings of the whole server that differ."""
    actual = zabbix.call("settings.get", {"output": list(SETTINGS)})
    differing = differences(dict(SETTINGS), {name: str(value) for name, value in actual.items()})
    if not differing:
        return []
    return [planned("Settings", "zabbix", "update", ("settings.update", dict(SETTINGS)), differing)]


def oncall_group(zabbix: Zabbix) -> list[Planned]:
    """The group of those on call: they read every host of ours, and may acknowledge."""
    groups = zabbix.call("hostgroup.get", {"output": ["groupid", "name"]})
    ours = sorted(g["groupid"] for g in groups if _is_ours(g["name"]))
    question = {
        "output": ["usrgrpid"],
        "filter": {"name": ONCALL_GROUP},
        "selectHostGroupRights": ["id", "permission"],
    }
    found = zabbix.call("usergroup.get", question)
    rights = [{"id": group, "permission": READ} for group in ours]
    parameters = {"name": ONCALL_GROUP, "hostgroup_rights": rights}
    if not found:
        return [planned("UserGroup", ONCALL_GROUP, "create", ("usergroup.create", parameters))]
    names = {g["groupid"]: g["name"] for g in groups}
    have = found[0]["hostgroup_rights"]
    actual: View = {"reads": sorted(names.get(r["id"], r["id"]) for r in have if r["permission"] == READ)}
    differing = differences({"reads": sorted(names[g] for g in ours)}, actual)
    call = ("usergroup.update", {"usrgrpid": found[0]["usrgrpid"], **parameters})
    return [planned("UserGroup", ONCALL_GROUP, "update", call, differing)] if differing else []


def oncall_user(zabbix: Zabbix, password: str) -> list[Planned]:
    """The account of those on call. Its password is set when it is made, and never read back."""
    group = zabbix.call("usergroup.get", {"output": ["usrgrpid"], "filter": {"name": ONCALL_GROUP}})
    role = zabbix.call("role.get", {"output": ["roleid"], "filter": {"name": USER_ROLE}})
    declared: dict[str, Any] = {
        "lang": "default",
        "roleid": role[0]["roleid"] if role else "",
        "groups": [group[0]["usrgrpid"]] if group else [],
    }
    parameters = {
        "username": ONCALL_USER,
        "roleid": declared["roleid"],
        "lang": declared["lang"],
        "usrgrps": [{"usrgrpid": g} for g in declared["groups"]],
    }
    question = {
        "output": ["userid", "roleid", "lang"],
        "filter": {"username": ONCALL_USER},
        "selectUsrgrps": ["usrgrpid"],
    }
    found = zabbix.call("user.get", question)
    if not found:
        made = {**parameters, "passwd": password}
        return [planned("User", ONCALL_USER, "create", ("user.create", made))]
    differing = differences(declared, _seen(found[0]))
    call = ("user.update", {"userid": found[0]["userid"], **parameters})
    return [planned("User", ONCALL_USER, "update", call, differing)] if differing else []


def _seen(user: Mapping[str, Any]) -> View:
    groups = sorted(g["usrgrpid"] for g in user["usrgrps"])
    return {"lang": user["lang"], "roleid": user["roleid"], "groups": groups}


def _is_ours(name: str) -> bool:
    return name == GROUP_PREFIX or name.startswith(f"{GROUP_PREFIX}/")
