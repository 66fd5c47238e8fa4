"""What every request handler needs, and helpers that read it from a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from fastapi import Request
from sqlalchemy.orm import Session, sessionmaker

from yiyun_app.attachment_store import AttachmentStore
from yiyun_app.residents import Residents
from yiyun_app.retry import RetryPolicy, run_transaction
from yiyun_app.settings import ServeSettings
from yiyun_app.web.login import LoginGuard, Signer

T = TypeVar("T")


@dataclass(frozen=True)
class Application:
    """The process's parts."""

    settings: ServeSettings
    new_session: sessionmaker[Session]
    policy: RetryPolicy
    residents: Residents
    signer: Signer
    guard: LoginGuard
    attachments: AttachmentStore | None
    host: str

    def transaction(self, work: Callable[[Session], T], *, idempotent: bool) -> T:
        """Run work in one retried transaction; `idempotent` as in `run_transaction`."""
        return run_transaction(self.new_session, work, idempotent=idempotent, policy=self.policy)


def application(request: Request) -> Application:
    """The process's parts, from a request."""
    return cast("Application", request.app.state.application)


def peer_address(request: Request) -> str:
    """Address of the connection's other end."""
    return request.client.host if request.client else ""


def client_address(request: Request) -> str:
    """Address of the user: the last one that a trusted proxy reports in X-Forwarded-For, else the peer's."""
    settings = application(request).settings
    address = peer_address(request)
    chain = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()]
    while chain and settings.is_trusted_proxy(address):
        address = chain.pop()
    return address[:45]


def base_url(request: Request) -> str:
    """The site's address as the client sees it: scheme and host, the scheme from a trusted proxy's header."""
    scheme = request.url.scheme
    if application(request).settings.is_trusted_proxy(peer_address(request)):
        scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else scheme
    return f"{scheme}://{request.headers.get('host', request.url.netloc)}"
