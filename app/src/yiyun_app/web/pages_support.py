"""Rendering of pages: templates, language, dates."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from yiyun_app.i18n import HTML_LANGUAGE, LANGUAGES, choose, translations
from yiyun_app.web.context import application
from yiyun_app.web.login import CSRF_COOKIE, LANGUAGE_COOKIE

PACKAGE = Path(__file__).parents[1]
_COUNTY_TIME = ZoneInfo("Asia/Shanghai")
_LANGUAGE_SECONDS = 365 * 24 * 3600


def _moment(value: datetime) -> str:
    return value.replace(tzinfo=UTC).astimezone(_COUNTY_TIME).strftime("%Y-%m-%d %H:%M")


def _kib(size: int) -> str:
    return f"{max(1, round(size / 1024))} KiB"


def environment() -> Environment:
    """The template environment: everything escaped, an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(PACKAGE / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["moment"] = _moment
    made.filters["kib"] = _kib
    return made


def _environments() -> dict[str, Environment]:
    made: dict[str, Environment] = {}
    for language in LANGUAGES:
        made[language] = environment()
        catalogue = translations(language)
        cast("Any", made[language]).install_gettext_translations(catalogue, newstyle=True)
    return made


_ENVIRONMENTS = _environments()


def language_of(request: Request) -> str:
    """The language this request's page is shown in."""
    return choose(
        request.query_params.get("lang"),
        request.cookies.get(LANGUAGE_COOKIE),
        request.headers.get("accept-language"),
    )


def render(
    request: Request,
    template: str,
    code: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """Render a template; sets the cookies that forms and the chosen language need."""
    language = language_of(request)
    browser = request.cookies.get(CSRF_COOKIE) or secrets.token_hex(16)
    common = {
        "language": HTML_LANGUAGE[language],
        "languages": _language_links(request),
        "form_token": application(request).signer.form_token(browser),
        "idempotency_key": secrets.token_hex(32),
        "staff": None,
    }
    html = _ENVIRONMENTS[language].get_template(template).render({**common, **values})
    response = HTMLResponse(html, code, headers)
    response.headers["Content-Language"] = HTML_LANGUAGE[language]
    response.set_cookie(CSRF_COOKIE, browser, secure=True, httponly=True, samesite="lax", path="/")
    if request.query_params.get("lang") in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE, language, max_age=_LANGUAGE_SECONDS, secure=True, httponly=True, samesite="lax"
        )
    return response


def _language_links(request: Request) -> list[tuple[str, str]]:
    path = request.url.path if request.method == "GET" else "/login"
    kept = {name: value for name, value in request.query_params.items() if name != "lang"}
    base = request.url.replace(scheme="", netloc="", path=path, query="")
    return [
        ("中文", str(base.include_query_params(**kept, lang="zh"))),
        ("English", str(base.include_query_params(**kept, lang="en"))),
    ]


def render_error(
    request: Request, status: int, headers: Mapping[str, str] | None = None, reason: str = ""
) -> Response:
    """A page that says what went wrong in the reader's words; never carries data of a record."""
    return render(
        request,
        "error.html",
        status,
        headers,
        status=status,
        reason=reason,
        request_id=request.state.request_id,
    )
