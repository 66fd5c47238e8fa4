"""Files stored and looked up through the load balancer as a county's desks do, at a fixed rate.

`python -m runbooks.drills.workloads.platform HISTORY`, its settings as one JSON object on standard input; run
in the network of a client outside. It ends at SIGTERM, or after `seconds`. The schedule never waits for an
answer: what the platform could not take in time is counted from when it was due (coordinated omission).

Each write is an attachment with an idempotency key of its own and is asked for again only under that key. It
is the one thing that the public door lets a person write; what it stores belongs to residents that exist for
the drill alone (`runbooks.drills.workloads.guests`).
"""

from __future__ import annotations

import random
import re
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import BaseModel, ConfigDict

from runbooks.drills.evidence.history import Kind, Operation, Outcome
from runbooks.drills.workloads.elements import element_of, key_of
from runbooks.drills.workloads.pacing import carry_out, drawn, paced

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

TRIES, PAUSE_SECONDS = 3, 0.3
"""How often a desk asks in all, and what it waits between."""
MIX: tuple[tuple[Kind, int], ...] = (("append", 2), ("get", 3))
"""Shares of the operations: a desk reads more than it stores, and stores often enough to time a fault by."""
SERVED_BY = "X-Served-By"
"""The platform's word on which of its hosts answered (`yiyun_app.web.observe`)."""
REFUSED = frozenset({400, 401, 403, 404, 409, 411, 413, 415, 422, 429})
"""Answers after which nothing was stored. Any other failure after the request was sent leaves it unknown: a
503 may come from the platform, whose last attempt at the database may have been stored after all."""
_OK, _SEE_OTHER, _TOO_MANY = 200, 303, 429
_HIDDEN = re.compile(r'name="(\w+)" value="([^"]*)"')
_TITLE = re.compile(r"(\d+)\.pdf")


class Settings(BaseModel):
    """What the program is told. Timeouts in seconds; `run` makes keys unique over all drills."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    port: int
    name: str
    """The server's name, as its certificate has it."""
    authority: str
    username: str
    password: str
    residents: list[str]
    """Record numbers, one a client: only that client stores there."""
    run: str
    connect_timeout: float = 3.0
    read_timeout: float = 12.0
    """Longer than a proxy waits for a platform (8 s), shorter than the drill waits for this program's end."""
    clients: int
    rate: float
    seconds: float
    seed: int


@dataclass(frozen=True)
class Answer:
    """What became of one operation."""

    outcome: Outcome
    value: int | None = None
    member: str = ""
    error: str = ""
    tries: int = 1
    again: bool = False
    """Whether it may be asked again, under the same key."""


@dataclass(frozen=True)
class Signed:
    """A session at the platform: cookies, and the token that its forms carry."""

    cookies: dict[str, str]
    form_token: str


def content_of(run: str, element: int) -> bytes:
    """A file that the platform takes for a PDF, and that no other write has."""
    return f"%PDF-1.4\n% yiyun drill {run} {element}\n".encode()


def newest(bundle: object) -> int:
    """The highest element among the attachments of a FHIR searchset; 0 when there is none."""
    entries = bundle.get("entry", []) if isinstance(bundle, dict) else []
    titles = [entry["resource"]["content"][0]["attachment"].get("title", "") for entry in entries]
    return max((int(found[1]) for title in titles if (found := _TITLE.fullmatch(title))), default=0)


def judged(status: int, location: str) -> Outcome:
    """What the answer to an upload says about it. Pure."""
    if status == _SEE_OTHER:
        return "ok" if location.endswith("#attachments") else "fail"  # else it leads to the login page
    return "fail" if status in REFUSED else "unknown"


