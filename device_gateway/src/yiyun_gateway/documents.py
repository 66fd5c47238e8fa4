"""From a stored message to what is posted: pure, so that parsing, delivering and showing always agree."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yiyun_gateway.hl7v2.fields import UnreadableError, local_zone
from yiyun_gateway.hl7v2.header import EncodingError, NotHl7Error, peek
from yiyun_gateway.hl7v2.oru import parse

if TYPE_CHECKING:
    from yiyun_gateway.codes import CodeMap, Coding
    from yiyun_gateway.config import Reading

HANDLED = {"ORU^R01", "ORU"}


class NotDeliverableError(Exception):
    """The message is to be parked; the text is the reason, without any value of the message."""


@dataclass(frozen=True, slots=True)
class Post:
    """One request to the platform."""

    key: str
    document: dict[str, Any]

    @property
    def body(self) -> bytes:
        """The JSON body. The same message always gives the same bytes."""
        return json.dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one stored message becomes. `lane`: messages of one sender about one patient stay in order."""

    lane: str
    posts: tuple[Post, ...]
    unmapped: tuple[Coding, ...]


class Composer:
    """Turns stored messages into deliveries under one configuration."""

    def __init__(self, site: str, reading: Reading, codes: CodeMap) -> None:
        self._site = site
        self._reading = reading
        self._codes = codes
        self._zone = local_zone(reading.utc_offset)

    def compose(self, raw: bytes, key: str, received_at: str) -> Delivery:
        """Return the delivery of one message. Raises NotDeliverableError when it must be parked."""
        try:
            header = peek(raw, self._reading.encoding, self._reading.encoding_by_sender)
            if header.message_type not in HANDLED:
                raise NotDeliverableError(f"not handled yet: {header.message_type}")
            read = parse(raw, header, self._zone, self._codes)
        except (NotHl7Error, EncodingError, UnreadableError) as error:
            raise NotDeliverableError(f"cannot be read: {error}") from error
        source = {"application": header.application, "facility": header.facility, "site": self._site}
        envelope: dict[str, Any] = {
            "source": source,
            "message_control_id": header.control_id,
            "message_type": header.message_type,
            "received_at": received_at,
            "raw_sha256": hashlib.sha256(raw).hexdigest(),
        }
        posts = tuple(
            Post(_key(key, index), envelope | document) for index, document in enumerate(read.documents)
        )
        return Delivery(_lane(header.sender, read.documents[0]["patient"]), posts, tuple(read.unmapped))


def _key(key: str, index: int) -> str:
    """The message's key; further patients of the same message get keys derived from it."""
    return key if index == 0 else hashlib.sha256(f"{key}:{index}".encode("ascii")).hexdigest()


def _lane(sender: str, patient: dict[str, Any]) -> str:
    first = patient["identifiers"][0] if patient["identifiers"] else {"system": "", "value": ""}
    text = "\x1f".join((sender, first["system"], first["value"]))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]
