"""What must be known of a message before it is stored: its MSH fields, its encoding, its acknowledgement."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

AckCode = Literal["AA", "AE", "AR"]

# HL7 table 0211, and the names Chinese systems write instead.
_CHARSETS = {
    "ASCII": "ascii",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "GB 18030-2000": "gb18030",
    "GB 18030": "gb18030",
    "GB18030": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "CP936": "gb18030",
    **{f"8859/{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
}


class NotHl7Error(ValueError):
    """The bytes are not an HL7 v2 message: they do not begin with an MSH segment."""


class EncodingError(ValueError):
    """The message's encoding is unknown or its bytes do not agree with it."""


@dataclass(frozen=True, slots=True)
class Header:
    """MSH of one message; `encoding` reads the body (None: unknown), `wire` is what MSH was decoded with."""

    separators: str
    application: str
    facility: str
    receiver: str
    receiver_facility: str
    time: str
    message_type: str
    control_id: str
    processing_id: str
    version: str
    charset: str
    encoding: str | None
    wire: str

    @property
    def sender(self) -> str:
        """The identity under which order and idempotency are kept."""
        return f"{self.application}|{self.facility}"


def codec_of(charset: str, default: str) -> str | None:
    """Return Python's codec for MSH-18, `default` when it is empty, None when nobody knows it."""
    if not charset:
        return default
    name = _CHARSETS.get(charset.strip().upper())
    if name is not None:
        return name
    try:
        return codecs.lookup(charset.strip().replace(" ", "-")).name
    except LookupError:
        return None


def _fields(line: bytes, encoding: str) -> list[str]:
    text = line.decode(encoding, "surrogateescape")
    return text.split(text[3])


def _read(line: bytes, default: str) -> tuple[list[str], str, str | None]:
    """Return MSH's fields, what they were decoded with, and the encoding MSH-18 names (None: unknown).

    A GB18030 letter may end in a byte that looks like `|`, which moves MSH-18 for a reader that does not know
    yet. So every field that names a character set is a candidate; right is the one that, used, finds itself.
    """
    fields = _fields(line, default)
    named = [codec_of(field.split("~")[0], default) for field in fields[17:] if field]
    for candidate in dict.fromkeys(name for name in named if name not in {None, default, "ascii"}):
        again = _fields(line, str(candidate))
        if codec_of(_at(again, 18).split("~")[0], default) == candidate:
            return again, str(candidate), candidate
    return fields, default, codec_of(_at(fields, 18).split("~")[0], default)


def peek(raw: bytes, default_encoding: str, by_sender: dict[str, str] | None = None) -> Header:
    """Read the MSH segment of `raw` without judging the rest. Undecodable bytes survive as surrogates.

    Raises NotHl7Error when there is no MSH segment with its delimiters and MSH-9.
    """
    line = re.split(rb"[\r\n]", raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n \t"), maxsplit=1)[0]
    if not line.startswith(b"MSH") or len(line) < 8 or line[3:4].isalnum() or line[3] > 0x7E:
        raise NotHl7Error("no MSH segment")
    fields, wire, encoding = _read(line, default_encoding)
    separators = line[3:4].decode("ascii") + _at(fields, 2)
    if len(separators) < 2 or not _at(fields, 9):
        raise NotHl7Error("MSH without delimiters or message type")
    component = separators[1]
    application, facility = (_at(fields, n).split(component)[0] for n in (3, 4))
    return Header(
        separators=separators,
        application=application,
        facility=facility,
        receiver=_at(fields, 5),
        receiver_facility=_at(fields, 6),
        time=_at(fields, 7),
        message_type="^".join(_at(fields, 9).split(component)[:2]),
        control_id=_at(fields, 10),
        processing_id=_at(fields, 11) or "P",
        version=_at(fields, 12).split(component)[0],
        charset=_at(fields, 18).split("~")[0],
        encoding=(by_sender or {}).get(f"{application}|{facility}", encoding),
        wire=wire,
    )


def _at(fields: list[str], number: int) -> str:
    """MSH-n: MSH-1 is the separator itself, so field n is at n-1 after the split."""
    return fields[number - 1] if len(fields) >= number else ""


def decode(raw: bytes, header: Header) -> str:
    """Return the text of the message, strictly. Raises EncodingError; the text names no content."""
    if header.encoding is None:
        raise EncodingError(f"MSH-18 {header.charset!r} is not a known character set")
    try:
        return raw.removeprefix(b"\xef\xbb\xbf").decode(header.encoding)
    except UnicodeDecodeError as error:
        raise EncodingError(
            f"byte {error.start} is not {header.encoding}; set reading.encoding_by_sender"
        ) from None


def acknowledge(header: Header, code: AckCode, reason: str, now: datetime) -> bytes:
    """Return the acknowledgement (original mode): MSA-1 `code`, MSA-2 the sender's MSH-10, MSA-3 `reason`."""
    f, c = header.separators[0], header.separators[1]
    local = now.astimezone(timezone(timedelta(hours=8)))
    own = f"{local:%Y%m%d%H%M%S%f}"[:20]
    event = header.message_type.partition("^")[2]
    msh = [
        f"MSH{f}{header.separators[1:]}", header.receiver, header.receiver_facility, header.application,
        header.facility, f"{local:%Y%m%d%H%M%S}+0800", "", f"ACK{c}{event}" if event else "ACK", own,
        header.processing_id, header.version, "", "", "", "", "", header.charset,
    ]  # fmt: skip
    msa = f"MSA{f}{code}{f}{header.control_id}" + (f"{f}{reason}" if reason else "")
    text = f.join(msh).rstrip(f) + "\r" + msa + "\r"
    return text.encode(header.wire, "surrogateescape")


def reject(reason: str, now: datetime) -> bytes:
    """Return the AR answer to bytes that have no readable MSH, so no control id to echo."""
    return (
        f"MSH|^~\\&|||||{now:%Y%m%d%H%M%S}+0000||ACK|{now:%Y%m%d%H%M%S%f}|P|2.5.1\rMSA|AR||{reason}\r".encode(
            "ascii"
        )
    )
