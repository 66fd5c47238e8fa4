"""Health: alive without the database, ready with it."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from yiyun_app import __version__
from yiyun_app.migrate import ready
from yiyun_app.web.context import application

router = APIRouter()


@router.get("/healthz")
async def healthz(request: Request) -> JSONResponse:
    """200 while the process can serve."""
    return JSONResponse(_body(request, "ok"))


@router.get("/readyz")
def readyz(request: Request) -> JSONResponse:
    """200 when the database answers a read and its schema serves this release, else 503. Not retried."""
    try:
        with application(request).new_session() as session:
            fit = ready(session)
    except SQLAlchemyError:
        return JSONResponse(_body(request, "database-unavailable"), 503)
    return JSONResponse(_body(request, "ok" if fit else "schema-behind"), 200 if fit else 503)


def _body(request: Request, status: str) -> dict[str, str]:
    return {"status": status, "version": __version__, "host": application(request).host}
