"""Zabbix's API: the only place that knows the client library, and its traps.

pyzabbix has no timeout by default, prints secrets at debug level, and as a context manager swallows its own
exceptions; none of that passes this module.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import requests
from pyzabbix.api import ZabbixAPI, ZabbixAPIException

from infra.errors import YiyunError
from monitoring.errors import RefusedLoginError

if TYPE_CHECKING:
    from pathlib import Path

LOGIN_HINT = "yiyun monitor apply makes a new token; yiyun up --only zabbix puts the first account right"


class Zabbix:
    """One session with a Zabbix server."""

    def __init__(self, url: str, authority: Path, *, remember: bool = False, seconds: float) -> None:
        """`authority`: file of the certificate authority. `remember`: repeat no question until a write.
        `seconds`: how long one call may take.
        """
        self._remembered: dict[str, Any] | None = {} if remember else None
        logging.getLogger("pyzabbix").setLevel(logging.WARNING)
        session = requests.Session()
        session.trust_env = False
        session.verify = str(authority)
        self.url = url
        self._api: Any = ZabbixAPI(url, session=session, timeout=seconds)

    def version(self) -> str:
        """The server's version; needs no account. Raises YiyunError when nobody answers."""
        return str(self.call("apiinfo.version", {}))

    def use_token(self, token: str) -> None:
        """Speak with a token from now on. Raises RefusedLoginError when it is not accepted."""
        self._log_in(api_token=token)

    def log_in(self, name: str, password: str) -> None:
        """Speak as a user from now on. Raises RefusedLoginError when the password is wrong."""
        self._log_in(user=name, password=password)

    def call(self, method: str, parameters: Any) -> Any:
        """One call. Raises YiyunError with Zabbix's own words."""
        if self._remembered is None:
            return self._call(method, parameters)
        if not method.endswith((".get", ".importcompare")):
            self._remembered.clear()
            return self._call(method, parameters)
        question = json.dumps([method, parameters], sort_keys=True)
        if question not in self._remembered:
            self._remembered[question] = self._call(method, parameters)
        return self._remembered[question]

    def _call(self, method: str, parameters: Any) -> Any:
        try:
            return self._api.do_request(method, parameters)["result"]
        except ZabbixAPIException as error:
            raise _explained(method, error) from None
        except requests.RequestException as error:
            raise self._silent(error) from None

    def _log_in(self, **account: str) -> None:
        try:
            self._api.login(**account)
        except ZabbixAPIException as error:
            raise RefusedLoginError(f"Zabbix: {_text(error)}", hint=LOGIN_HINT) from None
        except requests.RequestException as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> YiyunError:
        return YiyunError(
            f"Zabbix does not answer at {self.url}: {type(error).__name__}",
            hint="yiyun status shows whether its host is up; then yiyun up --only zabbix",
            where=self.url,
        )


def _explained(method: str, error: ZabbixAPIException) -> YiyunError:
    text = _text(error)
    if "not authori" in text.lower() or "re-login" in text.lower() or "token expired" in text.lower():
        return RefusedLoginError(f"Zabbix: {text}", hint=LOGIN_HINT)
    return YiyunError(f"Zabbix refused {method}: {text}", hint="yiyun monitor diff shows what was wanted")


def _text(error: ZabbixAPIException) -> str:
    told = error.error or {}
    return str(told.get("data") or told.get("message") or error)
