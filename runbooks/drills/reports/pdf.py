"""A report as PDF, from the same `<main>` as the page, with the report and its seal attached.

Both attachments lie in the file as they are (uncompressed), so that the seal has its room and a reader can
take the report out by any PDF viewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import escape

from infra.errors import YiyunError
from runbooks.drills.reports.page import main_of, style_text, title_of
from runbooks.drills.reports.seals import enclosed, room, sealed_page
from runbooks.drills.reports.words import HTML_LANGUAGE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runbooks.drills.reports.envelope import Opened
    from runbooks.drills.reports.words import Language

MEDIA_TYPE = "application/pdf"
SEAL_ROOM = 2048
"""Bytes kept for the seal: about 900 are used; the file's offsets must not move when it comes in."""


def pdf_of(opened: Opened, envelope: bytes, language: Language, key: Ed25519PrivateKey) -> bytes:
    """The sealed PDF of a signed report. Raises YiyunError when this machine cannot set type."""
    shell = (
        f'<!DOCTYPE html><html lang="{HTML_LANGUAGE[language]}"><head><meta charset="utf-8">'
        f"<title>{escape(title_of(opened.report, language))}</title><style>{style_text()}</style></head>"
        f"<body>{main_of(opened.report, language)}</body></html>"
    )
    page = _typeset(
        shell, {"report.json.box": enclosed(envelope), "seal.json.box": room(SEAL_ROOM)}, opened.digest
    )
    return sealed_page(page, opened, key, {"media_type": MEDIA_TYPE, "language": language})


def _typeset(shell: str, attached: dict[str, bytes], identifier: str) -> bytes:
    try:
        import pydyf
        from weasyprint import HTML
    except OSError as error:
        raise YiyunError(
            f"no PDF can be set here: {error}", hint="apt-get install -y libpango-1.0-0 libpangoft2-1.0-0"
        ) from None

    def attach(_document: Any, pdf: Any) -> None:
        names: list[Any] = []
        for name, content in sorted(attached.items()):
            extra = pydyf.Dictionary({"Type": "/EmbeddedFile", "Subtype": "/text#2fplain"})
            stream = pydyf.Stream([content], extra)
            pdf.add_object(stream)
            entry = pydyf.Dictionary(
                {
                    "Type": "/Filespec",
                    "F": pydyf.String(name),
                    "UF": pydyf.String(name),
                    "EF": pydyf.Dictionary({"F": stream.reference}),
                }
            )
            pdf.add_object(entry)
            names += [pydyf.String(name), entry.reference]
        tree = pydyf.Dictionary({"Names": pydyf.Array(names)})
        pdf.catalog["Names"] = pydyf.Dictionary({"EmbeddedFiles": tree})

    document = HTML(string=shell, url_fetcher=_nothing)
    return document.write_pdf(finisher=attach, pdf_identifier=identifier[:32].encode()) or b""


def _nothing(url: str, *_: Any, **__: Any) -> Any:
    """A report loads nothing from anywhere."""
    raise ValueError(f"a report names {url}")
