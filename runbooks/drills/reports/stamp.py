"""A time stamp of a report by somebody else (RFC 3161): that it was there, as it is, at that moment.

Asked for only when the operator names an authority: the report's hash goes there, nothing else. The answer
lies beside the report, which it cannot be part of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from infra.errors import BadInputError, YiyunError
from infra.trust.store import write_private
from runbooks.drills.reports.errors import RefusedReportError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from rfc3161_client import TimeStampResponse

SECONDS = 15.0
QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"


@dataclass(frozen=True)
class Stamp:
    """When an authority saw a report. `checked`: whether its certificate leads to a root that was given."""

    at: datetime
    checked: bool


def stamp_path(report: Path) -> Path:
    """Where a report's time stamp lies."""
    return report.with_suffix(".tsr")


def ask(report: Path, authority: str) -> Stamp:
    """Get a report's time stamp and keep it beside it. `authority`: URL. One that is there stays.

    Raises YiyunError when the authority does not answer with a stamp of these very bytes.
    """
    path = stamp_path(report)
    if not path.exists():
        data = report.read_bytes()
        request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA512).build()
        try:
            answer = httpx.post(
                authority, content=request.as_bytes(), headers={"Content-Type": QUERY}, timeout=SECONDS
            )
            answer.raise_for_status()
            response = decode_timestamp_response(answer.content)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise YiyunError(
                f"no time stamp from {authority}: {error}", hint="yiyun drill report asks again"
            ) from None
        if response.tst_info.message_imprint.message != request.message_imprint.message:
            raise YiyunError(f"{authority} stamped something else", hint="another authority")
        write_private(path, answer.content)
    return check(report, ())


def check(report: Path, roots: tuple[Path, ...]) -> Stamp:
    """The time stamp beside a report. `roots`: certificates (PEM) of the authorities that the reader trusts.

    Raises RefusedReportError `stamp` when it is not of these bytes, or not of a trusted authority;
    BadInputError when a root is no certificate.
    """
    path = stamp_path(report)
    try:
        response = decode_timestamp_response(path.read_bytes())
    except ValueError as error:
        raise RefusedReportError("stamp", f"no time stamp: {error}", where=str(path)) from error
    trusted = [root for path in roots for root in _certificates(path)]
    if trusted:
        _verified(response, report, trusted)
    elif response.tst_info.message_imprint.message != _sha512(report):
        raise RefusedReportError("stamp", "the time stamp is of another report", where=str(path))
    return Stamp(response.tst_info.gen_time, bool(trusted))


def _verified(response: TimeStampResponse, report: Path, trusted: list[x509.Certificate]) -> None:
    builder = VerifierBuilder()
    for root in trusted:
        builder = builder.add_root_certificate(root)
    try:
        builder.build().verify_message(response, report.read_bytes())
    except VerificationError as error:
        raise RefusedReportError("stamp", str(error), where=str(stamp_path(report))) from error


def _sha512(report: Path) -> bytes:
    request = TimestampRequestBuilder().data(report.read_bytes()).hash_algorithm(HashAlgorithm.SHA512).build()
    return request.message_imprint.message


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: {error}", hint="a certificate in PEM", where=str(path)) from None