class Client:
    """One desk: one browser, one resident whose files only it stores."""

    def __init__(
        self, settings: Settings, signed: Signed, number: int, note: Callable[[Operation], None]
    ) -> None:
        self.settings, self.signed, self.number, self.note = settings, signed, number, note
        self._random = random.Random(f"{settings.seed}/{number}")  # noqa: S311  a seed that can be repeated
        self._browser = browser(settings, signed.cookies)

    def run(self, began: float, stopped: threading.Event) -> None:
        """Every operation at its due moment or as soon after as the one before has ended."""
        paced(self.settings, self.number, began, stopped, lambda n, due: self._one(n, due, stopped))

    def _one(self, number: int, due: float, stopped: threading.Event) -> None:
        began = time.monotonic()
        kind = drawn(self._random, MIX)
        writes = kind == "append"
        of = self.number if writes else self._random.randrange(self.settings.clients)
        element = element_of(self.number, number)
        answer = self._tried((lambda: self._store(element)) if writes else (lambda: self._look(of)), stopped)
        self.note(
            Operation(
                client=self.number,
                number=number,
                kind=kind,
                target=f"list-{of}",
                value=element if writes else answer.value,
                intended=due,
                began=began,
                ended=time.monotonic(),
                outcome=answer.outcome,
                member=answer.member,
                error=answer.error,
                tries=answer.tries,
            )
        )

    def _tried(self, ask: Callable[[], Answer], stopped: threading.Event) -> Answer:
        """Ask again what was not answered, under the same key; a stop lets the try that goes on end."""
        answer = ask()
        tries, said, unknown = 1, answer.error, answer.outcome == "unknown"
        while answer.again and tries < TRIES and not stopped.wait(PAUSE_SECONDS):
            answer = ask()
            tries, unknown = tries + 1, unknown or answer.outcome == "unknown"
        if answer.outcome == "ok":
            return Answer("ok", answer.value, answer.member, said, tries)
        return Answer("unknown" if unknown else "fail", error=said, tries=tries)

    def _store(self, element: int) -> Answer:
        """One try at storing a file. The key stands in the form, where a browser has it, and in the header,
        by which balancer and proxy know that they may repeat the request.
        """
        key = key_of(self.settings.run, element)
        try:
            answer = self._browser.post(
                f"/residents/{self.settings.residents[self.number]}/attachments",
                headers={"Idempotency-Key": key},
                data={"form_token": self.signed.form_token, "idempotency_key": key},
                files={"file": (f"{element}.pdf", content_of(self.settings.run, element), "application/pdf")},
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Answer("fail", error=repr(error)[:200], again=True)
        except httpx.HTTPError as error:
            return Answer("unknown", error=repr(error)[:200], again=True)
        outcome = judged(answer.status_code, answer.headers.get("location", ""))
        if outcome == "ok":
            return Answer("ok", element, answer.headers.get(SERVED_BY, ""))
        again = outcome == "unknown" or answer.status_code == _TOO_MANY
        return Answer(outcome, error=str(answer.status_code), again=again)

    def _look(self, of: int) -> Answer:
        """One try at reading what a resident's newest file is."""
        asked = {"patient": f"Patient/{self.settings.residents[of]}"}
        try:
            answer = self._browser.get("/fhir/DocumentReference", params=asked)
            if answer.status_code != _OK:
                return Answer("fail", error=str(answer.status_code), again=True)
            return Answer("ok", newest(answer.json()), answer.headers.get(SERVED_BY, ""))
        except (httpx.HTTPError, ValueError) as error:
            return Answer("fail", error=repr(error)[:200], again=True)


def browser(settings: Settings, cookies: dict[str, str] | None = None) -> httpx.Client:
    """A client that believes the estate's authority alone and asks by the address, as if DNS had answered."""
    context = ssl.create_default_context(cadata=settings.authority)

    def named(request: httpx.Request) -> None:
        request.headers["Host"] = settings.name
        request.extensions["sni_hostname"] = settings.name

    return httpx.Client(
        base_url=f"https://{settings.address}:{settings.port}",
        verify=context,
        cookies=cookies,
        timeout=httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout),
        event_hooks={"request": [named]},
        trust_env=False,
    )


def sign_in(settings: Settings) -> Signed:
    """Sign in by the form, as a browser does. Raises ValueError when the platform does not let it in."""
    with browser(settings) as visitor:
        form = dict(_HIDDEN.findall(visitor.get("/login").raise_for_status().text))
        form |= {"username": settings.username, "password": settings.password}
        answer = visitor.post("/login", data=form)
        if answer.status_code != _SEE_OTHER:
            raise ValueError(f"the platform answered {answer.status_code} to the drill's account")
        page = visitor.get(f"/residents/{settings.residents[0]}").raise_for_status().text
        return Signed(dict(visitor.cookies), dict(_HIDDEN.findall(page))["form_token"])


def main() -> int:
    """Entry point."""
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    try:
        signed = sign_in(settings)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        sys.stderr.write(f"{error!r}\n")
        return 1
    carry_out(
        Path(sys.argv[1]),
        lambda note: [Client(settings, signed, n, note) for n in range(settings.clients)],
        settings.read_timeout + settings.connect_timeout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
