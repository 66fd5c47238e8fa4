"""ORU^R01 (HL7 2.3 to 2.6) to the platform's result documents: one document per patient in the message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yiyun_gateway.hl7v2.fields import Segment, UnreadableError, instants, segments
from yiyun_gateway.hl7v2.header import Header, decode
from yiyun_gateway.hl7v2.patient import patient
from yiyun_gateway.hl7v2.values import Value, status, value

if TYPE_CHECKING:
    from datetime import tzinfo

    from yiyun_gateway.codes import CodeMap, Coding

_CONTINUES = {"ST", "TX", "FT"}
_REPORT = {"TX", "FT"}


@dataclass(slots=True)
class _Order:
    obr: Segment | None
    observations: list[tuple[Segment, list[Segment]]] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    pid: Segment | None
    orders: list[_Order] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reading:
    """What parsing gave: documents to deliver, and codes nobody has mapped (facility code, display, unit)."""

    documents: list[dict[str, Any]]
    unmapped: list[Coding]


def parse(raw: bytes, header: Header, zone: tzinfo, codes: CodeMap) -> Reading:
    """Turn one stored ORU^R01 into result documents (`patient` and `orders`; the caller adds the source).

    Raises EncodingError or UnreadableError when it cannot be read without guessing.
    """
    groups = _group(segments(decode(raw, header), header.separators, header.wire))
    unmapped: list[Coding] = []
    documents: list[dict[str, Any]] = []
    for group in groups:
        orders = [_order(order, header, zone, codes, unmapped) for order in group.orders]
        documents.append({"patient": patient(group.pid, header.facility), "orders": orders})
    if not documents:
        raise UnreadableError("no OBX: the message carries no result")
    return Reading(documents, unmapped)


def _group(found: list[Segment]) -> list[_Group]:
    groups: list[_Group] = []
    for segment in found:
        if segment.name == "PID":
            groups.append(_Group(segment))
        elif segment.name == "OBR":
            _last(groups).orders.append(_Order(segment))
        elif segment.name == "OBX":
            _observe(_last(groups), segment)
    for group in groups:  # an OBR without OBX reports nothing
        group.orders = [order for order in group.orders if order.observations]
    return [group for group in groups if group.orders]


def _last(groups: list[_Group]) -> _Group:
    if not groups:
        groups.append(_Group(None))
    return groups[-1]


def _observe(group: _Group, obx: Segment) -> None:
    """Attach an OBX to its order.

    One without a code continues the text before it, or begins the report of the ordered service (OBR-4).
    """
    if not group.orders:
        group.orders.append(_Order(None))
    observations, obr = group.orders[-1].observations, group.orders[-1].obr
    kind = obx.text(2).upper()
    report = kind in _REPORT and obr is not None and bool(obr.text(4) or obr.text(4, 2))
    if obx.text(3) or obx.text(3, 2):
        observations.append((obx, []))
    elif observations and kind in _CONTINUES:
        observations[-1][1].append(obx)
    elif report:
        observations.append((obx, []))
    else:
        raise UnreadableError(f"{obx.place}: OBX-3 is empty, so nobody can say what was measured")


def _order(
    order: _Order, header: Header, zone: tzinfo, codes: CodeMap, unmapped: list[Coding]
) -> dict[str, Any]:
    obr = order.obr
    first = order.observations[0][0] if order.observations else None
    service = codes.service(header.facility, *(obr.text(4, n) for n in (1, 2, 3))) if obr else None
    observed = instants(
        iter(([(obr, 7), (obr, 14), (obr, 22)] if obr else []) + ([(first, 14)] if first else [])), zone
    )
    return {
        "placer": obr.text(2) if obr else "",
        "filler": obr.text(3) if obr else "",
        "code": service.document() if service else {"system": "", "code": "", "display": ""},
        "observed_at": observed,
        "results": [
            _result(obx, more, obr, observed, header, zone, codes, unmapped)
            for obx, more in order.observations
        ],
    }


def _result(
    obx: Segment,
    more: list[Segment],
    obr: Segment | None,
    ordered: str | None,
    header: Header,
    zone: tzinfo,
    codes: CodeMap,
    unmapped: list[Coding],
) -> dict[str, Any]:
    unit = obx.text(6) or obx.text(6, 2)
    named = obx if obx.text(3) or obx.text(3, 2) or obr is None else obr
    field_number = 3 if named is obx else 4
    code, display, system = (named.text(field_number, n) for n in (1, 2, 3))
    coding = codes.result(header.facility, code, display, system, unit)
    if coding.local and coding not in unmapped:
        unmapped.append(coding)
    read = value(obx)
    if more:
        read = Value("TX", "\n".join([read.value, *(value(one).value for one in more)]))
    observed = instants(iter([(obx, 14)]), zone) or ordered
    if observed is None:
        raise UnreadableError(f"{obx.place}: neither OBX-14 nor OBR-7 says when it was observed")
    state = status(obx.text(11)) or (status(obr.text(25)) if obr and not obx.text(11) else None)
    if state is None:
        raise UnreadableError(f"{obx.place}: OBX-11 is missing or no result status")
    return {
        "set_id": obx.text(1),
        "code": coding.document(),
        "value_type": read.kind,
        "value": read.value,
        "comparator": read.comparator,
        "unit": unit,
        "reference_range": obx.text(7),
        "abnormal_flag": obx.text(8),
        "status": state,
        "observed_at": observed,
    }
