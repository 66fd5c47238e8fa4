"""Make a drill's report from its folder: signed, linked to the one before, its pages and PDFs beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra.errors import BadInputError, YiyunError
from infra.trust.operator_key import OperatorKey
from infra.trust.store import write_private
from runbooks.drills.evidence.verdict import judge
from runbooks.drills.folder import Folder, folders
from runbooks.drills.reports.chain import Head, check_chain, links_of
from runbooks.drills.reports.compose import compose
from runbooks.drills.reports.envelope import Opened, seal, unseal
from runbooks.drills.reports.errors import RefusedReportError
from runbooks.drills.reports.html import html_of
from runbooks.drills.reports.pdf import pdf_of
from runbooks.drills.reports.words import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from infra.paths import EstatePaths
    from runbooks.drills.reports.words import Language

KEY = OperatorKey("drill-signing.pem", "YIYUN_DRILL_KEY_FILE")
MAKERS: dict[str, Callable[[Opened, bytes, Language, Ed25519PrivateKey], bytes]] = {
    "html": html_of,
    "pdf": pdf_of,
}
"""Format → what makes a page of it."""


def page_path(folder: Folder, language: Language, format_: str) -> Path:
    """Where a page of a report is."""
    return folder.report.with_suffix(f".{language}.{format_}")


def publish(folder: Folder, paths: EstatePaths, key: Ed25519PrivateKey) -> tuple[Head, list[str]]:
    """Sign the folder's report as the next of the chain, and make its pages.

    A report that is there stays; its missing pages are made. Returns its place in the chain, and why a page
    could not be made. Raises RefusedReportError when the chain so far is not whole, BadInputError for
    evidence that is not.
    """
    opened = sign(folder, paths, key)
    envelope = folder.report.read_bytes()
    troubles: list[str] = []
    for language in LANGUAGES:
        for format_, make in MAKERS.items():
            page = page_path(folder, language, format_)
            if page.exists():
                continue
            try:
                write_private(page, make(opened, envelope, language, key))
            except YiyunError as error:
                troubles.append(f"{page.name}: {error.message}; {error.hint}")
    return Head(int(opened.report["seq"]), opened.digest), troubles


def chain_head(paths: EstatePaths, key: Ed25519PublicKey) -> Head | None:
    """The newest report here, every one before it checked. Raises RefusedReportError naming what is wrong."""
    reports: list[Opened] = []
    for folder in folders(paths):
        if folder.report.exists():
            try:
                reports.append(unseal(folder.report.read_bytes(), key))
            except RefusedReportError as error:
                raise RefusedReportError(error.check, error.told, where=str(folder.report)) from error
    return check_chain(reports, noted_head(paths))


def noted_head(paths: EstatePaths) -> Head | None:
    """The newest report as it was noted beside the reports, if any was."""
    note = paths.drills / "head.json"
    if not note.exists():
        return None
    try:
        return Head(**json.loads(note.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise BadInputError(f"{note} cannot be read", hint="was it changed?", where=str(note)) from None


def sign(folder: Folder, paths: EstatePaths, key: Ed25519PrivateKey) -> Opened:
    """Sign the folder's report as the next of the chain, without pages; one that is there stays.

    Raises as `publish` does.
    """
    if folder.report.exists():
        return unseal(folder.report.read_bytes(), key.public_key())
    previous = chain_head(paths, key.public_key())
    evidence = folder.evidence()
    report = compose(evidence, judge(evidence), about_of(folder) | links_of(previous), folder.files())
    envelope = seal(report, key)
    write_private(folder.report, envelope)
    opened = unseal(envelope, key.public_key())
    note = {"seq": opened.report["seq"], "digest": opened.digest}
    write_private(paths.drills / "head.json", json.dumps(note).encode())
    return opened


def about_of(folder: Folder) -> dict[str, Any]:
    """What the folder says of the estate and the people. Raises BadInputError when it does not."""
    try:
        return json.loads(folder.about.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"{folder.path.name}: about.json: {error}", hint="the evidence is not whole"
        ) from None
