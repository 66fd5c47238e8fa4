"""What the platform shows of some residents, through its own door: to be held beside another's."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import httpx

from infra.errors import YiyunError
from infra.trust.material import Material
from runbooks.drills.workloads.platform import Settings, browser, sign_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

OPERATOR, PASSWORD = "operator", "app-operator"
READ_SECONDS = 0.2
"""Between two questions: the door counts a client's requests, and more than so many are refused."""


@dataclass(frozen=True)
class Shown:
    """Residents as one platform shows them: record number → hash of what is said, and of each attachment."""

    residents: dict[str, str] = field(default_factory=dict[str, str])
    attachments: dict[str, str] = field(default_factory=dict[str, str])


def settings_for(estate: Estate, paths: EstatePaths, residents: Sequence[str]) -> Settings:
    """As the operators reach the platform of an estate: by its published door, under its own name."""
    balancer, material = estate.load_balancers[0], Material(estate, paths)
    return Settings(
        address="127.0.0.1",
        port=estate.lab.published.web,
        name=balancer.server_names[0],
        authority=material.trusted(),
        username=OPERATOR,
        password=str(material.passwords()[PASSWORD]),
        residents=list(residents),
        run="rehearsal",
        clients=1,
        rate=1,
        seconds=1,
        seed=0,
    )


def first_page(settings: Settings, seconds: float) -> None:
    """Wait until a resident's page is served to somebody who signed in. Raises YiyunError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            sign_in(settings)
            return
        except (httpx.HTTPError, ValueError, KeyError) as error:
            if time.monotonic() > deadline:
                raise YiyunError(f"the platform serves no page: {error}", hint="yiyun status") from None
        time.sleep(0.2)


def shown(settings: Settings) -> Shown:
    """What the platform shows of the residents of its settings. Raises YiyunError."""
    found = Shown()
    try:
        signed = sign_in(settings)
        with browser(settings, signed.cookies) as visitor:
            for number in settings.residents:
                of = f"Patient/{number}"
                about = _asked(visitor, f"/fhir/{of}")
                results = entries_of(_asked(visitor, "/fhir/Observation", patient=of))
                files = entries_of(_asked(visitor, "/fhir/DocumentReference", patient=of))
                said = json.dumps([about, results, files], sort_keys=True)
                found.residents[number] = _hash(said.encode())
                for url in attachments_of(files):
                    answer = visitor.get(url).raise_for_status()
                    found.attachments[f"{number} {url.rpartition('/')[2]}"] = _hash(answer.content)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise YiyunError(f"the platform does not show its residents: {error}", hint="yiyun status") from None
    return found


def entries_of(searchset: Any) -> list[Any]:
    """The resources of a searchset, without when it was asked for. Pure."""
    return [entry["resource"] for entry in searchset.get("entry", [])]


def attachments_of(documents: Sequence[Any]) -> list[str]:
    """Paths of the files of DocumentReference resources: addresses are relative to FHIR's base. Pure."""
    urls = [content["attachment"].get("url", "") for d in documents for content in d["content"]]
    return [urljoin("/fhir/", urlsplit(url).path) for url in urls if url]


def differences(source: Shown, recovered: Shown) -> list[str]:
    """What one shows and the other does not, in sentences. Pure."""
    pairs = (
        ("resident", source.residents, recovered.residents),
        ("attachment", source.attachments, recovered.attachments),
    )
    return [
        f"{what} {name} is {'not there' if name not in there else 'another'}"
        for what, here, there in pairs
        for name in sorted(here)
        if there.get(name) != here[name]
    ]


def _asked(visitor: httpx.Client, path: str, **words: str) -> Any:
    time.sleep(READ_SECONDS)
    return visitor.get(path, params=words).raise_for_status().json()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
