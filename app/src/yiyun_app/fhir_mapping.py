"""Rows as FHIR R4 resources, built as validated models so that an invalid resource cannot leave."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.observation import Observation as FhirObservation
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.patient import Patient as FhirPatient

from yiyun_app import __version__
from yiyun_app.identifiers import ID_CARD_SYSTEM, RECORD_NUMBER_SYSTEM
from yiyun_app.reference_range import flag, parse_number, parse_reference_range
from yiyun_app.residents import TimelinePosition
from yiyun_app.schema import Observation, Resident, ResidentIdentifier

FHIR_VERSION = "4.0.1"
_HL7 = "http://terminology.hl7.org/CodeSystem"
_DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_FLAGS = {"high": ("H", "High"), "low": ("L", "Low")}
_RELEASED = datetime(2026, 11, 23, tzinfo=UTC)


def patient(
    resident: Resident, id_card: str | None, others: Sequence[ResidentIdentifier], *, show_id_card: bool
) -> FhirPatient:
    """A resident; who may not see the ID number gets that identifier marked as masked, without value."""
    identifiers: list[dict[str, Any]] = [
        {"use": "official", "system": RECORD_NUMBER_SYSTEM, "value": resident.record_number}
    ]
    if id_card and show_id_card:
        identifiers.append({"use": "official", "system": ID_CARD_SYSTEM, "value": id_card})
    elif id_card:
        masked = {"extension": [{"url": _DATA_ABSENT, "valueCode": "masked"}]}
        identifiers.append({"use": "official", "system": ID_CARD_SYSTEM, "_value": masked})
    identifiers += [{"use": "secondary", "system": item.system, "value": item.value} for item in others]
    return FhirPatient.model_validate(
        {
            "resourceType": "Patient",
            "id": resident.record_number,
            "meta": {"lastUpdated": _zoned(resident.changed_at)},
            "identifier": identifiers,
            "active": True,
            "name": [{"use": "official", "text": resident.name}],
            "gender": resident.gender,
            **({"birthDate": resident.birth_date.isoformat()} if resident.birth_date else {}),
        }
    )


def observation(row: Observation) -> FhirObservation:
    """A laboratory result."""
    direction = flag(row.value, row.comparator, row.reference_range, row.abnormal_flag)
    body: dict[str, Any] = {
        "resourceType": "Observation",
        "id": str(row.id),
        "meta": {"versionId": str(row.version), "lastUpdated": _zoned(row.changed_at)},
        "status": row.status,
        "category": [{"coding": [{"system": f"{_HL7}/observation-category", "code": "laboratory"}]}],
        "code": _concept(row.code_system, row.code, row.code_display),
        "subject": {"reference": f"Patient/{row.record_number}"},
        "effectiveDateTime": _zoned(row.observed_at),
        "issued": _zoned(row.received_at),
        "performer": [{"display": row.facility}],
        **_value(row),
    }
    if row.filler:
        body["identifier"] = [{"system": f"urn:yiyun:filler:{row.facility}", "value": row.filler}]
    if direction:
        code, display = _FLAGS[direction]
        coding = {"system": f"{_HL7}/v3-ObservationInterpretation", "code": code, "display": display}
        body["interpretation"] = [{"coding": [coding]}]
    if row.reference_range:
        body["referenceRange"] = [_range(row)]
    return FhirObservation.model_validate(body)


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    coding = {
        "code": code,
        **({"system": system} if system else {}),
        **({"display": display} if display else {}),
    }
    return {"coding": [coding], "text": display or code}


def _quantity(number: Any, unit: str, comparator: str = "") -> dict[str, Any]:
    return {
        "value": number,
        **({"unit": unit} if unit else {}),
        **({"comparator": comparator} if comparator else {}),
    }


def _value(row: Observation) -> dict[str, Any]:
    text = row.value.strip()
    if not text:
        reason = "not-performed" if row.status == "cancelled" else "unknown"
        return {"dataAbsentReason": {"coding": [{"system": f"{_HL7}/data-absent-reason", "code": reason}]}}
    number = parse_number(text) if row.value_type in {"NM", "SN"} else None
    if number is not None:
        return {"valueQuantity": _quantity(number, row.unit, row.comparator)}
    unit = f" {row.unit}" if row.unit else ""
    return {"valueString": f"{row.comparator}{text}{unit}"}


def _range(row: Observation) -> dict[str, Any]:
    limits = parse_reference_range(row.reference_range)
    body: dict[str, Any] = {"text": row.reference_range}
    if limits and limits.low is not None:
        body["low"] = _quantity(limits.low, row.unit)
    if limits and limits.high is not None:
        body["high"] = _quantity(limits.high, row.unit)
    return body


def searchset(
    resources: Sequence[FhirPatient | FhirObservation],
    base: str,
    path: str,
    parameters: dict[str, str],
    *,
    total: int | None = None,
    next_page: str | None = None,
) -> Bundle:
    """A page of search results with its self link and, when there is more, a next link."""
    links = [{"relation": "self", "url": _url(base, path, parameters)}]
    if next_page is not None:
        links.append({"relation": "next", "url": _url(base, path, {**parameters, "_page": next_page})})
    body: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if total is not None:
        body["total"] = total
    if resources:
        body["entry"] = [
            {
                "fullUrl": f"{base}/{resource.get_resource_type()}/{resource.id}",
                "resource": resource,
                "search": {"mode": "match"},
            }
            for resource in resources
        ]
    return Bundle.model_validate(body)


def _url(base: str, path: str, parameters: dict[str, str]) -> str:
    return f"{base}/{path}?{urlencode(parameters)}" if parameters else f"{base}/{path}"


def page_token(row: Observation) -> str:
    """Opaque token of the position after this result."""
    return base64.urlsafe_b64encode(json.dumps([row.observed_at.isoformat(), str(row.id)]).encode()).decode()


def read_page_token(token: str) -> TimelinePosition:
    """The position a token stands for; raise ValueError when it is none of ours."""
    try:
        moment, identifier = json.loads(base64.urlsafe_b64decode(token.encode()))
        position = TimelinePosition(datetime.fromisoformat(moment), UUID(identifier))
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise ValueError("the page token is not one of this server") from error
    if position.observed_at.tzinfo is not None:
        raise ValueError("the page token is not one of this server")
    return position


def outcome(code: str, text: str, severity: Literal["error", "fatal"] = "error") -> OperationOutcome:
    """A failure as FHIR says it."""
    issue = {"severity": severity, "code": code, "diagnostics": text}
    return OperationOutcome.model_validate({"resourceType": "OperationOutcome", "issue": [issue]})


def capability_statement(base: str) -> CapabilityStatement:
    """What this server can do."""
    return CapabilityStatement.model_validate(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": _RELEASED.isoformat(),
            "kind": "instance",
            "software": {"name": "yiyun-app", "version": __version__},
            "implementation": {"description": "yiyun county health platform", "url": base},
            "fhirVersion": FHIR_VERSION,
            "format": ["application/fhir+json"],
            "rest": [
                {
                    "mode": "server",
                    "security": {"description": "A login session, or HTTP Basic over TLS."},
                    "resource": [
                        _capability("Patient", {"identifier": "token", "name": "string"}),
                        _capability("Observation", {"patient": "reference"}),
                        _capability("DocumentReference", {"patient": "reference"}),
                        {"type": "Binary", "interaction": [{"code": "read"}]},
                    ],
                }
            ],
        }
    )


def _capability(kind: str, parameters: dict[str, str]) -> dict[str, Any]:
    return {
        "type": kind,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "searchParam": [{"name": name, "type": type_} for name, type_ in parameters.items()],
    }


def _zoned(moment: datetime) -> str:
    return moment.replace(tzinfo=UTC).isoformat()
