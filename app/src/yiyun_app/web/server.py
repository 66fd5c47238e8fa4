"""Putting the application together."""

import socket

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine

from yiyun_app import __version__
from yiyun_app.attachment_store import AttachmentStore
from yiyun_app.crypto import FieldCipher
from yiyun_app.database import connect, sessions
from yiyun_app.residents import Residents
from yiyun_app.retry import RetryPolicy
from yiyun_app.settings import ServeSettings, read_field_keys, read_session_keys
from yiyun_app.watched import Watched
from yiyun_app.web import attachments, fhir, fhir_documents, health, ingest, pages, problems
from yiyun_app.web.context import Application
from yiyun_app.web.login import LoginGuard, Signer
from yiyun_app.web.observe import Observe
from yiyun_app.web.pages_support import PACKAGE


def create(settings: ServeSettings, engine: Engine | None = None) -> Observe:
    """The web application; raises UserError when a secret file cannot be used. Opens no connection yet."""
    app = FastAPI(title="yiyun-app", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    field_keys = Watched([settings.field_key_file], lambda: read_field_keys(settings.field_key_file))
    session_keys = Watched([settings.session_key_file], lambda: read_session_keys(settings.session_key_file))
    app.state.application = Application(
        settings=settings,
        new_session=sessions(engine or connect(settings)),
        policy=RetryPolicy(total_seconds=settings.retry_seconds),
        residents=Residents(FieldCipher(field_keys), settings.county_code),
        signer=Signer(session_keys, settings.session_hours),
        guard=LoginGuard(),
        attachments=_attachments(settings),
        host=socket.gethostname(),
    )
    for part in (health, pages, attachments, fhir, fhir_documents, ingest):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=PACKAGE / "static"), name="static")
    problems.install(app)
    # outermost, so that even an unexpected failure carries the headers and is logged
    return Observe(app, app.state.application.host)


def _attachments(settings: ServeSettings) -> AttachmentStore | None:
    folder = settings.attachments_folder
    if folder is None:
        return None
    return AttachmentStore(folder, seconds=settings.attachments_seconds, mounted=settings.attachments_mounted)
