"""A server certificate taken up from its files without a restart: by the handshake after a change."""

import ssl
from pathlib import Path
from typing import Any

from yiyun_app.errors import UserError
from yiyun_app.watched import Watched


def follow_files(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Make a listening context load the pair anew when its files changed; open connections stay."""

    def load() -> None:
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise UserError(f"{certificate}: {error}") from None

    pair = Watched([certificate, key], load)

    def greeted(_connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        pair()

    context.sni_callback = greeted
